/* test model · knocks at addresses in plaintext, many times a second, and says what came of it.
 *   probe SECONDS NAME=ADDRESS/PORT/RATE...
 *                                        RATE: attempts per second. SECONDS: how long an attempt that has connected
 *                                        waits for an answer
 * Each attempt connects and sends a line; only the same line back is an answer. Prints, at most 20 ms later:
 *   answered NAME BEGAN ENDED            an answer in plaintext
 *   tally GENERATION NAME REFUSED CLOSED UNREACHED ANSWERED
 *                                        of attempts since the last "mark GENERATION" on stdin
 *   older GENERATION OPEN                attempts from before that mark that have not ended
 * "refused": a reset at connect. "closed": connected, and ended without the answer. "unreached": nobody was
 * there, or nothing was heard for a second, or for SECONDS once connected. Times are CLOCK_REALTIME in microseconds. Ends with its input. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_TARGETS 64
#define MAX_FDS	    16384
#define IN_FLIGHT   32
#define TIMEOUT_US  1000000
#define TELL_US	    20000

static const char line[] = "spoken in the clear by nobody of the mesh\n";

struct target {
	char name[64];
	struct sockaddr_storage to;
	socklen_t length;
	double rate, credit;
	int in_flight, news;
	unsigned long refused, closed, unreached, answered;
};

struct attempt {
	struct target *target;
	int connected, generation;
	int64_t began;
	size_t heard;
};

static struct target targets[MAX_TARGETS];
static struct attempt attempts[MAX_FDS];
static int target_count, generation, epoll_fd, top_fd, open_attempts, older, older_news;
static int64_t patience_us;

static int64_t now_us(void)
{
	struct timespec at;

	clock_gettime(CLOCK_REALTIME, &at);
	return at.tv_sec * 1000000LL + at.tv_nsec / 1000;
}

static void add_target(const char *text)
{
	struct target *target = &targets[target_count++];
	struct sockaddr_in *to4 = (struct sockaddr_in *)&target->to;
	struct sockaddr_in6 *to6 = (struct sockaddr_in6 *)&target->to;
	char address[64];
	int port;

	if (sscanf(text, "%63[^=]=%63[^/]/%d/%lf", target->name, address, &port, &target->rate) != 4)
		exit(2);
	if (inet_pton(AF_INET, address, &to4->sin_addr) == 1) {
		to4->sin_family = AF_INET;
		to4->sin_port = htons(port);
		target->length = sizeof(*to4);
	} else if (inet_pton(AF_INET6, address, &to6->sin6_addr) == 1) {
		to6->sin6_family = AF_INET6;
		to6->sin6_port = htons(port);
		target->length = sizeof(*to6);
	} else {
		exit(2);
	}
}

enum outcome { REFUSED, CLOSED, UNREACHED, ANSWERED };

static void finish(int fd, enum outcome outcome)
{
	struct linger reset = {.l_onoff = 1};
	struct attempt *attempt = &attempts[fd];
	struct target *target = attempt->target;

	target->in_flight--;
	open_attempts--;
	if (attempt->generation != generation) {
		older--;
		older_news = 1;
	} else {
		target->news = 1;
		target->refused += outcome == REFUSED;
		target->closed += outcome == CLOSED;
		target->unreached += outcome == UNREACHED;
		target->answered += outcome == ANSWERED;
	}
	if (outcome == ANSWERED)
		printf("answered %s %lld %lld\n", target->name, (long long)attempt->began,
		       (long long)now_us());
	attempt->target = NULL;
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(fd);
}

static void begin(struct target *target)
{
	int fd = socket(target->to.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.fd = fd};

	if (fd < 0 || fd >= MAX_FDS) {
		if (fd >= 0)
			close(fd);
		return;
	}
	if (fd > top_fd)
		top_fd = fd;
	attempts[fd] = (struct attempt){.target = target, .generation = generation, .began = now_us()};
	target->in_flight++;
	open_attempts++;
	if (connect(fd, (struct sockaddr *)&target->to, target->length) && errno != EINPROGRESS) {
		finish(fd, errno == ECONNREFUSED ? REFUSED : UNREACHED);
		return;
	}
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void go_on(int fd)
{
	struct attempt *attempt = &attempts[fd];
	char bytes[sizeof(line)];
	ssize_t got;

	if (!attempt->connected) {
		struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
		int error = 0;
		socklen_t length = sizeof(error);

		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
		if (error) {
			finish(fd, error == ECONNREFUSED ? REFUSED : UNREACHED);
			return;
		}
		attempt->connected = 1;
		if (write(fd, line, sizeof(line) - 1) < 0) {
			finish(fd, CLOSED);
			return;
		}
		epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event);
	}
	got = read(fd, bytes, sizeof(line) - 1 - attempt->heard);
	if (got < 0 && errno == EAGAIN)
		return;
	if (got <= 0 || memcmp(bytes, line + attempt->heard, got)) {
		finish(fd, CLOSED);
		return;
	}
	attempt->heard += got;
	if (attempt->heard == sizeof(line) - 1)
		finish(fd, ANSWERED);
}

static void tell(void)
{
	for (int i = 0; i < target_count; i++) {
		struct target *target = &targets[i];

		if (target->news)
			printf("tally %d %s %lu %lu %lu %lu\n", generation, target->name, target->refused,
			       target->closed, target->unreached, target->answered);
		target->news = 0;
	}
	if (older_news)
		printf("older %d %d\n", generation, older);
	older_news = 0;
	fflush(stdout);
}

/* 0: nobody gives orders any more. */
static int take_orders(void)
{
	static char text[256];
	static size_t length;
	ssize_t got = read(0, text + length, sizeof(text) - 1 - length);
	char *end;

	if (got == 0 || (got < 0 && errno != EAGAIN))
		return 0;
	if (got < 0)
		return 1;
	length += got;
	text[length] = 0;
	while ((end = strchr(text, '\n'))) {
		if (sscanf(text, "mark %d", &generation) == 1) {
			older = open_attempts;
			older_news = 1;
			for (int i = 0; i < target_count; i++) {
				struct target *target = &targets[i];

				target->refused = target->closed = target->unreached = target->answered = 0;
			}
		}
		length -= end + 1 - text;
		memmove(text, end + 1, length + 1);
	}
	return 1;
}

