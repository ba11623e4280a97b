// 10, 11 · data thread · lines of the key log.
#include "engine/records/key_line.h"

#include <openssl/crypto.h>

namespace orlop {
namespace {

constexpr std::string_view kServer = "SERVER_TRAFFIC_SECRET_0 ";
constexpr std::string_view kClient = "CLIENT_TRAFFIC_SECRET_0 ";

int Digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

}  // namespace

KeySide SideOfKeyLine(std::string_view line) {
  if (line.substr(0, kServer.size()) == kServer) return KeySide::kServer;
  return line.substr(0, kClient.size()) == kClient ? KeySide::kClient : KeySide::kOther;
}

size_t SecretOfKeyLine(std::string_view line, uint8_t* out, size_t most) {
  const std::string_view hex = line.substr(line.rfind(' ') + 1);
  if (hex.size() % 2 != 0 || hex.size() / 2 > most) return 0;
  for (size_t i = 0; i < hex.size(); i += 2) {
    const int high = Digit(hex[i]), low = Digit(hex[i + 1]);
    if (high < 0 || low < 0) {
      OPENSSL_cleanse(out, most);
      return 0;
    }
    out[i / 2] = static_cast<uint8_t>(high << 4 | low);
  }
  return hex.size() / 2;
}

}  // namespace orlop
