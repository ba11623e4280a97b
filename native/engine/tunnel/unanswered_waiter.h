// 10 · data thread · what waits until a pod has fewer unanswered CONNECTs at a destination.
#pragma once

#include "engine/core/hook.h"

namespace orlop {

class UnansweredWaiter : public Hook<UnansweredWaiter> {
 public:
  virtual void OnFewerUnanswered() = 0;

 protected:
  ~UnansweredWaiter() = default;
};

}  // namespace orlop
