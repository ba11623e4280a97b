/* Asks again and again whether a new connection is let through, and says when the answer has changed: since
 * which moment (CLOCK_MONOTONIC nanoseconds, when the first connection that met it was
 * begun). Until stdin ends. */
#define _GNU_SOURCE
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

#define ANSWER_MS 2000

static bool let_through(const struct target *t, const unsigned char *hello, size_t length)
{
	int fd = dial(t, false);
	if (fd < 0)
		return false;
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	bool through = send(fd, hello, length, MSG_NOSIGNAL) == (ssize_t)length &&
		       poll(&wait, 1, ANSWER_MS) == 1 && recv(fd, buffer, 1, 0) == 1 &&
		       buffer[0] == pattern[0];
	drop(fd);
	return through;
}

int run_flip(const struct target *t)
{
	unsigned char hello[HEADER_BYTES + 1];
	struct window w = window_from_now(t);
	struct pollfd input = {.fd = 0, .events = POLLIN};
	uint64_t gap = (uint64_t)(1e9 / t->rate), due = now_ns();
	int last = -1;
	header(hello, OP_REPLY, 1, &w);
	hello[HEADER_BYTES] = pattern[0];
	while (poll(&input, 1, 0) == 0) {
		uint64_t begun = now_ns();
		int through = let_through(t, hello, sizeof(hello));
		if (through != last)
			printf("%s %llu\n", through ? "through" : "refused", (unsigned long long)begun);
		last = through;
		fflush(stdout);
		/* A connection that took long is followed by the next at once, not by those it was late for.
		 */
		due += gap;
		if (due < now_ns())
			due = now_ns();
		sleep_until(due);
	}
	return 0;
}
