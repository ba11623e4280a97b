// any thread · the two calls on a plain descriptor that Node has no function for.
#pragma once

#include <napi.h>

namespace orlop {

// duplicate(fd), peerCredentials(fd).
void InitDescriptorCalls(Napi::Env env, Napi::Object exports);

}  // namespace orlop
