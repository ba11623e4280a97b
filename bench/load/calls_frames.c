/* Bytes between a socket and a session of HTTP/2; many frames go in one write. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "calls.h"
#include "load.h"

void framed_open(struct framed *f, int fd, int epoll)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = f};
	f->fd = fd;
	f->begin = f->end = 0;
	f->waits = false;
	f->out = malloc(OUT_BYTES);
	if (!f->out || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
		die("a connection");
}

/* False: failed. */
static bool write_out(struct framed *f)
{
	for (;;) {
		while (f->begin < f->end) {
			ssize_t sent = send(f->fd, f->out + f->begin, f->end - f->begin,
					    MSG_NOSIGNAL | MSG_DONTWAIT);
			if (sent < 0)
				return errno == EAGAIN;
			f->begin += (size_t)sent;
		}
		f->begin = f->end = 0;
		while (f->end + FRAME_ROOM <= OUT_BYTES) {
			const uint8_t *frames;
			ssize_t length = nghttp2_session_mem_send(f->session, &frames);
			if (length < 0 || (size_t)length > OUT_BYTES - f->end)
				return false;
			if (length == 0)
				break;
			memcpy(f->out + f->end, frames, (size_t)length);
			f->end += (size_t)length;
		}
		if (f->end == 0)
			return true;
	}
}

bool framed_move(struct framed *f, int epoll)
{
	ssize_t got = recv(f->fd, buffer, READ_BYTES, MSG_DONTWAIT);
	if (got == 0 || (got < 0 && errno != EAGAIN))
		return false;
	if (got > 0 && nghttp2_session_mem_recv(f->session, buffer, (size_t)got) != got)
		return false;
	if (!write_out(f))
		return false;
	bool waits = f->begin < f->end;
	if (waits == f->waits)
		return true;
	f->waits = waits;
	struct epoll_event event = {.events = EPOLLIN | (waits ? EPOLLOUT : 0), .data.ptr = f};
	return epoll_ctl(epoll, EPOLL_CTL_MOD, f->fd, &event) == 0;
}
