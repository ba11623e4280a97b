// 10, 11 · data thread · HKDF-Expand-Label of what fits into one block: then HKDF-Expand is a single HMAC (RFC 5869 2.3).
#include "engine/records/expand_label.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>

#include <cstring>

namespace orlop {
namespace {

constexpr std::string_view kPrefix = "tls13 ";
constexpr size_t kMostLabel = 12;

}  // namespace

bool ExpandLabel(const EVP_MD* digest, const uint8_t* secret, size_t secret_length, std::string_view label,
                 uint8_t* out, size_t length) {
  if (label.size() > kMostLabel || length > static_cast<size_t>(EVP_MD_get_size(digest))) return false;
  // HkdfLabel: the length in two bytes, the label and the context each behind its length; then the number of the block, 1.
  uint8_t info[2 + 1 + kPrefix.size() + kMostLabel + 1 + 1] = {
      0, static_cast<uint8_t>(length), static_cast<uint8_t>(kPrefix.size() + label.size())};
  memcpy(info + 3, kPrefix.data(), kPrefix.size());
  memcpy(info + 3 + kPrefix.size(), label.data(), label.size());
  const size_t info_length = 3 + kPrefix.size() + label.size() + 2;
  info[info_length - 1] = 1;
  uint8_t block[EVP_MAX_MD_SIZE];
  unsigned block_length = 0;
  const bool made = HMAC(digest, secret, static_cast<int>(secret_length), info, info_length, block,
                         &block_length) != nullptr &&
                    block_length >= length;
  if (made) memcpy(out, block, length);
  OPENSSL_cleanse(block, sizeof block);
  return made;
}

}  // namespace orlop
