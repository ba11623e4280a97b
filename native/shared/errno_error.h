// any thread · errno → Error with code, errno and syscall, as
// Node's own have them.
#pragma once

#include <napi.h>

#include <string>

namespace orlop {

// `err` is a positive errno. `detail`, when given, ends the message.
Napi::Error ErrnoError(Napi::Env env, int err, const std::string& syscall, const std::string& detail = "");

// The same, left pending: return to JavaScript right after it.
void ThrowErrno(Napi::Env env, int err, const std::string& syscall, const std::string& detail = "");

// "ECONNREFUSED" for 111; "E<number>" for a number without a name.
std::string ErrnoName(int err);

}  // namespace orlop
