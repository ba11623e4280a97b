/* calls HOST PORT [--connections N] [--streams N] [--size BYTES] [--ahead N] [--seconds S] [--warmup S]
 *                 [--watch PID,…]
 * calls serve HOST PORT
 * Each stream is a call of gRPC in both directions: it sends messages, each of which comes back, and has `ahead` of
 * them under way. Every byte that comes is compared. Prints one JSON object: `requests` are messages that came back in
 * the window. Exit 1 when a byte, a stream or a connection was wrong. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "calls.h"
#include "load.h"

#define MOST_CONNECTIONS 64
#define MOST_STREAMS	 128
#define LAST_MS		 10000

struct call {
	struct framed *on;
	int32_t id;
	uint64_t sent, came; /* bytes of messages, their prefixes included */
	bool finished;	     /* trailers with grpc-status 0 have come */
	bool closed;
};

static struct framed framed[MOST_CONNECTIONS];
static struct call calls[MOST_CONNECTIONS * MOST_STREAMS];
static unsigned char prefix[PREFIX_BYTES];
static uint64_t size, whole, ahead;
static uint64_t messages; /* that came back, over all calls */
static bool ending;

static void wrong(const char *what)
{
	errno = EBADMSG;
	die(what);
}

/* A message a frame, while the call may be ahead. */
static ssize_t give(nghttp2_session *session, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
		    nghttp2_data_source *source, void *user)
{
	struct call *c = source->ptr;
	(void)session;
	(void)id;
	(void)user;
	uint64_t at = c->sent % whole, nth = c->sent / whole;
	if (at == 0 && ending) {
		*flags |= NGHTTP2_DATA_FLAG_EOF;
		return 0;
	}
	if (at == 0 && nth >= c->came / whole + ahead)
		return NGHTTP2_ERR_DEFERRED;
	size_t length = 0;
	if (at < PREFIX_BYTES) {
		length = PREFIX_BYTES - at < room ? PREFIX_BYTES - at : room;
		memcpy(to, prefix + at, length);
		at += length;
	}
	size_t rest = whole - at < room - length ? whole - at : room - length;
	if (rest > 0)
		memcpy(to + length, pattern + (nth * size + at - PREFIX_BYTES) % PATTERN_BYTES, rest);
	c->sent += length + rest;
	return (ssize_t)(length + rest);
}

static int data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t length,
		void *user)
{
	struct call *c = nghttp2_session_get_stream_user_data(session, id);
	(void)flags;
	(void)user;
	if (!c || c->came + length > c->sent)
		wrong("bytes that nobody sent");
	while (length > 0) {
		uint64_t at = c->came % whole, nth = c->came / whole;
		size_t part;
		if (at < PREFIX_BYTES) {
			part = PREFIX_BYTES - at < length ? PREFIX_BYTES - at : length;
			if (memcmp(bytes, prefix + at, part) != 0)
				wrong("a message's prefix differs");
		} else {
			part = whole - at < length ? whole - at : length;
			if (!pattern_holds(bytes, part, nth * size + at - PREFIX_BYTES))
				wrong("a message differs");
		}
		c->came += part;
		bytes += part;
		length -= part;
		messages += c->came % whole == 0;
	}
	nghttp2_session_resume_data(session, id);
	return 0;
}

static int field(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		 size_t name_length, const uint8_t *value, size_t value_length, uint8_t flags, void *user)
{
	(void)flags;
	(void)user;
	struct call *c = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (!c)
		return 0;
	if (name_length == 7 && memcmp(name, ":status", 7) == 0 &&
	    (value_length != 3 || memcmp(value, "200", 3) != 0))
		wrong("a call is not answered with 200");
	if (name_length == 11 && memcmp(name, "grpc-status", 11) == 0)
		c->finished = value_length == 1 && value[0] == '0';
	return 0;
}

static int closed(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
	struct call *c = nghttp2_session_get_stream_user_data(session, id);
	(void)user;
	if (!c)
		return 0;
	if (code != NGHTTP2_NO_ERROR || !c->finished || c->came != c->sent)
		wrong("a call has not ended in order");
	c->closed = true;
	return 0;
}

#define NV(name, value) {(uint8_t *)(name), (uint8_t *)(value), strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE}

static void begin(struct call *c, struct framed *on, const char *authority)
{
	nghttp2_nv head[] = {NV(":method", "POST"),	  NV(":scheme", "http"),
			     NV(":path", STREAM_PATH),	  NV(":authority", authority),
			     NV("te", "trailers"),	  NV("content-type", "application/grpc"),
			     NV("user-agent", "calls/1")};
	nghttp2_data_provider body = {.source.ptr = c, .read_callback = give};
	c->on = on;
	c->id = nghttp2_submit_request(on->session, NULL, head, sizeof(head) / sizeof(head[0]), &body, c);
	if (c->id < 0)
		die("call");
}

