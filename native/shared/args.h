// any thread · arguments, checked for type and range. Each function returns
// false with an exception pending when the argument is not what it must be.
#pragma once

#include <napi.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace orlop {

inline bool BadArgument(const Napi::CallbackInfo& info, size_t index, const std::string& expected) {
  Napi::TypeError::New(info.Env(), "argument " + std::to_string(index) + " must be " + expected)
      .ThrowAsJavaScriptException();
  return false;
}

// A whole number of [min, max].
inline bool ArgInt(const Napi::CallbackInfo& info, size_t index, int64_t min, int64_t max, int64_t* out) {
  const double value = info[index].IsNumber() ? info[index].As<Napi::Number>().DoubleValue() : NAN;
  if (!(value >= static_cast<double>(min) && value <= static_cast<double>(max)) || value != std::floor(value))
    return BadArgument(info, index,
                       "a whole number of " + std::to_string(min) + " to " + std::to_string(max));
  *out = static_cast<int64_t>(value);
  return true;
}

inline bool ArgU32(const Napi::CallbackInfo& info, size_t index, uint32_t* out) {
  int64_t value = 0;
  if (!ArgInt(info, index, 0, UINT32_MAX, &value)) return false;
  *out = static_cast<uint32_t>(value);
  return true;
}

inline bool ArgI32(const Napi::CallbackInfo& info, size_t index, int32_t* out) {
  int64_t value = 0;
  if (!ArgInt(info, index, INT32_MIN, INT32_MAX, &value)) return false;
  *out = static_cast<int32_t>(value);
  return true;
}

// A BigInt of 64 bits without a sign.
inline bool ArgU64(const Napi::CallbackInfo& info, size_t index, uint64_t* out) {
  bool lossless = false;
  if (info[index].IsBigInt()) *out = info[index].As<Napi::BigInt>().Uint64Value(&lossless);
  return lossless || BadArgument(info, index, "a BigInt of 0 to 2^64 - 1");
}

inline bool ArgBool(const Napi::CallbackInfo& info, size_t index, bool* out) {
  if (!info[index].IsBoolean()) return BadArgument(info, index, "a boolean");
  *out = info[index].As<Napi::Boolean>().Value();
  return true;
}

inline bool ArgFd(const Napi::CallbackInfo& info, size_t index, int* out) {
  int64_t value = 0;
  if (!ArgInt(info, index, 0, INT32_MAX, &value)) return false;
  *out = static_cast<int>(value);
  return true;
}

inline bool ArgString(const Napi::CallbackInfo& info, size_t index, std::string* out) {
  if (!info[index].IsString()) return BadArgument(info, index, "a string");
  *out = info[index].As<Napi::String>().Utf8Value();
  // What C functions would take for the end.
  if (out->find('\0') != std::string::npos) return BadArgument(info, index, "a string without NUL");
  return true;
}

// Borrowed: valid until the callback returns, or JavaScript runs.
struct ByteView {
  const uint8_t* data = nullptr;
  size_t size = 0;
};

inline bool ArgBytes(const Napi::CallbackInfo& info, size_t index, ByteView* out) {
  if (!info[index].IsTypedArray() || info[index].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array)
    return BadArgument(info, index, "a Uint8Array");
  const auto array = info[index].As<Napi::Uint8Array>();
  out->data = array.Data();
  out->size = array.ByteLength();
  return true;
}

// Exactly `size` bytes.
inline bool ArgBytes(const Napi::CallbackInfo& info, size_t index, size_t size, ByteView* out) {
  if (!ArgBytes(info, index, out)) return false;
  if (out->size != size)
    return BadArgument(info, index, "a Uint8Array of " + std::to_string(size) + " bytes");
  return true;
}

// Descriptors: an Int32Array without negative members.
inline bool ArgFds(const Napi::CallbackInfo& info, size_t index, std::vector<int>* out) {
  if (!info[index].IsTypedArray() || info[index].As<Napi::TypedArray>().TypedArrayType() != napi_int32_array)
    return BadArgument(info, index, "an Int32Array");
  const auto array = info[index].As<Napi::Int32Array>();
  out->assign(array.Data(), array.Data() + array.ElementLength());
  for (const int fd : *out)
    if (fd < 0) return BadArgument(info, index, "an Int32Array of descriptors");
  return true;
}

inline bool ArgFunction(const Napi::CallbackInfo& info, size_t index, Napi::Function* out) {
  if (!info[index].IsFunction()) return BadArgument(info, index, "a function");
  *out = info[index].As<Napi::Function>();
  return true;
}

// An options object; its members are checked by who reads them.
inline bool ArgObject(const Napi::CallbackInfo& info, size_t index, Napi::Object* out) {
  if (!info[index].IsObject()) return BadArgument(info, index, "an object");
  *out = info[index].As<Napi::Object>();
  return true;
}

}  // namespace orlop
