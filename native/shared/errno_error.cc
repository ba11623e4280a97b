// any thread · errno → Error with code, errno and syscall, as
// Node's own have them.
#include "shared/errno_error.h"

#include <cstring>

namespace orlop {

std::string ErrnoName(int err) {
  const char* name = strerrorname_np(err);
  return name != nullptr ? name : "E" + std::to_string(err);
}

Napi::Error ErrnoError(Napi::Env env, int err, const std::string& syscall, const std::string& detail) {
  char buffer[128];
  // The GNU strerror_r returns the text, which need not be in `buffer`.
  std::string message = ErrnoName(err) + ": " + strerror_r(err, buffer, sizeof(buffer)) + ", " + syscall;
  if (!detail.empty()) message += ": " + detail;
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, ErrnoName(err)));
  // Negative, as in Node's own system errors.
  error.Set("errno", Napi::Number::New(env, -err));
  error.Set("syscall", Napi::String::New(env, syscall));
  return error;
}

void ThrowErrno(Napi::Env env, int err, const std::string& syscall, const std::string& detail) {
  ErrnoError(env, err, syscall, detail).ThrowAsJavaScriptException();
}

}  // namespace orlop
