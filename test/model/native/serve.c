/* test model · the application of a pod: echoes every line, on IPv4 and IPv6.
 *   serve PORT[m]...          `m`: the listener speaks MPTCP, too
 * Prints:
 *   listening PORT            once both families listen; a port that is taken is tried again until it is free
 *   come LINE                 the first line of a connection, when it begins with '#'
 *   gone LINE                 that connection has ended */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_PORTS   16
#define MAX_FDS	    8192
#define MAX_LINE    128
#define RETRY_MS    20
#define PROTO_MPTCP 262

struct port {
	int number, mptcp, fd4, fd6;
};

struct peer {
	int open, named;
	size_t length;
	char line[MAX_LINE];
	char name[MAX_LINE];
};

static struct port ports[MAX_PORTS];
static struct peer peers[MAX_FDS];
static int is_listener[MAX_FDS];
static int port_count, epoll_fd;

static int listen_on(const struct port *port, int family)
{
	struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons(port->number)};
	struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons(port->number)};
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK, port->mptcp ? PROTO_MPTCP : 0), on = 1;
	int failed;

	if (fd < 0 || fd >= MAX_FDS)
		exit(3);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (family == AF_INET6) {
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
		failed = bind(fd, (struct sockaddr *)&any6, sizeof(any6));
	} else {
		failed = bind(fd, (struct sockaddr *)&any4, sizeof(any4));
	}
	if (failed || listen(fd, 4096)) {
		close(fd);
		return -1;
	}
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
	is_listener[fd] = 1;
	return fd;
}

/* How many ports are still to be had. */
static int listen_on_all(void)
{
	int missing = 0;

	for (int i = 0; i < port_count; i++) {
		struct port *port = &ports[i];

		if (port->fd4 >= 0 && port->fd6 >= 0)
			continue;
		if (port->fd4 < 0)
			port->fd4 = listen_on(port, AF_INET);
		if (port->fd6 < 0)
			port->fd6 = listen_on(port, AF_INET6);
		if (port->fd4 >= 0 && port->fd6 >= 0)
			printf("listening %d\n", port->number);
		else
			missing++;
	}
	return missing;
}

static void leave(int fd)
{
	struct peer *peer = &peers[fd];

	if (peer->named)
		printf("gone %s\n", peer->name);
	memset(peer, 0, sizeof(*peer));
	close(fd);
}

static void greet(int listener)
{
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
		struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

		if (fd < 0)
			return;
		if (fd >= MAX_FDS) {
			close(fd);
			continue;
		}
		peers[fd].open = 1;
		epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
	}
}

static void hear(int fd)
{
	struct peer *peer = &peers[fd];
	char bytes[4096];
	ssize_t got = read(fd, bytes, sizeof(bytes));

	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		leave(fd);
		return;
	}
	for (ssize_t i = 0; i < got; i++) {
		if (peer->length < MAX_LINE - 1)
			peer->line[peer->length++] = bytes[i];
		if (bytes[i] != '\n')
			continue;
		if (write(fd, peer->line, peer->length) < 0 && errno != EAGAIN) {
			leave(fd);
			return;
		}
		if (!peer->named && peer->line[0] == '#') {
			memcpy(peer->name, peer->line + 1, peer->length - 2);
			peer->named = 1;
			printf("come %s\n", peer->name);
		}
		peer->length = 0;
	}
}

int main(int argc, char **argv)
{
	struct epoll_event events[256];
	int missing;

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	epoll_fd = epoll_create1(0);
	for (int i = 1; i < argc && port_count < MAX_PORTS; i++)
		ports[port_count++] = (struct port){
		    .number = atoi(argv[i]),
		    .mptcp = strchr(argv[i], 'm') != NULL,
		    .fd4 = -1,
		    .fd6 = -1,
		};
	for (;;) {
		missing = listen_on_all();
		int count = epoll_wait(epoll_fd, events, 256, missing ? RETRY_MS : -1);

		for (int i = 0; i < count; i++) {
			int fd = events[i].data.fd;

			if (is_listener[fd])
				greet(fd);
			else if (peers[fd].open)
				hear(fd);
		}
	}
}
