// a thread with a JavaScript environment · two calls on descriptors that Node does not offer.
#pragma once

#include <napi.h>

namespace orlop {

// Exports duplicate(fd) and peerCredentials(fd).
void InitDescriptorCalls(Napi::Env env, Napi::Object exports);

}  // namespace orlop
