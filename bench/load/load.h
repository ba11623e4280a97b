/* Load generator and sink of the benchmarks: one thread, epoll, no allocation while it measures. */
#ifndef ORLOP_BENCH_LOAD_H
#define ORLOP_BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* First byte of a connection: what the server shall do with it. Followed by the reply size, 4 bytes
 * big-endian. */
#define OP_SINK	     'S' /* read to the end, compare with the pattern, answer total and errors (16 bytes) */
#define OP_REPLY     'R' /* each `size` bytes read are answered with `size` bytes */
#define HEADER_BYTES 5

/* The pattern's length is odd, so that a lost, doubled or moved byte shows at once. */
#define PATTERN_BYTES 1048573
#define READ_BYTES    (256 * 1024)

extern unsigned char pattern[2 * PATTERN_BYTES];
void pattern_fill(void);
/* True when `data` is what stands at `offset` of the endless pattern. */
bool pattern_holds(const unsigned char *data, size_t length, uint64_t offset);

uint64_t now_ns(void);
void die(const char *what) __attribute__((noreturn));

/* Log-linear histogram of nanoseconds: 64 steps per power of two, so an error of at most 1.6 %. */
struct histogram {
	uint64_t count;
	uint64_t bucket[64 * 40];
};
void histogram_add(struct histogram *h, uint64_t ns);
double histogram_us(const struct histogram *h, double quantile);

struct target {
	const char *host;
	const char *port;
	int connections;
	int size;
	double seconds;
	double warmup;
	double rate;
};

int dial(const struct target *t, bool nonblocking);

int serve(const char *host, const char *port);
int run_bulk(const struct target *t);
int run_requests(const struct target *t);
int run_paced(const struct target *t);
int run_churn(const struct target *t);
int run_connect(const struct target *t);
int run_idle(const struct target *t);

#endif
