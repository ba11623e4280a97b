// The only program of the test cluster's image: `pod pause` holds a sandbox, `pod serve PORT NAME` answers each TCP connection with
// NAME, `pod ask ADDRESS PORT` prints what such a server says. `pod dawn PORT ADDRESS PORT` listens and asks before it does anything
// else, prints when it began, what it heard and when, and how many have reached it within a second. `pod knock PORT PREFIX FROM TO` dials
// each address of a range again and again, and prints which of them it reaches. Static, without name resolution.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int fail(const char *what)
{
	fprintf(stderr, "pod: %s: %s\n", what, strerror(errno));
	return 1;
}

static void end(int signal_number)
{
	(void)signal_number;
	_exit(0);
}

static void reap(int signal_number)
{
	(void)signal_number;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

static int open_listener(int port)
{
	int on = 1, off = 0;
	struct sockaddr_in6 any = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(port),
		.sin6_addr = IN6ADDR_ANY_INIT,
	};
	int listener = socket(AF_INET6, SOCK_STREAM, 0);

	if (listener < 0)
		return -fail("socket");
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(listener, (struct sockaddr *)&any, sizeof(any)) || listen(listener, 128))
		return -fail("listen");
	return listener;
}

static int serve(int port, const char *name)
{
	int listener = open_listener(port);

	if (listener < 0)
		return 1;
	for (;;) {
		int peer = accept(listener, NULL, NULL);

		if (peer < 0)
			continue;
		dprintf(peer, "%s\n", name);
		close(peer);
	}
}

static int ask(const char *address, int port)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(port) };
	int is_six = inet_pton(AF_INET6, address, &six.sin6_addr) == 1;
	struct timeval limit = { .tv_sec = 10 };
	char answer[256];
	ssize_t length;
	int server;

	if (!is_six && inet_pton(AF_INET, address, &four.sin_addr) != 1)
		return fail("not an address");
	server = socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
	if (server < 0)
		return fail("socket");
	setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(server, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (is_six ? connect(server, (struct sockaddr *)&six, sizeof(six)) :
		     connect(server, (struct sockaddr *)&four, sizeof(four)))
		return fail("connect");
	while ((length = read(server, answer, sizeof(answer))) > 0)
		fwrite(answer, 1, length, stdout);
	return length < 0 ? fail("read") : 0;
}

/* Of the wall clock, in milliseconds. */
static long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static int dawn(int port, const char *address, int target)
{
	int listener = open_listener(port);
	long long began = now_ms();
	int reached = 0;

	if (listener < 0)
		return 1;
	printf("began %lld\nheard ", began);
	/* In the log it is a line of its own. */
	if (ask(address, target))
		printf("nothing\n");
	printf("answered %lld\n", now_ms());
	fcntl(listener, F_SETFL, O_NONBLOCK);
	while (now_ms() < began + 1000) {
		struct pollfd wanted = { .fd = listener, .events = POLLIN };
		int peer;

		poll(&wanted, 1, 50);
		while ((peer = accept(listener, NULL, NULL)) >= 0) {
			reached++;
			close(peer);
		}
	}
	printf("reached %d\n", reached);
	return 0;
}

#define MOST_KNOCKED 256

static int knock(int port, const char *prefix, int from, int to)
{
	struct pollfd dialled[MOST_KNOCKED];

	if (from < 1 || to < from || to - from >= MOST_KNOCKED)
		return fail("range");
	setlinebuf(stdout);
	printf("knocking\n");
	for (;;) {
		int count = 0;

		for (int last = from; last <= to; last++) {
			struct sockaddr_in peer = { .sin_family = AF_INET, .sin_port = htons(port) };
			char text[64];

			snprintf(text, sizeof(text), "%s.%d", prefix, last);
			dialled[count].fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
			dialled[count].events = POLLOUT;
			dialled[count].revents = 0;
			if (dialled[count].fd < 0 || inet_pton(AF_INET, text, &peer.sin_addr) != 1)
				return fail(text);
			connect(dialled[count].fd, (struct sockaddr *)&peer, sizeof(peer));
			count++;
		}
		usleep(20000);
		poll(dialled, count, 0);
		for (int at = 0; at < count; at++) {
			int error = 0;
			socklen_t size = sizeof(error);

			if ((dialled[at].revents & POLLOUT) &&
			    !getsockopt(dialled[at].fd, SOL_SOCKET, SO_ERROR, &error, &size) && !error)
				printf("in %s.%d\n", prefix, from + at);
			close(dialled[at].fd);
		}
	}
}

int main(int count, char **words)
{
	signal(SIGTERM, end);
	signal(SIGINT, end);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, reap);
	if (count == 2 && !strcmp(words[1], "pause"))
		for (;;)
			pause();
	if (count == 4 && !strcmp(words[1], "serve"))
		return serve(atoi(words[2]), words[3]);
	if (count == 4 && !strcmp(words[1], "ask"))
		return ask(words[2], atoi(words[3]));
	if (count == 5 && !strcmp(words[1], "dawn"))
		return dawn(atoi(words[2]), words[3], atoi(words[4]));
	if (count == 6 && !strcmp(words[1], "knock"))
		return knock(atoi(words[2]), words[3], atoi(words[4]), atoi(words[5]));
	fprintf(stderr, "usage: pod pause | serve PORT NAME | ask ADDRESS PORT | dawn PORT ADDRESS PORT |\n"
			"       knock PORT PREFIX FROM TO\n");
	return 64;
}
