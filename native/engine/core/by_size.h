// any thread · objects in classes of their size, so that the largest are found at once.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/core/list.h"

namespace orlop {

// Objects of type T, a class derived from Hook<Tag>. Objects of a class differ by less than the factor 2.
template <typename T, typename Tag>
class BySize {
 public:
  // Objects below kSmallest bytes are in class 0, which holds none of them.
  static constexpr size_t kSmallest = 512;
  static constexpr uint8_t kClasses = 16;
  static constexpr uint8_t ClassOf(size_t bytes) {
    uint8_t size_class = 0;
    for (size_t rest = bytes / kSmallest; rest > 0 && size_class + 1 < kClasses; rest >>= 1) size_class++;
    return size_class;
  }
  // Whatever class it was in before.
  void Put(T* object, uint8_t size_class) {
    object->Hook<Tag>::Remove();
    if (size_class > 0) classes_[size_class].PushBack(object);
  }
  // Of the largest class, what has been in it longest. Null: all are small.
  T* Largest() const {
    for (uint8_t size_class = kClasses - 1; size_class > 0; size_class--) {
      if (T* first = classes_[size_class].First()) return first;
    }
    return nullptr;
  }

 private:
  List<T, Tag> classes_[kClasses];
};

}  // namespace orlop
