// 6 · data thread · the memory that engine and TypeScript share: records of fixed size in front, text behind, for each direction.
// native/gen-abi.ts reads this file: only fixed-width fields, structs above and arrays of them. Host byte order throughout.
#ifndef ORLOP_ENGINE_ARENA_H
#define ORLOP_ENGINE_ARENA_H

#include <cstdint>

#include "orlop_abi.h"

/* Areas of the arena, in bytes from its start. An event's text lies in the event text area, and so on. */
#define ORLOP_ARENA_EVENTS 0
#define ORLOP_ARENA_EVENT_CAPACITY 1024
#define ORLOP_ARENA_EVENT_TEXT 131072
#define ORLOP_ARENA_EVENT_TEXT_SIZE 524288
#define ORLOP_ARENA_ANSWERS 655360
#define ORLOP_ARENA_ANSWER_TEXT 786432
#define ORLOP_ARENA_ANSWER_TEXT_SIZE 524288
/* One answer at a time that comes later than its event, so that it cannot overwrite the batch being written.
 */
#define ORLOP_ARENA_LATE_ANSWER 1310720
#define ORLOP_ARENA_LATE_TEXT 1310848
#define ORLOP_ARENA_LATE_TEXT_SIZE 32640
#define ORLOP_ARENA_SIZE 1343488

/* Most bytes of text in one answer; batch.ts refuses longer ones. */
#define ORLOP_ANSWER_TEXT_LIMIT 16384

/* Of `forward`, in orlop_engine_answer.requests: x-envoy-* and x-forwarded-client-cert are taken out of the request. */
#define ORLOP_FORWARD_WITHOUT_PROXY_HEADERS 1

/* Beside it, of a connection that is served: TypeScript is asked when a try at the origin fails (http1_session_retry.cc). UNSENT: where
 * the origin has got nothing of the request. ANY: whatever failed, a response with a status from 400 included; what goes of the request's
 * body is kept for that, up to ORLOP_MOST_KEPT bytes. */
#define ORLOP_FORWARD_ASKS_UNSENT 2
#define ORLOP_FORWARD_ASKS_ANY 4
#define ORLOP_MOST_KEPT 65536

/* Of `forward` and `reply`: edits of a head, behind each other. Each is three numbers of 16 bits, a HeaderOp and two lengths, then its
 * name and its value (http/head_edits.h). */
#define ORLOP_HEAD_EDIT_PREFIX 6

/* Of a request that is mirrored: the most bytes of its body. A longer body is not mirrored. */
#define ORLOP_MOST_MIRRORED 262144

/* Of `peek`: the most bytes. */
#define ORLOP_MOST_PEEKED 16384

/* Of `define-origin` and `forward`: the highest number of an origin. 0 is the connection's own. */
#define ORLOP_MOST_ORIGIN 4294967295

/* Of `tunnel` and `dial`, in orlop_engine_answer.requests, beside an HttpReading: when the far end cannot be reached the connection waits
 * for another answer. */
#define ORLOP_REPORTS_NOT_REACHED 256

/* orlop_engine_event.type. agent/engine/events.ts has the type of each, event-reader.ts reads it. */
enum orlop_event_type {
  ORLOP_ENGINE_ACCEPTED = 1,
  ORLOP_ENGINE_PEER_CERTIFICATE,
  ORLOP_ENGINE_CONNECT_REQUEST,
  ORLOP_ENGINE_ESTABLISHED,
  ORLOP_ENGINE_CLOSED,
  ORLOP_ENGINE_HANDSHAKE_FAILED,
  ORLOP_ENGINE_TUNNEL_ABUSED,
  ORLOP_ENGINE_POOL_LOW,
  ORLOP_ENGINE_REQUEST,
  ORLOP_ENGINE_REQUEST_ENDED,
  ORLOP_ENGINE_OPAQUE,
  ORLOP_ENGINE_NOT_REACHED,
  ORLOP_ENGINE_TRY_FAILED,
  ORLOP_ENGINE_FIRST_BYTES,
  ORLOP_ENGINE_MIRROR_ENDED,
};

/* orlop_engine_answer.type. agent/engine/answers.ts has the type of each, answer-writer.ts writes it, and the object that the
 * answer names (OnAnswer) acts on it. */
