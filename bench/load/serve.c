/* The far end: one epoll loop that sinks and compares, or answers. Ends on SIGTERM. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

#define MAX_FDS 20000

struct peer {
	unsigned char header[HEADER_BYTES];
	unsigned have;
	uint32_t size;
	uint64_t received;
	uint64_t errors;
	uint32_t pending; /* bytes of the current request still to come */
	uint64_t unsent;  /* reply bytes owed */
};

static struct peer peers[MAX_FDS];
static unsigned char buffer[READ_BYTES];

static void put64(unsigned char *to, uint64_t value)
{
	for (int i = 7; i >= 0; i--, value >>= 8)
		to[i] = (unsigned char)value;
}

static bool flush_replies(int fd, struct peer *p)
{
	while (p->unsent > 0) {
		size_t length = p->unsent < PATTERN_BYTES ? (size_t)p->unsent : PATTERN_BYTES;
		ssize_t sent = send(fd, pattern, length, MSG_NOSIGNAL);
		if (sent < 0)
			return errno == EAGAIN;
		p->unsent -= (uint64_t)sent;
	}
	return true;
}

static bool finish(int fd, struct peer *p)
{
	unsigned char total[16];
	if (p->have < HEADER_BYTES || p->header[0] != OP_SINK)
		return false;
	put64(total, p->received);
	put64(total + 8, p->errors);
	return send(fd, total, sizeof(total), MSG_NOSIGNAL) != sizeof(total);
}

/* False: the connection is over. */
static bool readable(int fd, struct peer *p)
{
	for (;;) {
		ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
		if (got < 0)
			return errno == EAGAIN;
		if (got == 0) {
			finish(fd, p);
			return false;
		}
		unsigned char *data = buffer;
		size_t length = (size_t)got;
		while (p->have < HEADER_BYTES && length > 0) {
			p->header[p->have++] = *data++;
			length--;
			if (p->have == HEADER_BYTES) {
				p->size = (uint32_t)p->header[1] << 24 | (uint32_t)p->header[2] << 16 |
					  (uint32_t)p->header[3] << 8 | p->header[4];
				p->pending = p->size;
			}
		}
		if (length == 0)
			continue;
		if (p->header[0] == OP_SINK) {
			if (!pattern_holds(data, length, p->received))
				p->errors++;
			p->received += length;
		} else {
			for (; length >= p->pending; p->pending = p->size) {
				length -= p->pending;
				p->unsent += p->size;
			}
			p->pending -= (uint32_t)length;
			if (!flush_replies(fd, p))
				return false;
		}
		/* On to EAGAIN even after a short read: a FIN that came with the data raises no second edge.
		 */
	}
}

int serve(const char *host, const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
	struct addrinfo *address;
	int one = 1;
	if (getaddrinfo(host, port, &hints, &address) != 0)
		die("address");
	int listener = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, address->ai_addr, address->ai_addrlen) != 0 || listen(listener, 4096) != 0)
		die("listen");
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		struct epoll_event events[256];
		int count = epoll_wait(epoll, events, 256, -1);
		for (int i = 0; i < count; i++) {
			int fd = events[i].data.fd;
			if (fd == listener) {
				int accepted;
				while ((accepted = accept4(listener, NULL, NULL,
							   SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
					if (accepted >= MAX_FDS) {
						close(accepted);
						continue;
					}
					setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
					memset(&peers[accepted], 0, sizeof(peers[0]));
					struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET,
								.data.fd = accepted};
					epoll_ctl(epoll, EPOLL_CTL_ADD, accepted, &e);
				}
				continue;
			}
			struct peer *p = &peers[fd];
			bool alive = true;
			if (events[i].events & EPOLLOUT)
				alive = flush_replies(fd, p);
			if (alive && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
				alive = readable(fd, p);
			if (!alive)
				close(fd);
		}
	}
}
