// any thread · an intrusive doubly linked list: adding, removing and taking all cost a few instructions and no memory.
#pragma once

#include "engine/core/hook.h"

namespace orlop {

// Objects of type T, a class derived from Hook<Tag>. The list owns none of them and must be empty when it is destroyed, or
// outlive them.
template <typename T, typename Tag>
class List {
 public:
  List() { head_.previous_ = head_.next_ = &head_; }
  ~List() {
    while (!empty()) head_.next_->Remove();
    head_.previous_ = head_.next_ = nullptr;
  }
  List(const List&) = delete;
  List& operator=(const List&) = delete;

  bool empty() const { return head_.next_ == &head_; }
  T* First() const { return empty() ? nullptr : static_cast<T*>(head_.next_); }
  // Null when empty.
  T* Last() const { return empty() ? nullptr : static_cast<T*>(head_.previous_); }
  // The object after `object`, which is in this list; null after the last.
  T* Next(const T* object) const {
    Hook<Tag>* next = static_cast<const Hook<Tag>*>(object)->next_;
    return next == &head_ ? nullptr : static_cast<T*>(next);
  }
  // How many, counted until `most`.
  unsigned CountUpTo(unsigned most) const {
    unsigned count = 0;
    for (T* at = First(); at && count < most; at = Next(at)) count++;
    return count;
  }
  // `object` is in no list of this tag.
  void PushBack(T* object) {
    Hook<Tag>* hook = object;
    hook->previous_ = head_.previous_;
    hook->next_ = &head_;
    head_.previous_->next_ = hook;
    head_.previous_ = hook;
  }
  // Null when empty.
  T* PopFront() {
    T* first = First();
    if (first) static_cast<Hook<Tag>*>(first)->Remove();
    return first;
  }
  // Appends all of `other` and leaves it empty.
  void TakeAll(List* other) {
    if (other->empty()) return;
    Hook<Tag>* first = other->head_.next_;
    Hook<Tag>* last = other->head_.previous_;
    first->previous_ = head_.previous_;
    head_.previous_->next_ = first;
    last->next_ = &head_;
    head_.previous_ = last;
    other->head_.previous_ = other->head_.next_ = &other->head_;
  }

 private:
  Hook<Tag> head_;
};

}  // namespace orlop
