// fuzz · in front of OpenSSL (the linker's --wrap): a key and a nonce that come together a second time end the process.
#include "nonces.h"

#include <openssl/evp.h>

#include <array>
#include <cstring>
#include <map>
#include <set>
#include <vector>

#include "contexts.h"

namespace {

using Nonce = std::array<uint8_t, 12>;
using Key = std::vector<uint8_t>;
std::map<const EVP_CIPHER_CTX*, Key>& Keys() {
  static auto* const keys = new std::map<const EVP_CIPHER_CTX*, Key>;
  return *keys;
}
std::set<std::pair<Key, Nonce>>& Used() {
  static auto* const used = new std::set<std::pair<Key, Nonce>>;
  return *used;
}

}  // namespace

namespace orlop::fuzz {

void ForgetNonces() {
  Keys().clear();
  Used().clear();
}

}  // namespace orlop::fuzz

extern "C" {

int __real_EVP_CipherInit_ex(EVP_CIPHER_CTX*, const EVP_CIPHER*, ENGINE*, const unsigned char*,
                             const unsigned char*, int);
int __wrap_EVP_CipherInit_ex(EVP_CIPHER_CTX* context, const EVP_CIPHER* cipher, ENGINE* engine,
                             const unsigned char* key, const unsigned char* iv, int seal) {
  if (key && seal == 1) Keys()[context] = Key(key, key + EVP_CIPHER_get_key_length(cipher));
  return __real_EVP_CipherInit_ex(context, cipher, engine, key, iv, seal);
}

int __real_EVP_EncryptInit_ex(EVP_CIPHER_CTX*, const EVP_CIPHER*, ENGINE*, const unsigned char*,
                              const unsigned char*);
int __wrap_EVP_EncryptInit_ex(EVP_CIPHER_CTX* context, const EVP_CIPHER* cipher, ENGINE* engine,
                              const unsigned char* key, const unsigned char* iv) {
  Nonce nonce;
  memcpy(nonce.data(), iv, nonce.size());
  const auto found = Keys().find(context);
  if (found == Keys().end()) orlop::fuzz::Fail("sealed with a key that nobody set");
  if (!Used().insert({found->second, nonce}).second) orlop::fuzz::Fail("a nonce was used twice");
  return __real_EVP_EncryptInit_ex(context, cipher, engine, key, iv);
}
}
