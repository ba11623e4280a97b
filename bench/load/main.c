/* load MODE HOST PORT [--connections N] [--size BYTES] [--seconds S] [--warmup S] [--rate PER_SECOND]
 * [--phase 0…1] [--spin 1] [--http 1] [--connect HOST:PORT] [--watch PID,…]
 * Modes: serve bulk rr paced churn connect first idle flip stall. Prints one JSON object. Exit 1 when a byte
 * or a connection was wrong. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(const struct target *);
	} modes[] = {{"bulk", run_bulk},   {"rr", run_requests},     {"paced", run_paced},
		     {"churn", run_churn}, {"connect", run_connect}, {"first", run_first},
		     {"idle", run_idle},   {"flip", run_flip},	     {"stall", run_stall}};
	if (argc < 4) {
		fprintf(stderr,
			"usage: load serve|bulk|rr|paced|churn|connect|first|idle|flip|stall HOST PORT "
			"[--connections N] "
			"[--size B] [--seconds S] [--warmup S] [--rate R]\n");
		return 64;
	}
	struct target t = {.host = argv[2],
			   .port = argv[3],
			   .connections = 1,
			   .size = 1024,
			   .seconds = 3,
			   .warmup = 0.5,
			   .rate = 0};
	for (int i = 4; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--connections"))
			t.connections = atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--size"))
			t.size = atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--seconds"))
			t.seconds = atof(argv[i + 1]);
		else if (!strcmp(argv[i], "--warmup"))
			t.warmup = atof(argv[i + 1]);
		else if (!strcmp(argv[i], "--rate"))
			t.rate = atof(argv[i + 1]);
		else if (!strcmp(argv[i], "--phase"))
			t.phase = atof(argv[i + 1]);
		else if (!strcmp(argv[i], "--spin"))
			t.spin = atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--http"))
			t.http = atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--connect"))
			t.connect_to = argv[i + 1];
		else if (!strcmp(argv[i], "--watch"))
			watch_pids(argv[i + 1]);
		else {
			fprintf(stderr, "load: unknown option %s\n", argv[i]);
			return 64;
		}
	}
	if (t.connections < 1 || t.connections > MAX_CONNECTIONS || t.size < 1 || t.size > PATTERN_BYTES) {
		fprintf(stderr, "load: connections 1..%d, size 1..%d\n", MAX_CONNECTIONS, PATTERN_BYTES);
		return 64;
	}
	if ((!strcmp(argv[1], "paced") || !strcmp(argv[1], "flip")) && t.rate <= 0) {
		fprintf(stderr, "load: %s needs --rate\n", argv[1]);
		return 64;
	}
	if (t.http)
		t.size = HTTP_ANSWER_BYTES;
	pattern_fill();
	if (!strcmp(argv[1], "serve"))
		return serve(argv[2], argv[3]);
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (!strcmp(argv[1], modes[i].name))
			return modes[i].run(&t);
	fprintf(stderr, "load: unknown mode %s\n", argv[1]);
	return 64;
}