int main(int argc, char **argv)
{
	struct epoll_event orders = {.events = EPOLLIN, .data.fd = 0};
	struct epoll_event events[256];
	int64_t last, told, looked;

	if (argc < 3 || argc - 2 > MAX_TARGETS)
		return 2;
	patience_us = atoi(argv[1]) * 1000000LL;
	for (int i = 2; i < argc; i++)
		add_target(argv[i]);
	signal(SIGPIPE, SIG_IGN);
	fcntl(0, F_SETFL, O_NONBLOCK);
	epoll_fd = epoll_create1(0);
	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &orders);
	last = told = looked = now_us();
	for (;;) {
		int count = epoll_wait(epoll_fd, events, 256, 2);
		int64_t now = now_us();

		for (int i = 0; i < count; i++) {
			int fd = events[i].data.fd;

			if (fd == 0) {
				if (!take_orders())
					return 0;
			} else if (attempts[fd].target) {
				go_on(fd);
			}
		}
		for (int i = 0; i < target_count; i++) {
			struct target *target = &targets[i];

			target->credit += target->rate * (now - last) / 1e6;
			/* What was missed is not caught up with. */
			if (target->credit > 8)
				target->credit = 8;
			while (target->credit >= 1) {
				target->credit -= 1;
				if (target->in_flight < IN_FLIGHT)
					begin(target);
			}
		}
		last = now;
		if (now - looked > TIMEOUT_US / 10) {
			for (int fd = 1; fd <= top_fd; fd++) {
				int64_t limit = attempts[fd].connected ? patience_us : TIMEOUT_US;

				if (attempts[fd].target && now - attempts[fd].began > limit)
					finish(fd, UNREACHED);
			}
			looked = now;
		}
		if (now - told >= TELL_US) {
			tell();
			told = now;
		}
	}
}
