// plug-in · JSON (RFC 8259) without a tree: an object's members as pieces of its text. Nothing is copied and nothing is allocated but
// the list of members. Every byte is checked, so that a piece that is passed on is JSON.
#pragma once

#include <string_view>
#include <vector>

namespace orlop {

constexpr size_t kMaxJsonBytes = 1024 * 1024;
constexpr int kMaxJsonDepth = 64;
// Of the object that is read, not of those inside it.
constexpr size_t kMaxJsonMembers = 64;

struct JsonMember {
  std::string_view name;  // Between its quotation marks, as it is written.
  std::string_view value;
};

// The members of the object that `text` is, blanks around it aside. False: it is no object, is too large or too deep, is not strict
// JSON, is not UTF-8, or has a name twice. A name with an escape counts as it is written.
bool ReadJsonObject(std::string_view text, std::vector<JsonMember>* members);

// The elements of an array; as above.
bool ReadJsonArray(std::string_view text, std::vector<std::string_view>* elements);

// A string's text. False: `value` is no string, or has an escape in it.
bool PlainJsonString(std::string_view value, std::string_view* text);

// The value of a member; empty: there is none of that name.
std::string_view JsonValueOf(const std::vector<JsonMember>& members, std::string_view name);

}  // namespace orlop
