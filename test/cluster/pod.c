// The only program of the test cluster's image: `pod pause` holds a sandbox, `pod serve PORT NAME` answers each TCP connection with
// NAME, `pod ask ADDRESS PORT` prints what such a server says. Static, without name resolution.
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
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

static int serve(int port, const char *name)
{
	int on = 1, off = 0;
	struct sockaddr_in6 any = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(port),
		.sin6_addr = IN6ADDR_ANY_INIT,
	};
	int listener = socket(AF_INET6, SOCK_STREAM, 0);

	if (listener < 0)
		return fail("socket");
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(listener, (struct sockaddr *)&any, sizeof(any)) || listen(listener, 128))
		return fail("listen");
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
	fprintf(stderr, "usage: pod pause | serve PORT NAME | ask ADDRESS PORT\n");
	return 64;
}
