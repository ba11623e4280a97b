// any thread · the part of an object that makes it a member of an intrusive list (core/list.h).
#pragma once

namespace orlop {

// A base class of what can be in a list. An object that may be in several lists has a hook for each, with a `Tag` of its own.
// The destructor takes the object out of its list.
template <typename Tag>
class Hook {
 public:
  Hook() = default;
  ~Hook() { Remove(); }
  Hook(const Hook&) = delete;
  Hook& operator=(const Hook&) = delete;
  bool linked() const { return next_ != nullptr; }
  // Nothing happens when it is in no list.
  void Remove() {
    if (!next_) return;
    previous_->next_ = next_;
    next_->previous_ = previous_;
    previous_ = next_ = nullptr;
  }

 private:
  template <typename, typename>
  friend class List;
  Hook* previous_ = nullptr;
  Hook* next_ = nullptr;
};

}  // namespace orlop