static void open_calls(const struct target *t, int streams, int epoll)
{
	char authority[300];
	nghttp2_session_callbacks *callbacks;
	nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
					     {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20}};
	snprintf(authority, sizeof(authority), "%s:%s", t->host, t->port);
	if (nghttp2_session_callbacks_new(&callbacks) != 0)
		die("callbacks");
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, data);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, field);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, closed);
	for (int i = 0; i < t->connections; i++) {
		struct framed *f = &framed[i];
		int fd = dial(t, false);
		if (fd < 0)
			die("connect");
		if (nghttp2_session_client_new(&f->session, callbacks, f) != 0 ||
		    nghttp2_submit_settings(f->session, NGHTTP2_FLAG_NONE, settings, 2) != 0 ||
		    nghttp2_session_set_local_window_size(f->session, NGHTTP2_FLAG_NONE, 0, 16 << 20) != 0)
			die("session");
		framed_open(f, fd, epoll);
		for (int s = 0; s < streams; s++)
			begin(&calls[i * streams + s], f, authority);
		if (!framed_move(f, epoll))
			die("begin");
	}
}

static void move(int epoll, int wait_ms)
{
	struct epoll_event events[MOST_CONNECTIONS];
	int count = epoll_wait(epoll, events, MOST_CONNECTIONS, wait_ms);
	for (int i = 0; i < count; i++) {
		errno = 0;
		if (!framed_move(events[i].data.ptr, epoll))
			die("a connection");
	}
}

static int run(const struct target *t, int streams)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC), all = t->connections * streams;
	open_calls(t, streams, epoll);
	struct window w = window_from_now(t);
	uint64_t now, before = 0;
	bool warmed = false;
	while ((now = now_ns()) < w.end) {
		if (!warmed && now >= w.warm) {
			warmed = true;
			before = messages;
			watch_begin();
		}
		move(epoll, 100);
	}
	if (!warmed)
		wrong("no time was left to measure in");
	watch_end();
	uint64_t counted = messages - before;
	/* What is under way comes back: a byte that was lost must not be hidden by the end of the run. */
	ending = true;
	for (int i = 0; i < all; i++)
		nghttp2_session_resume_data(calls[i].on->session, calls[i].id);
	for (int i = 0; i < t->connections; i++)
		if (!framed_move(&framed[i], epoll))
			die("the end");
	uint64_t last = now_ns() + LAST_MS * 1000000ull;
	for (int open = all; open > 0;) {
		move(epoll, 100);
		open = 0;
		for (int i = 0; i < all; i++)
			open += !calls[i].closed;
		if (open > 0 && now_ns() > last)
			wrong("calls do not end");
	}
	printf("{\"mode\":\"calls\",\"requests\":%llu,\"seconds\":%.6f,\"rate\":%.2f,\"errors\":0",
	       (unsigned long long)counted, t->seconds, (double)counted / t->seconds);
	watch_print();
	printf("}\n");
	return counted == 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "serve")) {
		pattern_fill();
		return calls_serve(argv[2], argv[3]);
	}
	if (argc < 3)
		return 64;
	struct target t = {
	    .host = argv[1], .port = argv[2], .connections = 1, .size = 1024, .seconds = 3, .warmup = 0.5};
	int streams = 1, messages_ahead = 1;
	for (int i = 3; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--connections"))
			t.connections = atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--streams"))
			streams = atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--size"))
			t.size = atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--ahead"))
			messages_ahead = atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--seconds"))
			t.seconds = atof(argv[i + 1]);
		else if (!strcmp(argv[i], "--warmup"))
			t.warmup = atof(argv[i + 1]);
		else if (!strcmp(argv[i], "--watch"))
			watch_pids(argv[i + 1]);
		else {
			fprintf(stderr, "calls: unknown option %s\n", argv[i]);
			return 64;
		}
	}
	if (t.connections < 1 || t.connections > MOST_CONNECTIONS || streams < 1 || streams > MOST_STREAMS ||
	    t.size < 1 || t.size > PATTERN_BYTES || messages_ahead < 1) {
		fprintf(stderr, "calls: connections 1..%d, streams 1..%d, size 1..%d, ahead from 1\n", MOST_CONNECTIONS,
			MOST_STREAMS, PATTERN_BYTES);
		return 64;
	}
	size = (uint64_t)t.size;
	whole = PREFIX_BYTES + size;
	ahead = (uint64_t)messages_ahead;
	for (int i = 0; i < 4; i++)
		prefix[1 + i] = (unsigned char)(size >> (24 - 8 * i));
	pattern_fill();
	return run(&t, streams);
}
