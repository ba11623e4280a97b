/* Opening connections, directly or through a proxy that wants to be asked by HTTP/1.1 CONNECT. */
#define _GNU_SOURCE
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

int connect_request(const struct target *t, char *to, size_t room)
{
	return snprintf(to, room, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", t->connect_to, t->connect_to);
}

/* Reads byte by byte: what follows the head belongs to the tunnel. */
static bool ask_for_tunnel(int fd, const struct target *t)
{
	char text[1024];
	int length = connect_request(t, text, sizeof(text));
	if (send(fd, text, (size_t)length, MSG_NOSIGNAL) != length)
		return false;
	size_t have = 0;
	while (have < 4 || memcmp(text + have - 4, "\r\n\r\n", 4) != 0) {
		if (have == sizeof(text) || recv(fd, text + have, 1, 0) != 1)
			return false;
		have++;
	}
	errno = EPROTO;
	return have > 12 && memcmp(text + 8, " 200", 4) == 0;
}

int dial(const struct target *t, bool nonblocking)
{
	static struct addrinfo *address;
	if (!address) {
		struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
					 .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
		if (getaddrinfo(t->host, t->port, &hints, &address) != 0)
			die("address");
	}
	int one = 1;
	int fd =
	    socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0);
	if (fd < 0)
		die("socket");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	bool connected = connect(fd, address->ai_addr, address->ai_addrlen) == 0;
	if (!connected && !(nonblocking && errno == EINPROGRESS)) {
		close(fd);
		return -1;
	}
	if (!nonblocking && t->connect_to && !ask_for_tunnel(fd, t)) {
		close(fd);
		return -1;
	}
	return fd;
}

void drop(int fd)
{
	struct linger reset = {.l_onoff = 1, .l_linger = 0};
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(fd);
}

void header(unsigned char *to, char op, int size, const struct window *w)
{
	to[0] = (unsigned char)op;
	to[1] = (unsigned char)(size >> 24);
	to[2] = (unsigned char)(size >> 16);
	to[3] = (unsigned char)(size >> 8);
	to[4] = (unsigned char)size;
	put64(to + 5, w->warm);
	put64(to + 13, w->end);
}

struct window open_all(const struct target *t, int epoll, char op)
{
	unsigned char head[HEADER_BYTES];
	for (int i = 0; i < t->connections; i++) {
		connections[i] = (struct connection){.fd = dial(t, false)};
		if (connections[i].fd < 0)
			die("connect");
	}
	struct window w = window_from_now(t);
	header(head, op, t->size, &w);
	for (int i = 0; i < t->connections; i++) {
		int fd = connections[i].fd;
		if (!t->http && send(fd, head, sizeof(head), MSG_NOSIGNAL) != sizeof(head))
			die("send header");
		struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u32 = (uint32_t)i};
		if (epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
			die("epoll_ctl");
	}
	return w;
}
