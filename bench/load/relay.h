/* The relay as a part of another program, which defines what happens to bytes on their way. */
#ifndef ORLOP_BENCH_RELAY_H
#define ORLOP_BENCH_RELAY_H

#include <stddef.h>

int relay(int argc, char **argv);
/* Bytes that were received and are sent next. At most 256 KB. */
void pass(const unsigned char *bytes, size_t length);

#endif
