// data thread · fields of HTTP/2, one behind the other.
#include "engine/h2c/h2c_fields.h"

namespace orlop {

void H2cFields::Add(std::string_view name, std::string_view value) {
  // What a line of HTTP/1 has beside them: a colon, a space, CRLF.
  too_large_ = too_large_ || text_.size() + name.size() + value.size() + 2 * ends_.size() > kHttp1HeadBytes;
  if (too_large_ || too_many()) return;
  text_.append(name);
  ends_.push_back(static_cast<uint32_t>(text_.size()));
  text_.append(value);
  ends_.push_back(static_cast<uint32_t>(text_.size()));
}

void H2cFields::Clear() {
  std::string().swap(text_);
  std::vector<uint32_t>().swap(ends_);
  too_large_ = false;
}

H2Field H2cFields::At(size_t index) const {
  const uint32_t from = index == 0 ? 0 : ends_[2 * index - 1];
  const uint32_t middle = ends_[2 * index], to = ends_[2 * index + 1];
  const std::string_view all = text_;
  return {all.substr(from, middle - from), all.substr(middle, to - middle)};
}

std::string_view H2cFields::Find(std::string_view name) const {
  for (size_t i = 0; i < count(); i++) {
    if (const H2Field field = At(i); field.name == name) return field.value;
  }
  return {};
}

}  // namespace orlop
