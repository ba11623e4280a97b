/* The near end: bulk, closed-loop requests, open-loop requests, connection churn, bare connects, idle
 * connections. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

#define MAX_CONNECTIONS 20000

struct connection {
	int fd;
	uint64_t sent;
	uint32_t awaited;  /* reply bytes still to come */
	uint32_t unsent;   /* request bytes still to go */
	uint64_t begun_ns; /* when this request was (or should have been) sent */
	bool header_sent;
};

static struct connection connections[MAX_CONNECTIONS];
static unsigned char buffer[READ_BYTES];
static struct histogram latency;

static void header(unsigned char *to, char op, int size)
{
	to[0] = (unsigned char)op;
	to[1] = (unsigned char)(size >> 24);
	to[2] = (unsigned char)(size >> 16);
	to[3] = (unsigned char)(size >> 8);
	to[4] = (unsigned char)size;
}

static uint64_t get64(const unsigned char *from)
{
	uint64_t value = 0;
	for (int i = 0; i < 8; i++)
		value = value << 8 | from[i];
	return value;
}

static void open_all(const struct target *t, int epoll, char op)
{
	unsigned char head[HEADER_BYTES];
	header(head, op, t->size);
	for (int i = 0; i < t->connections; i++) {
		int fd = dial(t, false);
		if (fd < 0)
			die("connect");
		if (send(fd, head, sizeof(head), MSG_NOSIGNAL) != sizeof(head))
			die("send header");
		connections[i] = (struct connection){.fd = fd, .header_sent = true};
		struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u32 = (uint32_t)i};
		if (epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
			die("epoll_ctl");
	}
}

/* Sends the pattern on every stream for the time given, then asks each sink what it got. */
int run_bulk(const struct target *t)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	open_all(t, epoll, OP_SINK);
	uint64_t begin = now_ns(), measured = 0, at_warmup = 0;
	uint64_t warm = begin + (uint64_t)(t->warmup * 1e9), end = warm + (uint64_t)(t->seconds * 1e9);
	uint64_t total = 0, now = begin;
	bool warmed = t->warmup == 0;
	measured = begin;
	while ((now = now_ns()) < end) {
		struct epoll_event events[128];
		int count = epoll_wait(epoll, events, 128, 100);
		for (int i = 0; i < count; i++) {
			struct connection *c = &connections[events[i].data.u32];
			/* A bounded turn per stream, so that one fast stream does not starve the others. */
			for (int turn = 0; turn < 8; turn++) {
				ssize_t sent = send(c->fd, pattern + c->sent % PATTERN_BYTES, READ_BYTES,
						    MSG_NOSIGNAL | MSG_DONTWAIT);
				if (sent < 0) {
					if (errno != EAGAIN)
						die("send");
					break;
				}
				c->sent += (uint64_t)sent;
				total += (uint64_t)sent;
				if (turn == 7) {
					/* Edge-triggered: ask to be told again. */
					struct epoll_event again = {.events = EPOLLIN | EPOLLOUT | EPOLLET,
								    .data.u32 = events[i].data.u32};
					epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &again);
				}
			}
		}
		if (!warmed && now >= warm) {
			warmed = true;
			measured = now;
			at_warmup = total;
		}
	}
	double seconds = (double)(now_ns() - measured) / 1e9;
	uint64_t errors = 0, confirmed = 0;
	for (int i = 0; i < t->connections; i++)
		shutdown(connections[i].fd, SHUT_WR);
	for (int i = 0; i < t->connections; i++) {
		unsigned char answer[16];
		size_t have = 0;
		struct pollfd wait = {.fd = connections[i].fd, .events = POLLIN};
		while (have < sizeof(answer)) {
			if (poll(&wait, 1, 20000) <= 0)
				break;
			ssize_t got = recv(connections[i].fd, answer + have, sizeof(answer) - have, 0);
			if (got <= 0)
				break;
			have += (size_t)got;
		}
		if (have != sizeof(answer) || get64(answer) != connections[i].sent || get64(answer + 8) != 0)
			errors++;
		else
			confirmed += get64(answer);
		close(connections[i].fd);
	}
	printf("{\"mode\":\"bulk\",\"bytes\":%llu,\"confirmed\":%llu,\"seconds\":%.6f,\"gbps\":%.4f,"
	       "\"errors\":%llu}\n",
	       (unsigned long long)(total - at_warmup), (unsigned long long)confirmed, seconds,
	       (double)(total - at_warmup) * 8 / seconds / 1e9, (unsigned long long)errors);
	return errors ? 1 : 0;
}

