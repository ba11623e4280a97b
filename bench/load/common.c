/* What every mode shares: the pattern, the clock, the histogram, dialling. */
#define _GNU_SOURCE
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

unsigned char pattern[2 * PATTERN_BYTES];

void pattern_fill(void)
{
	uint64_t state = 0x9e3779b97f4a7c15u;
	for (size_t i = 0; i < PATTERN_BYTES; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		pattern[i] = (unsigned char)state;
	}
	memcpy(pattern + PATTERN_BYTES, pattern, PATTERN_BYTES);
}

bool pattern_holds(const unsigned char *data, size_t length, uint64_t offset)
{
	return memcmp(data, pattern + offset % PATTERN_BYTES, length) == 0;
}

uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

void histogram_add(struct histogram *h, uint64_t ns)
{
	int power = ns < 64 ? 0 : 63 - __builtin_clzll(ns) - 5;
	size_t index = (size_t)power * 64 + (ns >> power) % 64 + (power ? 0 : 0);
	if (index >= sizeof(h->bucket) / sizeof(h->bucket[0]))
		index = sizeof(h->bucket) / sizeof(h->bucket[0]) - 1;
	h->bucket[index]++;
	h->count++;
}

double histogram_us(const struct histogram *h, double quantile)
{
	uint64_t want = (uint64_t)((double)h->count * quantile);
	uint64_t seen = 0;
	for (size_t i = 0; i < sizeof(h->bucket) / sizeof(h->bucket[0]); i++) {
		seen += h->bucket[i];
		if (seen > want) {
			size_t power = i / 64;
			return (double)((uint64_t)(i % 64) << power) / 1000.0;
		}
	}
	return 0;
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
	if (connect(fd, address->ai_addr, address->ai_addrlen) != 0 && errno != EINPROGRESS) {
		close(fd);
		return -1;
	}
	return fd;
}
