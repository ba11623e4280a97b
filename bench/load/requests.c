/* Requests and replies of one size: closed loop, open loop, and connections that only exist. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

#define LAST_REPLY_MS 10000
#define FIRST_AT_ONCE 32

/* What every request of the run is. */
static const unsigned char *sent_text(const struct target *t, uint32_t *length)
{
	if (t->http)
		return http_request(length);
	*length = (uint32_t)t->size;
	return pattern;
}

static bool request(struct connection *c, const struct target *t)
{
	uint32_t length;
	const unsigned char *text = sent_text(t, &length);
	while (c->unsent > 0) {
		ssize_t sent =
		    send(c->fd, text + (length - c->unsent), c->unsent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0)
			return errno == EAGAIN;
		c->unsent -= (uint32_t)sent;
	}
	return true;
}

static void begin_request(struct connection *c, const struct target *t, uint64_t at)
{
	c->begun_ns = at;
	sent_text(t, &c->unsent);
	c->awaited = (uint32_t)t->size;
	c->head = 0;
	if (!request(c, t))
		die("request");
}

/* True when a whole reply arrived. */
static bool reply(struct connection *c, const struct target *t)
{
	while (c->awaited > 0) {
		size_t room = t->http ? READ_BYTES : c->awaited < READ_BYTES ? c->awaited : READ_BYTES;
		ssize_t got = recv(c->fd, buffer, room, MSG_DONTWAIT);
		if (got == 0)
			errno = 0;
		if (got == 0 || (got < 0 && errno != EAGAIN))
			die("reply");
		if (got < 0)
			return false;
		size_t head = t->http ? http_reply_head(c, (int)(c - connections), buffer, (size_t)got) : 0;
		size_t body = (size_t)got - head;
		errno = EBADMSG;
		if (body > c->awaited || !pattern_holds(buffer + head, body, (uint64_t)t->size - c->awaited))
			die("reply differs");
		c->awaited -= (uint32_t)body;
	}
	return true;
}

/* The reply of this connection is there. */
static bool answered(struct connection *c, const struct target *t, uint32_t events)
{
	if ((events & EPOLLOUT) && c->unsent > 0 && !request(c, t))
		die("request");
	return (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && c->awaited > 0 && reply(c, t);
}

/* Waits for the reply that is still owed: a byte that was lost must not be hidden by the end of the run. */
static void take_last_reply(struct connection *c, const struct target *t)
{
	struct pollfd wait = {.fd = c->fd, .events = POLLIN};
	while (c->awaited > 0 && !reply(c, t)) {
		wait.events = c->unsent > 0 ? POLLIN | POLLOUT : POLLIN;
		if (poll(&wait, 1, LAST_REPLY_MS) <= 0)
			die("the last reply did not come");
		if (!request(c, t))
			die("request");
	}
}

/* A few at a time, so that no proxy has to open thousands of connections at once. */
static void request_on_each(const struct target *t)
{
	for (int from = 0; from < t->connections; from += FIRST_AT_ONCE) {
		int rest = t->connections - from, count = rest < FIRST_AT_ONCE ? rest : FIRST_AT_ONCE;
		for (int i = from; i < from + count; i++)
			begin_request(&connections[i], t, now_ns());
		for (int i = from; i < from + count; i++)
			take_last_reply(&connections[i], t);
	}
}

/* Closed loop: each connection sends its next request when the reply has come. For capacity
 * and CPU per request. */
int run_requests(const struct target *t)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct window w = open_all(t, epoll, OP_REPLY);
	uint64_t requests = 0, now;
	bool warmed = false;
	for (int i = 0; i < t->connections; i++)
		begin_request(&connections[i], t, now_ns());
	while ((now = now_ns()) < w.end) {
		if (!warmed && now >= w.warm) {
			warmed = true;
			watch_begin();
		}
		struct epoll_event events[512];
		int count = epoll_wait(epoll, events, 512, 100);
		for (int i = 0; i < count; i++) {
			struct connection *c = &connections[events[i].data.u32];
			if (!answered(c, t, events[i].events))
				continue;
			now = now_ns();
			if (now >= w.warm && now < w.end) {
				histogram_add(&latency, now - c->begun_ns);
				requests++;
			}
			begin_request(c, t, now);
		}
	}
	watch_end();
	for (int i = 0; i < t->connections; i++)
		take_last_reply(&connections[i], t);
	print_latency("rr", requests, t->seconds, 0, NULL);
	return requests == 0;
}