static bool request(struct connection *c, const struct target *t)
{
	while (c->unsent > 0) {
		ssize_t sent =
		    send(c->fd, pattern + (t->size - (int)c->unsent), c->unsent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0)
			return errno == EAGAIN;
		c->unsent -= (uint32_t)sent;
	}
	return true;
}

static void begin_request(struct connection *c, const struct target *t, uint64_t at)
{
	c->begun_ns = at;
	c->unsent = (uint32_t)t->size;
	c->awaited = (uint32_t)t->size;
	if (!request(c, t))
		die("request");
}

/* True when a whole reply arrived. */
static bool reply(struct connection *c, const struct target *t)
{
	while (c->awaited > 0) {
		ssize_t got =
		    recv(c->fd, buffer, c->awaited < READ_BYTES ? c->awaited : READ_BYTES, MSG_DONTWAIT);
		if (got == 0 || (got < 0 && errno != EAGAIN))
			die("reply");
		if (got < 0)
			return false;
		if (!pattern_holds(buffer, (size_t)got, (uint64_t)(t->size - (int)c->awaited)))
			die("reply differs");
		c->awaited -= (uint32_t)got;
	}
	return true;
}

static void print_latency(const char *mode, uint64_t requests, double seconds, uint64_t errors)
{
	printf("{\"mode\":\"%s\",\"requests\":%llu,\"seconds\":%.6f,\"rate\":%.2f,\"p50_us\":%.2f,\"p90_us\":"
	       "%.2f,"
	       "\"p99_us\":%.2f,\"p999_us\":%.2f,\"errors\":%llu}\n",
	       mode, (unsigned long long)requests, seconds, (double)requests / seconds,
	       histogram_us(&latency, 0.5), histogram_us(&latency, 0.9), histogram_us(&latency, 0.99),
	       histogram_us(&latency, 0.999), (unsigned long long)errors);
}

/* Closed loop: each connection sends its next request when the reply has come. For capacity and CPU per
 * request. */
int run_requests(const struct target *t)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	open_all(t, epoll, OP_REPLY);
	uint64_t begin = now_ns(), warm = begin + (uint64_t)(t->warmup * 1e9);
	uint64_t end = warm + (uint64_t)(t->seconds * 1e9), requests = 0, now = begin;
	for (int i = 0; i < t->connections; i++)
		begin_request(&connections[i], t, now_ns());
	while (now < end) {
		struct epoll_event events[512];
		int count = epoll_wait(epoll, events, 512, 1000);
		for (int i = 0; i < count; i++) {
			struct connection *c = &connections[events[i].data.u32];
			if ((events[i].events & EPOLLOUT) && !request(c, t))
				die("request");
			if (!(events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || !reply(c, t))
				continue;
			now = now_ns();
			if (now >= warm && now < end) {
				histogram_add(&latency, now - c->begun_ns);
				requests++;
			}
			begin_request(c, t, now);
		}
		now = now_ns();
	}
	print_latency("rr", requests, t->seconds, 0);
	return 0;
}

/* Open loop: requests leave at their intended times whatever the replies do; latency counts from the intended
 * time, so that a stall shows in every request it delayed (no coordinated omission). A connection that is
 * still busy when its turn comes sends late, and the lateness counts. */
int run_paced(const struct target *t)
{
	static uint64_t due[MAX_CONNECTIONS];
	static bool busy[MAX_CONNECTIONS];
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	open_all(t, epoll, OP_REPLY);
	double gap = 1e9 * t->connections / t->rate;
	uint64_t begin = now_ns() + 10000000, warm = begin + (uint64_t)(t->warmup * 1e9);
	uint64_t end = warm + (uint64_t)(t->seconds * 1e9), requests = 0;
	for (int i = 0; i < t->connections; i++)
		due[i] = begin + (uint64_t)(gap * i / t->connections);
	for (;;) {
		uint64_t now = now_ns(), next = UINT64_MAX;
		if (now >= end)
			break;
		for (int i = 0; i < t->connections; i++) {
			if (!busy[i] && due[i] <= now) {
				busy[i] = true;
				begin_request(&connections[i], t, due[i]);
				due[i] += (uint64_t)gap;
			}
			if (!busy[i] && due[i] < next)
				next = due[i];
		}
		struct epoll_event events[512];
		int wait_ms = next > now + 1000000 ? (int)((next - now) / 1000000) : 0;
		int count = epoll_wait(epoll, events, 512, wait_ms > 100 ? 100 : wait_ms);
		for (int i = 0; i < count; i++) {
			uint32_t index = events[i].data.u32;
			struct connection *c = &connections[index];
			if ((events[i].events & EPOLLOUT) && c->unsent > 0 && !request(c, t))
				die("request");
			if (!busy[index] || !(events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) ||
			    !reply(c, t))
				continue;
			busy[index] = false;
			now = now_ns();
			if (now >= warm) {
				histogram_add(&latency, now - c->begun_ns);
				requests++;
			}
		}
	}
	print_latency("paced", requests, t->seconds, 0);
	return 0;
}

