/* The far end of streams: what comes on a stream goes back on it, and `grpc-status: 0` behind its end. */
#define _GNU_SOURCE
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "calls.h"
#include "load.h"

#define NV(name, value)                                                                                      \
	{(uint8_t *)(name), (uint8_t *)(value), sizeof(name) - 1, sizeof(value) - 1, NGHTTP2_NV_FLAG_NONE}
/* As much as a caller may send unread: the window that HTTP/2 begins with, and a power of two. */
#define HELD_BYTES (64 * 1024)

struct echo {
	uint64_t in, out; /* bytes that came and went */
	bool ended;
	unsigned char held[HELD_BYTES];
};

static ssize_t give(nghttp2_session *session, int32_t id, uint8_t *to, size_t room, uint32_t *flags,
		    nghttp2_data_source *source, void *user)
{
	struct echo *e = source->ptr;
	(void)user;
	size_t at = e->out % HELD_BYTES, have = (size_t)(e->in - e->out);
	size_t part = HELD_BYTES - at < have ? HELD_BYTES - at : have;
	if (part > room)
		part = room;
	if (part == 0 && !e->ended)
		return NGHTTP2_ERR_DEFERRED;
	memcpy(to, e->held + at, part);
	e->out += part;
	if (part > 0)
		nghttp2_session_consume(session, id, part);
	if (e->ended && e->in == e->out) {
		nghttp2_nv trailer = NV("grpc-status", "0");
		*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
		if (nghttp2_submit_trailer(session, id, &trailer, 1) != 0)
			return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	return (ssize_t)part;
}

static int began(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	(void)user;
	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	struct echo *e = malloc(sizeof(*e));
	if (!e)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	e->in = e->out = 0;
	e->ended = false;
	return nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, e);
}

static int came(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	(void)user;
	struct echo *e = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (!e)
		return 0;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
		nghttp2_nv head[] = {NV(":status", "200"), NV("content-type", "application/grpc")};
		nghttp2_data_provider body = {.source.ptr = e, .read_callback = give};
		if (nghttp2_submit_response(session, frame->hd.stream_id, head, 2, &body) != 0)
			return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
		e->ended = true;
		nghttp2_session_resume_data(session, frame->hd.stream_id);
	}
	return 0;
}

static int data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t length,
		void *user)
{
	(void)flags;
	(void)user;
	struct echo *e = nghttp2_session_get_stream_user_data(session, id);
	if (!e || e->in - e->out + length > HELD_BYTES)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	while (length > 0) {
		size_t at = e->in % HELD_BYTES, part = HELD_BYTES - at < length ? HELD_BYTES - at : length;
		memcpy(e->held + at, bytes, part);
		e->in += part;
		bytes += part;
		length -= part;
	}
	nghttp2_session_resume_data(session, id);
	return 0;
}

static int closed(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
	(void)code;
	(void)user;
	free(nghttp2_session_get_stream_user_data(session, id));
	return 0;
}

static void open_served(int fd, const nghttp2_session_callbacks *callbacks, const nghttp2_option *option,
			int epoll)
{
	struct framed *f = malloc(sizeof(*f));
	nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1000}};
	int one = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (!f || nghttp2_session_server_new2(&f->session, callbacks, NULL, option) != 0 ||
	    nghttp2_submit_settings(f->session, NGHTTP2_FLAG_NONE, settings, 1) != 0 ||
	    nghttp2_session_set_local_window_size(f->session, NGHTTP2_FLAG_NONE, 0, 16 << 20) != 0)
		die("session");
	framed_open(f, fd, epoll);
}

static int listen_at(const char *host, const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICHOST}, *a;
	int one = 1;
	if (getaddrinfo(host, port, &hints, &a) != 0)
		die("address");
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
	    bind(fd, a->ai_addr, a->ai_addrlen) != 0 || listen(fd, 4096) != 0)
		die("listen");
	freeaddrinfo(a);
	return fd;
}

int calls_serve(const char *host, const char *port)
{
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option;
	int listener = listen_at(host, port), epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	if (nghttp2_session_callbacks_new(&callbacks) != 0 || nghttp2_option_new(&option) != 0 || epoll < 0 ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) != 0)
		die("start");
	nghttp2_option_set_no_auto_window_update(option, 1);
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, began);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, came);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, data);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, closed);
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		struct epoll_event events[64];
		int count = epoll_wait(epoll, events, 64, -1);
		for (int i = 0; i < count; i++) {
			struct framed *f = events[i].data.ptr;
			if (f) {
				if (framed_move(f, epoll))
					continue;
				nghttp2_session_del(f->session);
				close(f->fd);
				free(f->out);
				free(f);
				continue;
			}
			int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
			if (fd < 0)
				continue;
			open_served(fd, callbacks, option, epoll);
		}
	}
}
