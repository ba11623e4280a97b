/* test model · holds connections open, and says which of them live. Orders come on stdin, a line each:
 *   open ID KIND ADDRESS PORT     KIND: plain, mptcp, or half: all that comes back is withheld from the socket
 *   complete ID                   a half one hears again
 *   check N                       a line is sent on each connection that is up
 *   close ID
 * Prints "up ID" (a line came back), "failed ID WHY" (before that), "dead ID WHY" (after it), "echo N ID".
 * Ends with its input. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_FDS	    4096
#define MAX_LINE    128
#define PROTO_MPTCP 262

struct held {
	char id[64];
	int used, connected, up;
	size_t length;
	char line[MAX_LINE];
};

static struct held held[MAX_FDS];
static int epoll_fd;

static void end(int fd, const char *why)
{
	struct held *holding = &held[fd];

	printf("%s %s %s\n", holding->up ? "dead" : "failed", holding->id, why);
	memset(holding, 0, sizeof(*holding));
	close(fd);
}

static int find(const char *id)
{
	for (int fd = 0; fd < MAX_FDS; fd++)
		if (held[fd].used && !strcmp(held[fd].id, id))
			return fd;
	return -1;
}

static void withhold(int fd)
{
	struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog filter = {.len = 1, .filter = &nothing};

	setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter));
}

static void dial(const char *id, const char *kind, const char *address, int port)
{
	struct sockaddr_in6 to6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in to4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	int is4 = inet_pton(AF_INET, address, &to4.sin_addr) == 1;
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT};
	int fd = socket(is4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK,
			strcmp(kind, "mptcp") ? 0 : PROTO_MPTCP);

	if (fd < 0 || fd >= MAX_FDS || (!is4 && inet_pton(AF_INET6, address, &to6.sin6_addr) != 1)) {
		printf("failed %s no-socket\n", id);
		return;
	}
	memset(&held[fd], 0, sizeof(held[fd]));
	held[fd].used = 1;
	snprintf(held[fd].id, sizeof(held[fd].id), "%s", id);
	if (!strcmp(kind, "half"))
		withhold(fd);
	if (connect(fd, is4 ? (struct sockaddr *)&to4 : (struct sockaddr *)&to6, is4 ? sizeof(to4) : sizeof(to6)) &&
	    errno != EINPROGRESS) {
		end(fd, strerror(errno));
		return;
	}
	event.data.fd = fd;
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void go_on(int fd)
{
	struct held *holding = &held[fd];
	char bytes[4096];
	ssize_t got;

	if (!holding->connected) {
		struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
		char hello[MAX_LINE];
		int error = 0;
		socklen_t length = sizeof(error);

		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
		if (error) {
			end(fd, strerror(error));
			return;
		}
		holding->connected = 1;
		snprintf(hello, sizeof(hello), "#%s\n", holding->id);
		if (write(fd, hello, strlen(hello)) < 0) {
			end(fd, strerror(errno));
			return;
		}
		epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event);
	}
	got = read(fd, bytes, sizeof(bytes));
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0) {
		end(fd, got < 0 ? strerror(errno) : "ended");
		return;
	}
	for (ssize_t i = 0; i < got; i++) {
		int number;

		if (holding->length < MAX_LINE - 1)
			holding->line[holding->length++] = bytes[i];
		if (bytes[i] != '\n')
			continue;
		holding->line[holding->length] = 0;
		holding->length = 0;
		if (sscanf(holding->line, "check %d", &number) == 1)
			printf("echo %d %s\n", number, holding->id);
		else if (!holding->up)
			printf("up %s\n", holding->id);
		holding->up = 1;
	}
}

static void obey(const char *order)
{
	char id[64], kind[16], address[64], text[32];
	int number, fd;

	if (sscanf(order, "open %63s %15s %63s %d", id, kind, address, &number) == 4) {
		dial(id, kind, address, number);
	} else if (sscanf(order, "complete %63s", id) == 1) {
		fd = find(id);
		if (fd >= 0)
			setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &number, sizeof(number));
	} else if (sscanf(order, "close %63s", id) == 1) {
		fd = find(id);
		if (fd >= 0)
			end(fd, "closed");
	} else if (sscanf(order, "check %d", &number) == 1) {
		snprintf(text, sizeof(text), "check %d\n", number);
		for (fd = 0; fd < MAX_FDS; fd++)
			if (held[fd].used && held[fd].up && write(fd, text, strlen(text)) < 0 && errno != EAGAIN)
				end(fd, strerror(errno));
	}
}

/* 0: nobody gives orders any more. */
static int take_orders(void)
{
	static char text[4096];
	static size_t length;
	ssize_t got = read(0, text + length, sizeof(text) - 1 - length);
	char *newline;

	if (got == 0 || (got < 0 && errno != EAGAIN))
		return 0;
	if (got < 0)
		return 1;
	length += got;
	text[length] = 0;
	while ((newline = strchr(text, '\n'))) {
		*newline = 0;
		obey(text);
		length -= newline + 1 - text;
		memmove(text, newline + 1, length + 1);
	}
	return 1;
}

int main(void)
{
	struct epoll_event orders = {.events = EPOLLIN, .data.fd = 0};
	struct epoll_event events[256];

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	fcntl(0, F_SETFL, O_NONBLOCK);
	epoll_fd = epoll_create1(0);
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &orders);
	for (;;) {
		int count = epoll_wait(epoll_fd, events, 256, -1);

		for (int i = 0; i < count; i++) {
			int fd = events[i].data.fd;

			if (fd == 0 && !take_orders())
				return 0;
			if (held[fd].used)
				go_on(fd);
		}
	}
}
