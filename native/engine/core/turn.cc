// data thread · the parts of a turn that do not depend on what an engine does.
#include "engine/core/turn.h"

#include "engine/core/loop.h"

namespace orlop {

void Turn::Bury(Mortal* mortal) {
  dead_.PushBack(mortal);
  Wake();
}

void Turn::Wake() {
  if (!running_) loop_.Again();
}

// What puts itself off again waits for the next turn.
void Turn::RunAgain() {
  if (again_.empty()) return;
  List<Task, Task> now;
  now.TakeAll(&again_);
  while (Task* task = now.PopFront()) task->OnAgain();
}

void Turn::FlushDirty() {
  if (dirty_.empty()) return;
  List<Flushable, Flushable> now;
  now.TakeAll(&dirty_);
  while (Flushable* flushable = now.PopFront()) flushable->Flush();
}

void Turn::Reap() {
  while (Mortal* mortal = dead_.PopFront()) delete mortal;
}

}  // namespace orlop
