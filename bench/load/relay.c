/* relay HOST PORT TO_HOST TO_PORT: copies bytes both ways between the connections it accepts and those it
 * opens. One thread, one buffer of 256 KB: what a proxy costs that neither encrypts nor decides. Passes on
 * FIN and RST. With RELAY_IS_A_PART it is a part of seal.c. */
#define _GNU_SOURCE
#include "relay.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_BYTES (256 * 1024)
/* A connection gives way after this much, so that a busy one does not starve the others. */
#define READS_PER_TURN 4

struct end {
	int fd;
	struct end *peer;
	/* Read from the peer, not yet written here; NULL: nothing. */
	unsigned char *held;
	size_t held_from, held_to;
	bool connecting, read_over, dead;
	uint32_t interest;
	struct end *next_dead;
};

static unsigned char buffer[BUFFER_BYTES];
static int epoll;
static struct end *dead_list;
static struct addrinfo *upstream;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void watch(struct end *e)
{
	uint32_t want =
	    (e->read_over || e->peer->held || e->connecting || e->peer->connecting ? 0 : EPOLLIN) |
	    (e->held || e->connecting ? EPOLLOUT : 0);
	if (want == e->interest || e->dead)
		return;
	e->interest = want;
	struct epoll_event event = {.events = want, .data.ptr = e};
	epoll_ctl(epoll, EPOLL_CTL_MOD, e->fd, &event);
}

/* Closed at once, freed after the batch: another event of it may still be waiting there. */
static void end_pair(struct end *e, bool reset)
{
	struct linger abort = {.l_onoff = 1, .l_linger = 0};
	for (int i = 0; i < 2; i++, e = e->peer) {
		if (e->dead)
			continue;
		if (reset)
			setsockopt(e->fd, SOL_SOCKET, SO_LINGER, &abort, sizeof(abort));
		close(e->fd);
		free(e->held);
		e->held = NULL;
		e->dead = true;
		e->next_dead = dead_list;
		dead_list = e;
	}
}

/* Sends on what `from` has to say; false: the pair has ended. */
static bool pass_on(struct end *from)
{
	struct end *to = from->peer;
	for (int turn = 0; turn < READS_PER_TURN; turn++) {
		ssize_t got = recv(from->fd, buffer, sizeof(buffer), 0);
		if (got < 0 && errno == EAGAIN)
			return true;
		if (got < 0) {
			end_pair(from, true);
			return false;
		}
		if (got == 0) {
			from->read_over = true;
			shutdown(to->fd, SHUT_WR);
			if (to->read_over) {
				end_pair(from, false);
				return false;
			}
			return true;
		}
		pass(buffer, (size_t)got);
		ssize_t sent = send(to->fd, buffer, (size_t)got, MSG_NOSIGNAL);
		if (sent < 0 && errno != EAGAIN) {
			end_pair(from, true);
			return false;
		}
		if (sent < 0)
			sent = 0;
		if (sent < got) {
			to->held = malloc((size_t)(got - sent));
			if (!to->held)
				fail("malloc");
			memcpy(to->held, buffer + sent, (size_t)(got - sent));
			to->held_from = 0;
			to->held_to = (size_t)(got - sent);
			return true;
		}
		if ((size_t)got < sizeof(buffer) / 2)
			return true;
	}
	return true;
}

static bool write_held(struct end *e)
{
	while (e->held) {
		ssize_t sent = send(e->fd, e->held + e->held_from, e->held_to - e->held_from, MSG_NOSIGNAL);
		if (sent < 0 && errno == EAGAIN)
			return true;
		if (sent < 0) {
			end_pair(e, true);
			return false;
		}
		e->held_from += (size_t)sent;
		if (e->held_from == e->held_to) {
			free(e->held);
			e->held = NULL;
		}
	}
	return true;
}

static struct end *add(int fd, bool connecting)
{
	int one = 1;
	struct end *e = calloc(1, sizeof(*e));
	if (!e)
		fail("calloc");
	e->fd = fd;
	e->connecting = connecting;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	struct epoll_event event = {.events = 0, .data.ptr = e};
	epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
	return e;
}

static void take(int fd)
{
	int out = socket(upstream->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (out < 0)
		fail("socket");
	bool waits = connect(out, upstream->ai_addr, upstream->ai_addrlen) != 0;
	if (waits && errno != EINPROGRESS) {
		close(out);
		close(fd);
		return;
	}
	struct end *near = add(fd, false), *far = add(out, waits);
	near->peer = far;
	far->peer = near;
	watch(near);
	watch(far);
}

static void event_at(struct end *e, uint32_t events)
{
	struct end *peer = e->peer;
	if (e->connecting && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) {
		int error = 0;
		socklen_t length = sizeof(error);
		getsockopt(e->fd, SOL_SOCKET, SO_ERROR, &error, &length);
		if (error) {
			end_pair(e, true);
			return;
		}
		e->connecting = false;
	} else {
		if ((events & EPOLLOUT) && !write_held(e))
			return;
		if ((events & EPOLLIN) && !peer->held && !pass_on(e))
			return;
		if ((events & (EPOLLERR | EPOLLHUP)) && !(events & EPOLLIN) && !e->held) {
			end_pair(e, (events & EPOLLERR) != 0);
			return;
		}
	}
	watch(e);
	watch(peer);
}

int relay(int argc, char **argv)
{
	if (argc != 5) {
		fprintf(stderr, "usage: relay HOST PORT TO_HOST TO_PORT\n");
		return 64;
	}
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV},
			*own;
	if (getaddrinfo(argv[1], argv[2], &hints, &own) != 0 ||
	    getaddrinfo(argv[3], argv[4], &hints, &upstream) != 0)
		fail("address");
	int one = 1, listener = socket(own->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, own->ai_addr, own->ai_addrlen) != 0 || listen(listener, 4096) != 0)
		fail("listen");
	epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
	/* In one piece, also where the standard output has no buffer. */
	fputs("ready\n", stdout);
	fflush(stdout);
	for (;;) {
		struct epoll_event events[256];
		int count = epoll_wait(epoll, events, 256, -1);
		for (int i = 0; i < count; i++) {
			struct end *e = events[i].data.ptr;
			if (e && !e->dead) {
				event_at(e, events[i].events);
			} else if (!e) {
				for (int fd;
				     (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;)
					take(fd);
			}
		}
		while (dead_list) {
			struct end *gone = dead_list;
			dead_list = gone->next_dead;
			free(gone);
		}
	}
}

#ifndef RELAY_IS_A_PART
void pass(const unsigned char *bytes, size_t length)
{
	(void)bytes;
	(void)length;
}

int main(int argc, char **argv)
{
	return relay(argc, argv);
}
#endif
