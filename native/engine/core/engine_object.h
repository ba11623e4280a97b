// data thread · the class Engine of engine.node: the JavaScript object around an Engine.
#pragma once

#include <napi.h>

namespace orlop {

// Exports the class Engine, declared in agent/engine/addon.ts. Called once per environment.
void InitEngineObject(Napi::Env env, Napi::Object exports);

}  // namespace orlop
