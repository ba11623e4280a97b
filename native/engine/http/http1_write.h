// any thread · heads, chunks and trailers of HTTP/1 written anew from what was read: fields of the one connection stay behind, and
// framing is what we say, once. Pure: bytes go into the caller's room. test/http/write-grammar.ts writes the same in its own way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/http/http1_chunk.h"
#include "engine/http/http1_head.h"

namespace orlop {

// A field of ours. It takes the place of all fields with its name; without a value (data() is null) it only takes them out.
struct Http1Pair {
  std::string_view name, value;
  bool adds = false;  // it comes behind them instead
};
// False: some of them cannot be written.
bool ArePairs(const Http1Pair* pairs, size_t count);

enum class Http1Option : uint8_t {
  kNone,  // what the version implies
  kClose,
  kKeepAlive,
};

struct Http1Edit {
  Http1Framing framing;        // kUntilClose, of a response only, announces `Connection: close`
  uint64_t content_length;     // of kLength
  uint8_t minor;               // of a request; a response always says HTTP/1.1
  Http1Option connection;      // close or keep-alive in the Connection field
  bool websocket;              // `Upgrade: websocket` is written; no other protocol ever is
  bool trailers;               // `TE: trailers` is written
  bool without_envoys;         // x-envoy-* and x-forwarded-client-cert are taken out
  bool keep_alive;             // Keep-Alive goes on as it came: both connections of the message end together
  std::string_view authority;  // of a request: in place of its Host; as it came when data() is null
  std::string_view path;       // in place of the target's path; as it came when data() is null
  const Http1Pair* pairs;
  size_t pair_count;
};

// What was read, unchanged: the same framing, version, persistence, websocket and trailers. Fields of one connection go all the same.
Http1Edit UnchangedEdit(const Http1Head& head);

// The two for whatever writes heads of another protocol: a field goes on as it came, and the edit of a request can be written.
bool StaysInHead(const uint8_t* bytes, const Http1Head& head, const Http1Field& field, const Http1Edit& edit);
bool MayEditRequest(const uint8_t* bytes, const Http1Head& head, const Http1Edit& edit);

// Enough room for a head of `length` bytes with this edit.
size_t Http1HeadRoom(size_t length, const Http1Edit& edit);

// What every response begins with that WriteResponseHead or WriteReply writes.
constexpr std::string_view kHttp1ResponseStart = "HTTP/1.1 ";

// `bytes` are those that `head` was read from. Not written are: fields that Connection names, Connection, Proxy-Connection, TE, Upgrade,
// HTTP2-Settings, Content-Length and Transfer-Encoding as they came, Keep-Alive unless the edit keeps it, and X-Orlop-* of a request (RFC
// 9110 section 7.6.1). Of an absolute URI its path and query are written, `/` where it has no path: an application reads what rules have
// read (RFC 9112 section 3.2.1). A response without a body keeps its Content-Length, which is that of another response (RFC 9110 section 8.6),
// unless its status forbids it. A request without Host gets the authority of its target; HTTP/1.1 without it an empty Host.
// The number of bytes; 0 when the room is too small, or the edit is none that can be written: a pair whose name is no token or
// belongs to framing or connection, a value with a control byte, a path that is no path, an authority that is no host, chunks or websocket in a request of HTTP/1.0, a request until close, a body where a status forbids it.
size_t WriteRequestHead(const uint8_t* bytes, const Http1Head& head, const Http1Edit& edit, uint8_t* to,
                        size_t room);
size_t WriteResponseHead(const uint8_t* bytes, const Http1Head& head, const Http1Edit& edit, uint8_t* to,
                         size_t room);

// An answer of our own, whole. `to_head`: the request's method was HEAD, so the body is announced and not written.
struct Http1Reply {
  uint16_t status;
  Http1Option connection;
  bool to_head;
  const Http1Pair* pairs;
  size_t pair_count;
  std::string_view body;
};
size_t WriteReply(const Http1Reply& reply, uint8_t* to, size_t room);

constexpr size_t kHttp1ChunkLineRoom = 18;
// Behind the data of each chunk.
constexpr std::string_view kHttp1ChunkEnd = "\r\n";
// The line before `size` bytes of data; `size` is not 0, which would end the body.
size_t WriteChunkLine(uint64_t size, uint8_t* to);

constexpr size_t kHttp1LastChunkRoom = kHttp1TrailerBytes + kHttp1Trailers + 5;
// The last chunk and the trailers; without trailers when `trailers` is null. `section`: the bytes they were read from.
size_t WriteLastChunk(const uint8_t* section, const Http1TrailerSection* trailers, uint8_t* to, size_t room);

}  // namespace orlop
