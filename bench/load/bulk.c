/* Bulk: the pattern on every stream for the time given; the sinks compare it and tell what came in the
 * window. And the same to sinks that read nothing until the window has ended. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

/* A bounded turn per stream, so that one fast stream does not starve the others. */
#define SENDS_PER_TURN 8
#define PACED_BYTES    (64 * 1024)
#define ANSWER_MS      20000
/* Nobody on the way takes more. */
#define QUIET_NS 200000000

static uint64_t total;

static void turn(struct connection *c, size_t bytes)
{
	for (int i = 0; i < SENDS_PER_TURN; i++) {
		ssize_t sent =
		    send(c->fd, pattern + c->sent % PATTERN_BYTES, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0) {
			if (errno != EAGAIN)
				die("send");
			return;
		}
		c->sent += (uint64_t)sent;
		total += (uint64_t)sent;
		if (bytes == PACED_BYTES)
			return;
	}
}

/* After the window the sink reports what it has whenever it has read all there is. One more byte makes sure
 * that it speaks. No half-close is needed, which not every proxy passes on. False: it did not
 * get what was sent. */
static bool confirmed(struct connection *c, uint64_t *in_window)
{
	unsigned char answer[SINK_ANSWER_BYTES];
	size_t have = 0;
	struct pollfd wait = {.fd = c->fd, .events = POLLIN};
	for (;;) {
		if (poll(&wait, 1, ANSWER_MS) <= 0)
			return false;
		ssize_t got = recv(c->fd, answer + have, sizeof(answer) - have, 0);
		if (got <= 0)
			return false;
		have += (size_t)got;
		if (have < sizeof(answer))
			continue;
		if (get64(answer + 8) != 0 || get64(answer) > c->sent)
			return false;
		if (get64(answer) == c->sent)
			break;
		have = 0;
	}
	*in_window += get64(answer + 16);
	return true;
}

static void one_more_byte(struct connection *c)
{
	struct pollfd wait = {.fd = c->fd, .events = POLLOUT};
	if (poll(&wait, 1, ANSWER_MS) > 0 &&
	    send(c->fd, pattern + c->sent % PATTERN_BYTES, 1, MSG_NOSIGNAL) == 1)
		c->sent++;
}

/* How many sinks did not get what was sent. Closes all. */
static uint64_t unconfirmed(const struct target *t, uint64_t *in_window)
{
	uint64_t errors = 0;
	for (int i = 0; i < t->connections; i++)
		one_more_byte(&connections[i]);
	for (int i = 0; i < t->connections; i++) {
		if (!confirmed(&connections[i], in_window))
			errors++;
		close(connections[i].fd);
	}
	return errors;
}

static int watch_writable(const struct target *t)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < t->connections; i++) {
		struct epoll_event event = {.events = EPOLLOUT, .data.u32 = (uint32_t)i};
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].fd, &event) != 0)
			die("epoll_ctl");
	}
	return epoll;
}

int run_bulk(const struct target *t)
{
	struct window w = open_all(t, -1, OP_SINK);
	int epoll = watch_writable(t);
	bool warmed = false;
	for (uint64_t now; (now = now_ns()) < w.end;) {
		if (!warmed && now >= w.warm) {
			warmed = true;
			watch_begin();
		}
		if (t->rate > 0) {
			uint64_t due = w.begin + (uint64_t)((double)total / t->rate * 1e9);
			if (due > now) {
				sleep_until(due < w.end ? due : w.end);
				continue;
			}
		}
		struct epoll_event events[128];
		int count = epoll_wait(epoll, events, 128, 10);
		for (int i = 0; i < count; i++)
			turn(&connections[events[i].data.u32], t->rate > 0 ? PACED_BYTES : READ_BYTES);
	}
	watch_end();
	uint64_t in_window = 0, errors = unconfirmed(t, &in_window);
	printf(
	    "{\"mode\":\"bulk\",\"bytes\":%llu,\"total\":%llu,\"seconds\":%.6f,\"gbps\":%.4f,\"errors\":%llu",
	    (unsigned long long)in_window, (unsigned long long)total, t->seconds,
	    (double)in_window * 8 / t->seconds / 1e9, (unsigned long long)errors);
	watch_print();
	printf("}\n");
	return errors ? 1 : 0;
}

/* As much as goes to sinks that do not read: says `ready` when nothing has gone for a while, and at the end
 * how much went. What it could send is what somebody on the way holds. */
int run_stall(const struct target *t)
{
	struct window w = open_all(t, -1, OP_STALL);
	int epoll = watch_writable(t);
	uint64_t now, moved = now_ns(), held = 0, in_window = 0;
	bool said = false;
	while ((now = now_ns()) < w.end) {
		struct epoll_event events[128];
		int count = epoll_wait(epoll, events, 128, 10);
		for (int i = 0; i < count; i++)
			turn(&connections[events[i].data.u32], READ_BYTES);
		if (total != held)
			moved = now_ns();
		held = total;
		if (!said && now_ns() - moved > QUIET_NS) {
			said = true;
			printf("ready\n");
			fflush(stdout);
		}
	}
	uint64_t errors = unconfirmed(t, &in_window) + !said;
	printf("{\"mode\":\"stall\",\"held\":%llu,\"errors\":%llu}\n", (unsigned long long)held,
	       (unsigned long long)errors);
	return errors ? 1 : 0;
}
