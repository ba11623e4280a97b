// fuzz · an end of bytes for a relay, and the other side of it, which the test plays.
#pragma once

#include <memory>
#include <string>

#include "engine/core/byte_end.h"
#include "world.h"

namespace orlop::contracts {

class FarEnd {
 public:
  virtual ~FarEnd() = default;
  // The end that the relay gets. Its user is `user` from now on.
  virtual ByteEnd& Near(ByteEnd::User& user) = 0;
  // Takes at most what fits now; how many bytes.
  virtual size_t Say(const char* bytes, size_t length) = 0;
  virtual void SayEnd() = 0;
  virtual void Reset() = 0;
  // Hears at most `most` bytes, and keeps them.
  virtual void Hear(size_t most) = 0;
  // Lets bytes that are under way arrive.
  virtual void Work() {}
  // The relay has ended: closes the near side as a connection would.
  virtual void CloseNear(bool reset) = 0;
  const std::string& heard() const { return heard_; }
  bool heard_end() const { return heard_end_; }
  bool was_reset() const { return was_reset_; }

 protected:
  std::string heard_;
  bool heard_end_ = false;
  bool was_reset_ = false;
};

// In memory, with room for a few bytes each way.
std::unique_ptr<FarEnd> MakeMemoryEnd(Random& random);
// A TCP connection over loopback.
std::unique_ptr<FarEnd> MakeSocketEnd(World& world, Random& random);
// A CONNECT stream between two sessions. `server`: the relay has the side that the CONNECT came to.
std::unique_ptr<FarEnd> MakeStreamEnd(World& world, Random& random, bool server);

}  // namespace orlop::contracts