/* Connect, one byte there and back, close; `connections` of them at a time. */
int run_churn(const struct target *t)
{
	struct target one = *t;
	one.size = 1;
	unsigned char hello[HEADER_BYTES + 1];
	header(hello, OP_REPLY, 1);
	hello[HEADER_BYTES] = pattern[0];
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	uint64_t begin = now_ns(), warm = begin + (uint64_t)(t->warmup * 1e9);
	uint64_t end = warm + (uint64_t)(t->seconds * 1e9), done = 0, errors = 0, now = begin;
	struct linger reset = {.l_onoff = 1, .l_linger = 0};
	for (int i = 0; i < t->connections; i++)
		connections[i].fd = -1;
	while (now < end) {
		for (int i = 0; i < t->connections; i++) {
			struct connection *c = &connections[i];
			if (c->fd >= 0)
				continue;
			c->begun_ns = now_ns();
			c->fd = dial(&one, true);
			if (c->fd < 0) {
				errors++;
				continue;
			}
			c->header_sent = false;
			struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET,
						    .data.u32 = (uint32_t)i};
			epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
		}
		struct epoll_event events[512];
		int count = epoll_wait(epoll, events, 512, 1000);
		for (int i = 0; i < count; i++) {
			struct connection *c = &connections[events[i].data.u32];
			bool over = false;
			if (!c->header_sent && (events[i].events & EPOLLOUT)) {
				c->header_sent = true;
				if (send(c->fd, hello, sizeof(hello), MSG_NOSIGNAL) != sizeof(hello)) {
					errors++;
					over = true;
				}
			}
			if (!over && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
				ssize_t got = recv(c->fd, buffer, 16, MSG_DONTWAIT);
				if (got == 1 && buffer[0] == pattern[0]) {
					now = now_ns();
					if (now >= warm && now < end) {
						histogram_add(&latency, now - c->begun_ns);
						done++;
					}
					over = true;
				} else if (got >= 0 || errno != EAGAIN) {
					errors++;
					over = true;
				}
			}
			if (over) {
				/* RST instead of FIN: no TIME_WAIT, so that ports last as long as the run. */
				setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
				close(c->fd);
				c->fd = -1;
			}
		}
		now = now_ns();
	}
	print_latency("churn", done, t->seconds, errors);
	return done == 0;
}

/* connect() alone, one after the other: the time until it returns. */
int run_connect(const struct target *t)
{
	struct linger reset = {.l_onoff = 1, .l_linger = 0};
	uint64_t begin = now_ns(), warm = begin + (uint64_t)(t->warmup * 1e9);
	uint64_t end = warm + (uint64_t)(t->seconds * 1e9), now = begin, done = 0, errors = 0;
	while (now < end) {
		uint64_t start = now_ns();
		int fd = dial(t, false);
		now = now_ns();
		if (fd < 0) {
			errors++;
			continue;
		}
		if (now >= warm) {
			histogram_add(&latency, now - start);
			done++;
		}
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		close(fd);
	}
	print_latency("connect", done, t->seconds, errors);
	return done == 0;
}

/* Opens all connections, makes one request on each, then holds them until stdin ends. */
int run_idle(const struct target *t)
{
	open_all(t, -1, OP_REPLY);
	for (int i = 0; i < t->connections; i++)
		begin_request(&connections[i], t, now_ns());
	for (int i = 0; i < t->connections; i++) {
		struct pollfd wait = {.fd = connections[i].fd, .events = POLLIN};
		while (!reply(&connections[i], t))
			if (poll(&wait, 1, 10000) <= 0)
				die("idle connection has no reply");
	}
	printf("ready\n");
	fflush(stdout);
	while (read(0, buffer, sizeof(buffer)) > 0)
		;
	printf("{\"mode\":\"idle\",\"connections\":%d,\"errors\":0}\n", t->connections);
	return 0;
}
