/* What every mode shares: the pattern, the clock, the histogram. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "load.h"

unsigned char pattern[2 * PATTERN_BYTES];
struct connection connections[MAX_CONNECTIONS];
unsigned char buffer[READ_BYTES];
struct histogram latency;

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

void sleep_until(uint64_t ns)
{
	struct timespec t = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "connection closed");
	exit(1);
}

void put64(unsigned char *to, uint64_t value)
{
	for (int i = 7; i >= 0; i--, value >>= 8)
		to[i] = (unsigned char)value;
}

uint64_t get64(const unsigned char *from)
{
	uint64_t value = 0;
	for (int i = 0; i < 8; i++)
		value = value << 8 | from[i];
	return value;
}

/* Values below two rows of steps have buckets of their own; above, `power` halvings bring a value into
 * the upper of the two. */
static int power_of(uint64_t ns)
{
	return ns < 2 * HISTOGRAM_STEPS ? 0 : 63 - __builtin_clzll(ns) - 7;
}

void histogram_add(struct histogram *h, uint64_t ns)
{
	const size_t buckets = sizeof(h->bucket) / sizeof(h->bucket[0]);
	int power = power_of(ns);
	size_t index = (size_t)power * HISTOGRAM_STEPS + (size_t)(ns >> power);
	h->bucket[index < buckets ? index : buckets - 1]++;
	h->count++;
}

double histogram_us(const struct histogram *h, double quantile)
{
	uint64_t want = (uint64_t)((double)h->count * quantile), seen = 0;
	for (size_t i = 0; i < sizeof(h->bucket) / sizeof(h->bucket[0]); i++) {
		seen += h->bucket[i];
		if (seen <= want)
			continue;
		size_t power = i < 2 * HISTOGRAM_STEPS ? 0 : i / HISTOGRAM_STEPS - 1;
		double low = (double)((uint64_t)(i - power * HISTOGRAM_STEPS) << power);
		return (low + (double)((uint64_t)1 << power) / 2) / 1000;
	}
	return 0;
}

struct window window_from_now(const struct target *t)
{
	uint64_t begin = now_ns(), warm = begin + (uint64_t)(t->warmup * 1e9);
	return (struct window){.begin = begin, .warm = warm, .end = warm + (uint64_t)(t->seconds * 1e9)};
}

void print_latency(const char *mode, uint64_t requests, double seconds, uint64_t errors,
		   const struct histogram *connecting)
{
	printf("{\"mode\":\"%s\",\"requests\":%llu,\"seconds\":%.6f,\"rate\":%.2f,\"p50_us\":%.3f,\"p90_us\":"
	       "%.3f,"
	       "\"p99_us\":%.3f,\"p999_us\":%.3f,\"errors\":%llu",
	       mode, (unsigned long long)requests, seconds, (double)requests / seconds,
	       histogram_us(&latency, 0.5), histogram_us(&latency, 0.9), histogram_us(&latency, 0.99),
	       histogram_us(&latency, 0.999), (unsigned long long)errors);
	if (connecting)
		printf(",\"connect_p50_us\":%.3f,\"connect_p90_us\":%.3f", histogram_us(connecting, 0.5),
		       histogram_us(connecting, 0.9));
	watch_print();
	printf("}\n");
}
