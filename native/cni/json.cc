// plug-in · a strict reader of JSON (RFC 8259) that keeps positions alone.
#include "cni/json.h"

#include <cstdint>

namespace orlop {
namespace {

bool IsDigit(char byte) {
  return byte >= '0' && byte <= '9';
}

bool IsHex(char byte) {
  return IsDigit(byte) || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  bool AtEnd() const { return at_ == text_.size(); }
  size_t at() const { return at_; }
  std::string_view Since(size_t start) const { return text_.substr(start, at_ - start); }

  void SkipBlanks() {
    while (!AtEnd() && (Here() == ' ' || Here() == '\t' || Here() == '\n' || Here() == '\r')) at_++;
  }

  bool Take(char byte) {
    if (AtEnd() || Here() != byte) return false;
    at_++;
    return true;
  }

  bool TakeString() {
    if (!Take('"')) return false;
    while (!AtEnd()) {
      const uint8_t byte = static_cast<uint8_t>(Here());
      if (byte == '"') return Take('"');
      if (byte < 0x20) return false;
      if (byte == '\\' ? !TakeEscape() : !TakeCharacter()) return false;
    }
    return false;
  }

  bool TakeValue(int depth) {
    if (AtEnd() || depth > kMaxJsonDepth) return false;
    switch (Here()) {
      case '{':
        return TakeObject(depth, [](std::string_view, std::string_view) { return true; });
      case '[':
        return TakeArray(depth, [](std::string_view) {});
      case '"':
        return TakeString();
      case 't':
        return TakeWord("true");
      case 'f':
        return TakeWord("false");
      case 'n':
        return TakeWord("null");
      default:
        return TakeNumber();
    }
  }

  // `member` is called with each name and value; false from it ends the reading.
  template <typename Member>
  bool TakeObject(int depth, Member member) {
    if (!Take('{')) return false;
    SkipBlanks();
    if (Take('}')) return true;
    for (;;) {
      const size_t name_at = at_;
      if (!TakeString()) return false;
      const std::string_view name = Inner(Since(name_at));
      SkipBlanks();
      if (!Take(':')) return false;
      SkipBlanks();
      const size_t value_at = at_;
      if (!TakeValue(depth + 1) || !member(name, Since(value_at))) return false;
      SkipBlanks();
      if (Take('}')) return true;
      if (!Take(',')) return false;
      SkipBlanks();
    }
  }

  template <typename Element>
  bool TakeArray(int depth, Element element) {
    if (!Take('[')) return false;
    SkipBlanks();
    if (Take(']')) return true;
    for (;;) {
      const size_t start = at_;
      if (!TakeValue(depth + 1)) return false;
      element(Since(start));
      SkipBlanks();
      if (Take(']')) return true;
      if (!Take(',')) return false;
      SkipBlanks();
    }
  }

  static std::string_view Inner(std::string_view quoted) { return quoted.substr(1, quoted.size() - 2); }

 private:
  char Here() const { return text_[at_]; }

  bool TakeWord(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  bool TakeDigits() {
    const size_t start = at_;
    while (!AtEnd() && IsDigit(Here())) at_++;
    return at_ > start;
  }

  bool TakeNumber() {
    Take('-');
    if (!Take('0') && !TakeDigits()) return false;
    if (Take('.') && !TakeDigits()) return false;
    if (Take('e') || Take('E')) {
      if (!Take('+')) Take('-');
      return TakeDigits();
    }
    return true;
  }

  bool TakeEscape() {
    at_++;
    if (AtEnd()) return false;
    const char kind = Here();
    at_++;
    if (kind != 'u') return std::string_view("\"\\/bfnrt").find(kind) != std::string_view::npos;
    for (int digit = 0; digit < 4; digit++, at_++) {
      if (AtEnd() || !IsHex(Here())) return false;
    }
    return true;
  }

  // A character of UTF-8 (RFC 3629 section 4): no longer form than is needed, no surrogate, nothing beyond U+10FFFF.
  bool TakeCharacter() {
    const uint8_t first = static_cast<uint8_t>(Here());
    at_++;
    if (first < 0x80) return true;
    if (first < 0xc2 || first > 0xf4) return false;
    const int more = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
    for (int index = 0; index < more; index++, at_++) {
      if (AtEnd()) return false;
      const uint8_t byte = static_cast<uint8_t>(Here());
      const uint8_t least = index > 0 ? 0x80 : first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
      const uint8_t most = index > 0 ? 0xbf : first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
      if (byte < least || byte > most) return false;
    }
    return true;
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

bool ReadJsonObject(std::string_view text, std::vector<JsonMember>* members) {
  members->clear();
  if (text.size() > kMaxJsonBytes) return false;
  Scanner scanner(text);
  scanner.SkipBlanks();
  const bool whole = scanner.TakeObject(1, [&](std::string_view name, std::string_view value) {
    if (!JsonValueOf(*members, name).empty() || members->size() == kMaxJsonMembers) return false;
    members->push_back({name, value});
    return true;
  });
  if (!whole) return false;
  scanner.SkipBlanks();
  return scanner.AtEnd();
}

bool ReadJsonArray(std::string_view text, std::vector<std::string_view>* elements) {
  elements->clear();
  if (text.size() > kMaxJsonBytes) return false;
  Scanner scanner(text);
  scanner.SkipBlanks();
  if (!scanner.TakeArray(1, [&](std::string_view element) { elements->push_back(element); })) return false;
  scanner.SkipBlanks();
  return scanner.AtEnd();
}

bool PlainJsonString(std::string_view value, std::string_view* text) {
  if (value.size() < 2 || value.front() != '"') return false;
  const std::string_view inner = Scanner::Inner(value);
  if (inner.find('\\') != std::string_view::npos) return false;
  *text = inner;
  return true;
}

std::string_view JsonValueOf(const std::vector<JsonMember>& members, std::string_view name) {
  for (const JsonMember& member : members) {
    if (member.name == name) return member.value;
  }
  return {};
}

}  // namespace orlop
