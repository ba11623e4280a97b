/* Streams of messages of gRPC over HTTP/2 without TLS: what both ends of `calls` share (nghttp2 makes the frames). */
#ifndef ORLOP_BENCH_CALLS_H
#define ORLOP_BENCH_CALLS_H

#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STREAM_PATH "/bench.Echo/Stream"
/* Of a message: not compressed, and its length (grpc:doc/PROTOCOL-HTTP2.md, Length-Prefixed-Message). */
#define PREFIX_BYTES 5

#define OUT_BYTES (256 * 1024)
/* Of a frame that is no DATA: heads of ours are far smaller. */
#define FRAME_ROOM (16 * 1024 + 9)

/* One connection's socket and frames. */
struct framed {
	int fd;
	nghttp2_session *session;
	unsigned char *out;
	size_t begin, end; /* of what is not written */
	bool waits;	   /* for room */
};

/* In `epoll`, level-triggered, with `f` as its data: a connection that always has more must not keep the others waiting. */
void framed_open(struct framed *f, int fd, int epoll);
/* Reads once and writes all that fits. False: the far end has ended the connection, or it has failed. */
bool framed_move(struct framed *f, int epoll);

int calls_serve(const char *host, const char *port);

#endif
