// any thread · a connection of HTTP/1 between a client and the one server behind it: request, response, and the next request. Pure:
// gets the bytes of both sides as they come and says what to do with them; a caller reads, writes, judges and keeps time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/http/http1_body.h"
#include "engine/http/http1_head.h"
#include "engine/http/http1_write.h"

namespace orlop {

// Bytes of a refused request that are read and dropped so that the connection can go on.
constexpr uint64_t kHttp1DrainBytes = 64 * 1024;
// Bytes that are read and dropped behind the last answer of a connection, so that the client reads it before it meets a reset.
constexpr uint64_t kHttp1LingerBytes = 1024 * 1024;

enum class Http1Do : uint8_t {
  kWait,     // nothing, until more bytes of this side come
  kHold,     // nothing, until the other side has gone on; bytes of this side stay where they are
  kJudge,    // a request's head: call Forward or Refuse
  kHead,     // write this response's head with the step's edit; kOpaque when `opaque`
  kPayload,  // write the bytes from `at` to `used` to the other side, as the head written there says
  kEnd,  // the message has ended; its trailers begin at `at`. `closes`: end the client's connection behind it. Of another
         // protocol: this side has ended, and is not read again
  kDiscard,  // drop the bytes up to `used`
  kReply,    // answer with `status` and Connection: close; the server's connection ends, too
  kFinish,   // end both connections in order
  kAbort,    // reset both: what was begun cannot be ended. Without a refusal this side has ended too early
  kLost,     // of connections that are apart: the server has ended before its response's head was whole
};

struct Http1Step {
  Http1Do what;
  size_t at = 0, used = 0;
  Http1Refusal refusal = Http1Refusal::kNone;
  uint16_t status = 0;
  bool closes = false;
  bool opaque = false;  // behind this head both sides are bytes of another protocol, which pass as kPayload
  Http1Edit edit = {};
};

// What a caller may do behind Refuse.
struct Http1Refused {
  Http1Option connection;  // for the reply
  bool closes;             // the client's connection ends when the client ends it, or when a step says so
};

class Http1Exchange {
 public:
  // Each request may have a server's connection for itself: how long the client's lives is between the client and us.
  void SetApart() { apart_ = true; }
  // The bytes of a side are those that no step has used; `ended`: none come behind them. Call again after each step but kWait, kHold,
  // kFinish and kAbort; and after each step of one side, the other. Behind kEnd of the server's side that side comes first: what is
  // there already is no answer to the next request, and ends both connections. `head` and `trailers` are the caller's, written where a step
  // says so. After kFinish, kAbort or `closes` the server is not read any more.
  Http1Step FromClient(const uint8_t* bytes, size_t length, bool ended, Http1Head* head,
                       Http1TrailerSection* trailers);
  Http1Step FromServer(const uint8_t* bytes, size_t length, bool ended, Http1Head* head,
                       Http1TrailerSection* trailers);

  // Behind kJudge, with its head. The edit with which the head goes to the server.
  Http1Edit Forward(const Http1Head& head);
  // The same of a request that went on, whose response has not begun for the client: it goes to another server's connection. What its body
  // has had so far is the caller's to write again.
  Http1Edit ForwardAgain(const Http1Head& head);
  // The request is answered by us, the server does not see it. The connection goes on where the request's framing allows it: without
  // a body, or with a length of kHttp1DrainBytes at most that the client does not hold back (RFC 9110 section 10.1.1).
  Http1Refused Refuse(const Http1Head& head);

  // The request is answered by us although it went on. The connection goes on where all of the request has come.
  Http1Refused Answer();

  // The server's connection may have another request, behind this request and this response.
  bool server_goes_on() const { return server_persistent_; }
  // The caller answers in place of whatever was due, and ends the client's connection behind it.
  void Close() { request_ = Request::kLingering; }
  // No request is open: the next may come.
  bool idle() const { return request_ == Request::kHead; }
  // The open request's response is whole. Its client may still send the rest of the request.
  bool answered() const { return response_ == Response::kDone; }
  // The request that was read last has the method HEAD, so its answer has no body.
  bool answers_head() const { return answers_head_; }
  // The next step of a side that has not ended needs none of its bytes: its message is over.
  bool needs_no_bytes(bool of_request) const {
    return of_request ? request_ == Request::kBody && request_body_.ended()
                      : response_ == Response::kBody && response_body_.ended();
  }
  // The body of the request, or of the response, has ended but for its trailers, which were not written.
  bool awaits_trailers(bool of_request) const {
    return (of_request ? request_body_ : response_body_).awaits_trailers();
  }

 private:
  enum class Request : uint8_t { kHead, kJudging, kBody, kDone, kDraining, kLingering };
  enum class Response : uint8_t { kNone, kHead, kBody, kDone };

  Http1Step ReadRequest(const uint8_t* bytes, size_t length, bool ended, Http1Head* head);
  Http1Step ReadBody(const uint8_t* bytes, size_t length, bool ended, Http1TrailerSection* trailers);
  Http1Step Drain(const uint8_t* bytes, size_t length, bool ended, Http1TrailerSection* trailers);
  Http1Step Linger(size_t length, bool ended);
  Http1Step ReadResponse(const uint8_t* bytes, size_t length, bool ended, Http1Head* head);
  Http1Step Respond(size_t used, const Http1Head& head);
  Http1Step Switch(size_t used, const Http1Head& head);
  Http1Step ReadAnswer(const uint8_t* bytes, size_t length, bool ended, Http1TrailerSection* trailers);
  Http1Step EndResponse(const Http1BodyStep& step);
  Http1Step Reply(uint16_t status, Http1Refusal refusal, size_t used);
  static Http1Step Abort(Http1Refusal refusal, size_t used);
  Http1Edit EditOf(const Http1Head& head) const;
  void Next();

  Http1Body request_body_, response_body_;
  uint64_t dropped_ = 0;
  uint32_t scanned_request_ = 0, scanned_response_ = 0;
  Request request_ = Request::kHead;
  Response response_ = Response::kNone;
  uint8_t minor_ = 1;    // of the request
  bool reused_ = false;  // the server has answered a request before
  bool answers_head_ = false;
  bool persistent_ = false;
  bool websocket_ = false;
  bool opaque_ = false;
  bool apart_ = false;
  bool server_persistent_ = false;
};

}  // namespace orlop
