/* Bytes between a socket and a session of HTTP/2; many frames go in one write. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "calls.h"
#include "load.h"

void framed_open(struct framed *f, int fd)
{
	f->fd = fd;
	f->begin = f->end = 0;
	f->out = malloc(OUT_BYTES);
	if (!f->out)
		die("malloc");
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

bool framed_move(struct framed *f)
{
	for (;;) {
		ssize_t got = recv(f->fd, buffer, READ_BYTES, MSG_DONTWAIT);
		if (got < 0 && errno != EAGAIN)
			return false;
		if (got == 0)
			return false;
		if (got < 0)
			break;
		if (nghttp2_session_mem_recv(f->session, buffer, (size_t)got) != got)
			return false;
		if (!write_out(f))
			return false;
	}
	return write_out(f);
}