enum orlop_answer_type {
  ORLOP_ANSWER_RELAY = 1,
  ORLOP_ANSWER_TUNNEL,
  ORLOP_ANSWER_DIAL,
  ORLOP_ANSWER_REFUSE,
  ORLOP_ANSWER_CLOSE,
  ORLOP_ANSWER_PEER,
  ORLOP_ANSWER_REJECT_PEER,
  ORLOP_ANSWER_FORWARD,
  ORLOP_ANSWER_REPLY,
  ORLOP_ANSWER_ASK_AGAIN,
  ORLOP_ANSWER_SERVE,
  ORLOP_ANSWER_DEFINE_ORIGIN,
  ORLOP_ANSWER_DROP_ORIGIN,
  ORLOP_ANSWER_PASS,
  ORLOP_ANSWER_HOLD,
  ORLOP_ANSWER_PEEK,
  ORLOP_ANSWER_RESET,
  ORLOP_ANSWER_MIRROR,
};

struct orlop_endpoint {
  struct orlop_addr addr;
  uint16_t port;
  uint16_t known; /* 0: there is none */
};

/* Text or bytes: where in the area of its direction, and how long. */
struct orlop_span {
  uint32_t offset;
  uint32_t length;
};

/* How an origin's connections are kept. 0: the engine's own. */
struct orlop_origin_pool {
  uint32_t connect_ms;    /* from its begin until it is open */
  uint32_t idle_ms;       /* without a request; then it ends */
  uint32_t most_requests; /* on a connection; then it ends */
  uint32_t most_open;     /* connections of the key at once, on all threads */
  uint64_t key;
  uint32_t most_waiting; /* requests that wait for such a connection, on all threads */
  uint32_t reserved;
};

struct orlop_engine_event {
  uint32_t type;
  uint32_t conn;
  uint32_t generation;
  uint32_t pod_idx;
  struct orlop_endpoint near;   /* source, peer or upstream */
  struct orlop_endpoint target; /* destination or local */
  uint32_t
      kind; /* listener, role, cause, reason, socket kind, failure or MirrorEnd: a number of a list in events.h */
  int32_t detail; /* errno, HTTP status, TLS alert or count; of first-bytes 1 where no more will come */
  int32_t
      identity; /* own, the peer's (CONNECT, abuse), Http1Refusal, or CloseCause (not-reached, also of a try); of a request that was
                       answered microseconds from its last try's beginning to its response's head */
  int32_t expect;      /* the peers that are acceptable; of a request: its number on the connection */
  uint64_t sent_bytes; /* of try-failed: 1 where the origin may have got some of the request */
  uint64_t received_bytes;
  uint64_t duration_us;
  /* 0: leaf, authority, message, reason, method · 1: baggage, target, status of gRPC · 2: forwarded, host · 3: traceparent, fields
   * (http/request_event.h) */
  struct orlop_span text[4];
};

/* `mirror` comes before the `forward` of its request, and says of a copy what `forward` says of the request: pod_idx, expect, requests, and
 * texts 0 to 2.
 * conn: of `define-origin` and `drop-origin` the origin's number. pod_idx: of `forward` the origin's number, of `define-origin` the pod whose
 * requests may go there, which dials in the pod of `status`. identity: own, of `peer` the peer's, of `forward` milliseconds for a try.
 * expect: acceptable peers, of `forward`, `reply`, `pass`, `hold` and `reset` the request's number. status: of `refuse` and `reply`; of `forward`
 * milliseconds for the whole, of `hold` until it is asked about again; of `peek` how many bytes at least. requests: of `dial` a number of HttpReading; of `dial` and `tunnel` ORLOP_REPORTS_NOT_REACHED; of `forward` bits of
 * ORLOP_FORWARD_*; of `define-origin` a number of OriginWay.
 * text 0: authority, body, target; 1: baggage, host, edits of a reply; 2: forwarded, edits of the request; 3: traceparent, edits of
 * the response, of `define-origin` an orlop_origin_pool, or nothing: all of it is the engine's own. */
struct orlop_engine_answer {
  uint32_t type;
  uint32_t conn;
  uint32_t generation;
  uint32_t pod_idx;
  struct orlop_endpoint to;
  struct orlop_endpoint from;
  int32_t identity;
  int32_t expect;
  int32_t status;
  uint32_t requests;
  struct orlop_span text[4];
};

#endif
