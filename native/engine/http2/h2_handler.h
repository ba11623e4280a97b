// 10, 11 · data thread · what a session does not decide itself: who takes a request, and when bytes are written.
#pragma once

namespace orlop {

class H2Stream;

class H2Handler {
 public:
  // A server's peer begins a request. The stream that gets its fields; null refuses it with RST_STREAM(INTERNAL_ERROR).
  virtual H2Stream* OnRequest() = 0;
  // The peer takes no further streams.
  virtual void OnGoaway() = 0;
  // A stream has left the session: there may be room for another.
  virtual void OnStreamGone() = 0;
  // H2Session::Produce has something to write. Called often.
  virtual void OnOutput() = 0;

 protected:
  ~H2Handler() = default;
};

}  // namespace orlop
