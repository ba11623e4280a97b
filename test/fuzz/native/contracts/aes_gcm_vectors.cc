// fuzz · contracts · test vectors of AES-GCM, through what opens and seals records: a line each on the standard input, with key, nonce,
// additional data, plaintext, ciphertext and tag in hexadecimal digits, "-" for none, and `valid` or `invalid`. `aes-gcm-vectors`.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "engine/records/aes_gcm.h"

namespace {

using namespace orlop;
using Text = std::vector<uint8_t>;

struct Vector {
  std::string line;
  Text key, nonce, additional, plain, cipher, tag;
  bool valid = false;
};

void Expect(bool good, const char* what, const Vector& vector) {
  if (good) return;
  fprintf(stderr, "expected %s: %s\n", what, vector.line.c_str());
  exit(1);
}

Vector Parse(const std::string& line) {
  Vector out;
  out.line = line;
  std::istringstream words(line);
  const auto bytes = [&](Text* to) {
    std::string word;
    words >> word;
    Expect(word == "-" || (!word.empty() && word.size() % 2 == 0 &&
                           word.find_first_not_of("0123456789abcdef") == std::string::npos),
           "hexadecimal digits", out);
    for (size_t i = 0; word != "-" && i < word.size(); i += 2)
      to->push_back(static_cast<uint8_t>(std::stoul(word.substr(i, 2), nullptr, 16)));
  };
  for (Text* field : {&out.key, &out.nonce, &out.additional, &out.plain, &out.cipher, &out.tag}) bytes(field);
  std::string verdict;
  words >> verdict;
  Expect(verdict == "valid" || verdict == "invalid", "a verdict", out);
  out.valid = verdict == "valid";
  Expect(out.key.size() == 16 || out.key.size() == 32, "a key of 16 or 32 bytes", out);
  Expect(out.nonce.size() == AesGcm::kNonce && out.tag.size() == AesGcm::kTag, "a nonce and a tag of TLS",
         out);
  return out;
}

void Judge(const Vector& vector) {
  const EVP_CIPHER* const cipher = vector.key.size() == 16 ? EVP_aes_128_gcm() : EVP_aes_256_gcm();
  uint8_t nonce[AesGcm::kNonce];
  std::copy_n(vector.nonce.begin(), sizeof nonce, nonce);
  const AesGcm::Bytes additional{vector.additional.data(), vector.additional.size()};
  Text sealed = vector.cipher;
  sealed.insert(sealed.end(), vector.tag.begin(), vector.tag.end());

  AesGcm open;
  Expect(open.Start(cipher, AesGcm::Use::kOpen, vector.key.data()), "a key", vector);
  // The second time where it lies, with the context that has opened or refused before.
  Text apart(vector.cipher.size(), 0xaa), within = sealed;
  const Text wanted = vector.valid ? vector.plain : Text(vector.cipher.size(), 0);
  Expect(open.Open(nonce, additional, {sealed.data(), sealed.size()}, apart.data()) == vector.valid,
         "the verdict", vector);
  Expect(apart == wanted, "the plaintext, or nothing of it", vector);
  Expect(open.Open(nonce, additional, {within.data(), within.size()}, within.data()) == vector.valid,
         "the verdict in place", vector);
  within.resize(wanted.size());
  Expect(within == wanted, "the plaintext in place, or nothing of it", vector);

  // A record is never without a type, so nothing empty is sealed.
  if (vector.plain.empty()) return;
  AesGcm seal;
  Expect(seal.Start(cipher, AesGcm::Use::kSeal, vector.key.data()), "a key", vector);
  Text made(vector.plain.size() + AesGcm::kTag), there = vector.plain;
  there.resize(made.size());
  Expect(seal.Seal(nonce, additional, {vector.plain.data(), vector.plain.size()}, made.data()),
         "a ciphertext", vector);
  Expect(seal.Seal(nonce, additional, {there.data(), vector.plain.size()}, there.data()),
         "a ciphertext in place", vector);
  Expect((made == sealed) == vector.valid && there == made, "the ciphertext and tag", vector);
}

}  // namespace

int main() {
  size_t counts[2][2] = {};
  std::string line;
  while (std::getline(std::cin, line)) {
    const Vector vector = Parse(line);
    Judge(vector);
    counts[vector.key.size() == 32][vector.valid]++;
  }
  printf("AES-128: %zu valid, %zu invalid; AES-256: %zu valid, %zu invalid\n", counts[0][1], counts[0][0],
         counts[1][1], counts[1][0]);
  return 0;
}
