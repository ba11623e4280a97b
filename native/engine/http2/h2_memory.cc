// 10, 11 · data thread · each piece of nghttp2's counted, as large as the heap has made it.
#include "engine/http2/h2_memory.h"

#include <malloc.h>

#include <cstdlib>

namespace orlop {

H2Memory::H2Memory() : table_{this, Allocate, Free, AllocateZeros, Change} {}

void* H2Memory::Counted(void* at) {
  if (at) bytes_ += malloc_usable_size(at);
  return at;
}

void* H2Memory::Allocate(size_t size, void* self) {
  return static_cast<H2Memory*>(self)->Counted(malloc(size));
}

void H2Memory::Free(void* at, void* self) {
  if (at) static_cast<H2Memory*>(self)->bytes_ -= malloc_usable_size(at);
  free(at);
}

void* H2Memory::AllocateZeros(size_t count, size_t size, void* self) {
  return static_cast<H2Memory*>(self)->Counted(calloc(count, size));
}

void* H2Memory::Change(void* at, size_t size, void* self) {
  auto* const memory = static_cast<H2Memory*>(self);
  const size_t before = at ? malloc_usable_size(at) : 0;
  void* const changed = realloc(at, size);
  if (!changed && size > 0) return nullptr;
  memory->bytes_ -= before;
  return memory->Counted(changed);
}

}  // namespace orlop
