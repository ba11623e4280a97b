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
	uint32_t pending;   /* bytes of the current request still to come */
	uint64_t unsent;    /* reply bytes owed */
	uint64_t in_window; /* sink: bytes that came in the measured window */
	uint64_t warm, end; /* the window */
	unsigned matched;   /* of a CONNECT head: how much of its end has come */
	bool stalls;	    /* reads nothing until the window has ended */
	bool http;	    /* what comes are requests of HTTP/1.1 */
	uint32_t
	    line; /* HTTP: bytes of the request's first line that have come, of which the method counts */
	uint32_t lines; /* HTTP: line ends of the head that have come */
};

static struct peer peers[MAX_FDS];
static int stalling;
#define RESUME_MS 20

static bool flush_replies(int fd, struct peer *p)
{
	while (p->unsent > 0) {
		uint32_t size = p->size;
		const unsigned char *reply = p->http ? http_answer(&size) : pattern;
		/* The last of the replies owed may have been sent in part. */
		size_t left = (size_t)((p->unsent - 1) % size + 1);
		ssize_t sent = send(fd, reply + (size - left), left, MSG_NOSIGNAL);
		if (sent < 0)
			return errno == EAGAIN;
		p->unsent -= (uint64_t)sent;
	}
	return true;
}

static void tell(int fd, const struct peer *p)
{
	unsigned char answer[SINK_ANSWER_BYTES];
	if (p->have < HEADER_BYTES || p->header[0] == OP_REPLY || now_ns() < p->end)
		return;
	put64(answer, p->received);
	put64(answer + 8, p->errors);
	put64(answer + 16, p->in_window);
	/* A peer that does not get the answer reports the run as failed. */
	(void)!send(fd, answer, sizeof(answer), MSG_NOSIGNAL);
}

/* Takes one byte of what comes before the data: perhaps a CONNECT head, then the header. */
static bool take_header(int fd, struct peer *p, unsigned char byte)
{
	static const char end[] = "\r\n\r\n";
	if (p->have == 0 && (p->header[0] == 'C' || byte == 'C')) {
		p->header[0] = 'C';
		p->matched = byte == (unsigned char)end[p->matched] ? p->matched + 1 : byte == '\r';
		if (p->matched < 4)
			return true;
		p->header[0] = 0;
		return send(fd, CONNECT_OK, sizeof(CONNECT_OK) - 1, MSG_NOSIGNAL) == sizeof(CONNECT_OK) - 1;
	}
	p->header[p->have++] = byte;
	if (p->have == HEADER_BYTES) {
		p->size = (uint32_t)p->header[1] << 24 | (uint32_t)p->header[2] << 16 |
			  (uint32_t)p->header[3] << 8 | p->header[4];
		p->pending = p->size;
		p->warm = get64(p->header + 5);
		p->end = get64(p->header + 13);
		p->stalls = p->header[0] == OP_STALL;
		stalling += p->stalls;
		return p->size > 0 && p->size <= PATTERN_BYTES;
	}
	return true;
}

static void sink(struct peer *p, const unsigned char *data, size_t length)
{
	uint64_t now = now_ns();
	if (!pattern_holds(data, length, p->received))
		p->errors++;
	if (now >= p->warm && now < p->end)
		p->in_window += length;
	p->received += length;
}

/* False: these are not the bytes of requests. */
static bool take_requests(struct peer *p, const unsigned char *data, size_t length)
{
	while (length > 0) {
		size_t part = length < p->pending ? length : p->pending;
		if (!pattern_holds(data, part, p->size - p->pending))
			return false;
		data += part;
		length -= part;
		p->pending -= (uint32_t)part;
		if (p->pending == 0) {
			p->pending = p->size;
			p->unsent += p->size;
		}
	}
	return true;
}

/* False: these are no requests of HTTP/1.1 as the load generator writes them. */
static bool take_http(struct peer *p, const unsigned char *data, size_t length)
{
	static const char method[] = "GET ", end[] = "\r\n\r\n";
	uint32_t answer;
	http_answer(&answer);
	for (size_t i = 0; i < length; i++) {
		unsigned char byte = data[i];
		if (p->line < sizeof(method) - 1 && byte != (unsigned char)method[p->line++])
			return false;
		p->lines += byte == '\n';
		p->matched = byte == (unsigned char)end[p->matched] ? p->matched + 1 : byte == '\r';
		if (p->matched < sizeof(end) - 1)
			continue;
		/* The request line and the empty one are no fields. */
		if (p->lines < HTTP_FIELDS + 2)
			return false;
		p->line = p->lines = p->matched = 0;
		p->unsent += answer;
	}
	return true;
}

/* False: the connection is over. */
static bool readable(int fd, struct peer *p)
{
	while (!p->stalls) {
		ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
		if (got < 0 && errno == EAGAIN) {
			tell(fd, p);
			return true;
		}
		if (got <= 0)
			return false;
		unsigned char *data = buffer;
		size_t length = (size_t)got;
		p->http |= p->have == 0 && p->header[0] == 0 && *data == 'G';
		if (p->http) {
			if (!take_http(p, data, length) || !flush_replies(fd, p))
				return false;
			continue;
		}
		for (; p->have < HEADER_BYTES && length > 0; data++, length--)
			if (!take_header(fd, p, *data))
				return false;
		if (p->header[0] != OP_REPLY)
			sink(p, data, length);
		else if (!take_requests(p, data, length) || !flush_replies(fd, p))
			return false;
		/* On to EAGAIN even after a short read: a FIN that came with the data raises no second edge.
		 */
	}
	return true;
}

static void end(int fd)
{
	stalling -= peers[fd].stalls;
	peers[fd].stalls = false;
	close(fd);
}

static void resume_stalled(void)
{
	uint64_t now = now_ns();
	for (int fd = 0; fd < MAX_FDS && stalling > 0; fd++) {
		if (!peers[fd].stalls || now < peers[fd].end)
			continue;
		peers[fd].stalls = false;
		stalling--;
		if (!readable(fd, &peers[fd]))
			end(fd);
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
		int count = epoll_wait(epoll, events, 256, stalling > 0 ? RESUME_MS : -1);
		if (stalling > 0)
			resume_stalled();
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
			if ((events[i].events & EPOLLOUT) && (p->have == HEADER_BYTES || p->http))
				alive = flush_replies(fd, p);
			if (alive && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
				alive = readable(fd, p);
			if (!alive)
				end(fd);
		}
	}
}
