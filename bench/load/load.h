/* Load generator and sink of the benchmarks: one thread, epoll, no allocation while it measures. */
#ifndef ORLOP_BENCH_LOAD_H
#define ORLOP_BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A connection begins with a header that tells the server what to do with it: one letter of these, the size
 * of a reply (4 bytes, big-endian), and the measured window (two times 8 bytes, big-endian, CLOCK_MONOTONIC
 * nanoseconds: both ends run on one machine).
 * Sink: compares what comes; after the window it sends SINK_ANSWER_BYTES whenever it has read all there is:
 * total, errors, bytes in the window. Reply: each `size` bytes read are compared and answered with `size`
 * bytes. Stall: nothing more is read until the window has ended; from then on a sink. */
#define OP_SINK		  'S'
#define OP_STALL	  'N'
#define OP_REPLY	  'R'
#define HEADER_BYTES	  21
#define SINK_ANSWER_BYTES 24

/* A connection that begins with GET has no header: its requests are HTTP/1.1 without a body, of HTTP_FIELDS
 * fields or more, and each is answered with HTTP_ANSWER_BYTES of the pattern. */
#define HTTP_FIELDS	  12
#define HTTP_ANSWER_BYTES 1024

/* Before the header there may be an HTTP/1.1 CONNECT, for peers that know no other tunnel. */
#define CONNECT_OK "HTTP/1.1 200 OK\r\n\r\n"

/* The pattern's length is odd, so that a lost, doubled or moved byte shows at once. */
#define PATTERN_BYTES	1048573
#define READ_BYTES	(256 * 1024)
#define MAX_CONNECTIONS 19000

extern unsigned char pattern[2 * PATTERN_BYTES];
void pattern_fill(void);
/* True when `data` is what lies at `offset` of the endless pattern. */
bool pattern_holds(const unsigned char *data, size_t length, uint64_t offset);

uint64_t now_ns(void);
void sleep_until(uint64_t ns);
void die(const char *what) __attribute__((noreturn));
void put64(unsigned char *to, uint64_t value);
uint64_t get64(const unsigned char *from);

/* Log-linear histogram of nanoseconds: 128 steps per power of two, so an error of at most 0.8 %. */
#define HISTOGRAM_STEPS 128
struct histogram {
	uint64_t count;
	uint64_t bucket[HISTOGRAM_STEPS * 40];
};
void histogram_add(struct histogram *h, uint64_t ns);
/* Microseconds; the middle of the bucket. */
double histogram_us(const struct histogram *h, double quantile);

struct target {
	const char *host;
	const char *port;
	/* `host:port` to ask for by HTTP/1.1 CONNECT; NULL: none. */
	const char *connect_to;
	int connections;
	int size;
	double seconds;
	double warmup;
	/* Requests or connects per second; of bulk: bytes per second. 0: as fast as it goes. */
	double rate;
	/* Of `connect`: where between two multiples of the gap its turns lie, from 0 to below 1. */
	double phase;
	/* Requests and replies are HTTP/1.1. */
	int http;
	/* Of `connect`: waits for its turn without sleeping, so that the processor stays awake
	 * and its caches warm. */
	int spin;
};

struct connection {
	int fd;
	uint64_t sent;
	uint32_t awaited;  /* reply bytes still to come */
	uint32_t unsent;   /* request bytes still to go */
	uint64_t begun_ns; /* when this request was (or should have been) sent */
	int stage;	   /* of churn.c */
	unsigned head;	   /* of http.c: bytes of the reply's head that have come */
};
extern struct connection connections[MAX_CONNECTIONS];
extern unsigned char buffer[READ_BYTES];
extern struct histogram latency;

/* What is measured lies between `warm` and `end`. */
struct window {
	uint64_t begin, warm, end;
};
struct window window_from_now(const struct target *t);

/* dial.c: the socket, or -1 with errno. Blocking dials also make the CONNECT exchange. */
int dial(const struct target *t, bool nonblocking);
int connect_request(const struct target *t, char *to, size_t room);
void header(unsigned char *to, char op, int size, const struct window *w);
/* Closes by RST instead of FIN: no TIME_WAIT, so that ports last as long as the run. */
void drop(int fd);
/* Opens `connections`, then tells each what it is for; edge-triggered in `epoll` unless that is -1. */
struct window open_all(const struct target *t, int epoll, char op);

/* http.c. The request that every connection sends; its length goes to `length`. */
const unsigned char *http_request(uint32_t *length);
/* Takes what came of a reply's head. @returns how much of `data` belongs to it; the rest is body. Exits when
 * the reply is no 200 with HTTP_ANSWER_BYTES. */
size_t http_reply_head(struct connection *c, int index, const unsigned char *data, size_t length);
/* Of the far end: a whole answer. */
const unsigned char *http_answer(uint32_t *length);

/* watch.c: CPU of other processes between two moments. */
void watch_pids(const char *list);
void watch_begin(void);
void watch_end(void);
/* `,"cpu_ns":[…],"busy_ns":…,"own_ns":…` */
void watch_print(void);

/* Prints the result of a mode that measures latency; `connecting`, where there is any, holds the part of it
 * that connect() took. */
void print_latency(const char *mode, uint64_t requests, double seconds, uint64_t errors,
		   const struct histogram *connecting);

int serve(const char *host, const char *port);
int run_bulk(const struct target *t);
int run_requests(const struct target *t);
int run_paced(const struct target *t);
int run_churn(const struct target *t);
int run_connect(const struct target *t);
int run_first(const struct target *t);
int run_flip(const struct target *t);
int run_idle(const struct target *t);
int run_stall(const struct target *t);

#endif
