/* New connections: connect, one byte there and back, close; and connect() alone. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

enum stage { CONNECTING, ASKED_FOR_TUNNEL, SAID_HELLO };
enum progress { GOES_ON, DONE, FAILED };

static unsigned char hello[HEADER_BYTES + 1];
static char tunnel_request[1024];
static int tunnel_request_bytes;

static enum progress say(struct connection *c, const void *what, size_t length, enum stage next)
{
	c->stage = next;
	return send(c->fd, what, length, MSG_NOSIGNAL) == (ssize_t)length ? GOES_ON : FAILED;
}

static enum progress step(struct connection *c, const struct target *t, uint32_t events)
{
	if (c->stage == CONNECTING) {
		if (!(events & EPOLLOUT))
			return events & (EPOLLHUP | EPOLLERR) ? FAILED : GOES_ON;
		return t->connect_to ? say(c, tunnel_request, (size_t)tunnel_request_bytes, ASKED_FOR_TUNNEL)
				     : say(c, hello, sizeof(hello), SAID_HELLO);
	}
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return GOES_ON;
	ssize_t got = recv(c->fd, buffer, 1024, MSG_DONTWAIT);
	if (got < 0 && errno == EAGAIN)
		return GOES_ON;
	if (c->stage == SAID_HELLO)
		return got == 1 && buffer[0] == pattern[0] ? DONE : FAILED;
	/* The head of the answer comes in one piece here, or the connection counts as failed. */
	if (got < 16 || memcmp(buffer + 8, " 200", 4) != 0 || memcmp(buffer + got - 4, "\r\n\r\n", 4) != 0)
		return FAILED;
	return say(c, hello, sizeof(hello), SAID_HELLO);
}

/* `connections` of them at a time. */
int run_churn(const struct target *t)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct window w = window_from_now(t);
	header(hello, OP_REPLY, 1, &w);
	hello[HEADER_BYTES] = pattern[0];
	if (t->connect_to)
		tunnel_request_bytes = connect_request(t, tunnel_request, sizeof(tunnel_request));
	uint64_t done = 0, errors = 0, now;
	bool warmed = false;
	for (int i = 0; i < t->connections; i++)
		connections[i].fd = -1;
	while ((now = now_ns()) < w.end) {
		if (!warmed && now >= w.warm) {
			warmed = true;
			watch_begin();
		}
		for (int i = 0; i < t->connections; i++) {
			struct connection *c = &connections[i];
			if (c->fd >= 0)
				continue;
			*c = (struct connection){
			    .begun_ns = now_ns(), .fd = dial(t, true), .stage = CONNECTING};
			if (c->fd < 0) {
				errors++;
				continue;
			}
			struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET,
						    .data.u32 = (uint32_t)i};
			epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
		}
		struct epoll_event events[512];
		int count = epoll_wait(epoll, events, 512, 100);
		for (int i = 0; i < count; i++) {
			struct connection *c = &connections[events[i].data.u32];
			enum progress progress = step(c, t, events[i].events);
			if (progress == GOES_ON)
				continue;
			now = now_ns();
			if (progress == FAILED) {
				errors++;
			} else if (now >= w.warm && now < w.end) {
				histogram_add(&latency, now - c->begun_ns);
				done++;
			}
			drop(c->fd);
			c->fd = -1;
		}
	}
	watch_end();
	print_latency("churn", done, t->seconds, errors, NULL);
	return done == 0 || errors != 0;
}

/* One byte there and back. */
static bool say_hello(int fd)
{
	return send(fd, hello, sizeof(hello), MSG_NOSIGNAL) == sizeof(hello) && recv(fd, buffer, 1, 0) == 1 &&
	       buffer[0] == pattern[0];
}

/* Connections one after the other, `rate` per second. Turns lie at multiples of the gap on the machine's
 * clock, so that two of these with different phases never meet. The latency printed is that until connect()
 * returns or, when an answer is wanted, until that has come. */
static int in_turns(const struct target *t, const char *mode, bool answered)
{
	static struct histogram connecting;
	struct window w = window_from_now(t);
	uint64_t gap = t->rate > 0 ? (uint64_t)(1e9 / t->rate) : 1;
	uint64_t now, done = 0, errors = 0,
		      due = w.begin - w.begin % gap + (uint64_t)((double)gap * t->phase);
	bool warmed = false;
	header(hello, OP_REPLY, 1, &w);
	hello[HEADER_BYTES] = pattern[0];
	while ((now = now_ns()) < w.end) {
		if (!warmed && now >= w.warm) {
			warmed = true;
			watch_begin();
		}
		if (t->rate > 0) {
			due += gap;
			if (!t->spin)
				sleep_until(due);
			while (now_ns() < due)
				;
		}
		uint64_t start = now_ns();
		int fd = dial(t, false);
		uint64_t connected = now_ns();
		if (fd < 0) {
			errors++;
			continue;
		}
		if (answered && !say_hello(fd))
			errors++;
		if (start >= w.warm) {
			histogram_add(&connecting, connected - start);
			histogram_add(&latency, (answered ? now_ns() : connected) - start);
			done++;
		}
		drop(fd);
	}
	watch_end();
	print_latency(mode, done, t->seconds, errors, answered ? &connecting : NULL);
	return done == 0 || errors != 0;
}

/* connect() alone. */
int run_connect(const struct target *t)
{
	return in_turns(t, "connect", false);
}

/* A new connection and its first answer. */
int run_first(const struct target *t)
{
	return in_turns(t, "first", true);
}
