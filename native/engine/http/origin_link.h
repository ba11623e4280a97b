// 22 · data thread · a connection to an origin, as the session of a request has it.
#pragma once

#include <string_view>

#include "engine/core/byte_end.h"
#include "engine/core/events.h"

namespace orlop {

// The session that takes a link has it until it gives it back, ends it, or hears that it failed or was lost.
class OriginLink {
 public:
  class User {
   public:
    // Bytes may go from here on.
    virtual void OnOriginOpen() = 0;
    // It never was open, and its far end has got nothing. It is gone.
    virtual void OnOriginFailed(CloseCause cause, int detail, std::string_view message) = 0;
    // It was open, and its connection has ended. The user of its bytes hears of a FIN or a reset from the end of bytes itself.
    virtual void OnOriginLost() = 0;

   protected:
    ~User() = default;
  };

  // Opens it, or says that it is open already; the user hears of it, maybe in this call.
  virtual void Open() = 0;
  // Once it is open.
  virtual ByteEnd& end() = 0;
  virtual void StartBytes(ByteEnd::User& user) = 0;
  // It has carried a request before: its far end may be about to end it.
  virtual bool used() const = 0;
  // Its far end had ended it when it was taken, or before it heard of the request.
  virtual void WasStale() = 0;
  // All of a request and of its response have gone: another may have it.
  virtual void GiveBack() = 0;
  // `in_order`: with a FIN, else with a RST.
  virtual void End(bool in_order) = 0;

 protected:
  ~OriginLink() = default;
};

}  // namespace orlop