/* Open loop: requests leave at their intended times whatever the replies do; latency counts from the intended
 * time, so that a stall shows in every request it delayed (no coordinated omission). The connections take
 * turns; over HTTP each has made a request before. A connection that is still busy when its turn comes sends
 * late, and the lateness counts. */
int run_paced(const struct target *t)
{
	/* Of each connection: when its next request is due, and whether it waits for a reply. */
	static uint64_t due[MAX_CONNECTIONS];
	static bool busy[MAX_CONNECTIONS];
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	/* The default slack of 50 µs would be part of every figure. */
	prctl(PR_SET_TIMERSLACK, 1UL);
	struct window w = open_all(t, epoll, OP_REPLY);
	if (t->http) {
		request_on_each(t);
		w = window_from_now(t);
	}
	double gap = 1e9 * t->connections / t->rate;
	uint64_t requests = 0, late = 0, now, turn = 0;
	bool warmed = false;
	for (int i = 0; i < t->connections; i++)
		due[i] = w.begin + (uint64_t)(gap * i / t->connections);
	while ((now = now_ns()) < w.end) {
		if (!warmed && now >= w.warm) {
			warmed = true;
			watch_begin();
		}
		uint64_t next;
		while ((next = w.begin + (uint64_t)(gap * (double)turn / t->connections)) <= now) {
			int i = (int)(turn++ % (uint64_t)t->connections);
			if (busy[i] || due[i] > now)
				continue;
			busy[i] = true;
			begin_request(&connections[i], t, due[i]);
			due[i] += (uint64_t)gap;
		}
		now = now_ns();
		next = next < w.end ? next : w.end;
		uint64_t pause = next > now ? next - now : 0;
		struct timespec wait = {.tv_sec = (time_t)(pause / 1000000000u),
					.tv_nsec = (long)(pause % 1000000000u)};
		struct epoll_event events[512];
		int count = epoll_pwait2(epoll, events, 512, &wait, NULL);
		for (int i = 0; i < count; i++) {
			uint32_t index = events[i].data.u32;
			struct connection *c = &connections[index];
			if (!answered(c, t, events[i].events))
				continue;
			now = now_ns();
			if (now >= w.warm) {
				histogram_add(&latency, now - c->begun_ns);
				requests++;
			}
			/* Its turn has come and gone while it waited. */
			busy[index] = due[index] <= now && now < w.end;
			if (!busy[index])
				continue;
			begin_request(c, t, due[index]);
			due[index] += (uint64_t)gap;
		}
	}
	/* Stalled from the beginning on. */
	if (!warmed)
		watch_begin();
	watch_end();
	/* Requests in flight end in their own time; those that could not even leave count with
	 * what they have waited. */
	for (int i = 0; i < t->connections; i++) {
		if (busy[i]) {
			take_last_reply(&connections[i], t);
			histogram_add(&latency, now_ns() - connections[i].begun_ns);
			late++;
		}
		for (now = now_ns(); due[i] < w.end; due[i] += (uint64_t)gap) {
			histogram_add(&latency, now - due[i]);
			late++;
		}
	}
	print_latency("paced", requests + late, t->seconds, 0, NULL);
	return requests + late == 0;
}

/* Opens all connections, makes one request on each, then holds them until stdin ends. */
int run_idle(const struct target *t)
{
	open_all(t, -1, OP_REPLY);
	request_on_each(t);
	printf("ready\n");
	fflush(stdout);
	while (read(0, buffer, sizeof(buffer)) > 0)
		;
	uint64_t errors = 0;
	for (int i = 0; i < t->connections; i++) {
		struct pollfd gone = {.fd = connections[i].fd, .events = POLLIN | POLLRDHUP};
		if (poll(&gone, 1, 0) != 0)
			errors++;
	}
	printf("{\"mode\":\"idle\",\"connections\":%d,\"errors\":%llu}\n", t->connections,
	       (unsigned long long)errors);
	return errors != 0;
}
