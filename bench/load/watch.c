/* CPU time of the processes under test in the measured window: all their threads, from schedstat
 * (nanoseconds), and what the whole machine was busy (ticks), which also holds the softirq work that no
 * process is charged for. */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "load.h"

#define MAX_PIDS    32
#define MAX_THREADS 256

static int pids[MAX_PIDS];
static int pid_count;
static uint64_t used[MAX_PIDS], busy_before, busy_used, own_before, own_used;
/* What each thread had used before. A sum over a process would fall when a thread ends. */
static struct {
	int id;
	uint64_t ns;
} threads_before[MAX_THREADS];
static int thread_count;

void watch_pids(const char *list)
{
	while (*list) {
		char *end;
		long pid = strtol(list, &end, 10);
		if (pid <= 0 || pid_count == MAX_PIDS) {
			fprintf(stderr, "load: --watch takes up to %d pids\n", MAX_PIDS);
			exit(64);
		}
		pids[pid_count++] = (int)pid;
		list = *end == ',' ? end + 1 : end;
	}
}

static uint64_t thread_ns(int pid, const char *thread)
{
	char path[64];
	unsigned long long ns = 0;
	snprintf(path, sizeof(path), "/proc/%d/task/%.16s/schedstat", pid, thread);
	FILE *file = fopen(path, "r");
	if (!file)
		return 0; /* The thread has ended. */
	if (fscanf(file, "%llu", &ns) != 1)
		ns = 0;
	fclose(file);
	return ns;
}

static uint64_t before(int thread)
{
	for (int i = 0; i < thread_count; i++)
		if (threads_before[i].id == thread)
			return threads_before[i].ns;
	return 0;
}

/* Of all its threads, since they were noted; what a thread used that has ended is not known. */
static uint64_t process_ns(int pid, bool note)
{
	char path[64];
	uint64_t sum = 0;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	DIR *threads = opendir(path);
	if (!threads)
		die("a watched process has ended");
	for (struct dirent *entry; (entry = readdir(threads));) {
		if (entry->d_name[0] == '.')
			continue;
		int thread = atoi(entry->d_name);
		uint64_t ns = thread_ns(pid, entry->d_name), had = before(thread);
		sum += ns > had ? ns - had : 0;
		if (!note)
			continue;
		if (thread_count == MAX_THREADS)
			die("too many threads to watch");
		threads_before[thread_count].id = thread;
		threads_before[thread_count++].ns = ns;
	}
	closedir(threads);
	return sum;
}

/* All of /proc/stat's first line but idle and iowait; `guest` is already within `user`. */
static uint64_t machine_ns(void)
{
	unsigned long long v[8] = {0};
	FILE *file = fopen("/proc/stat", "r");
	if (!file || fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu", v, v + 1, v + 2, v + 3, v + 4,
			    v + 5, v + 6) != 7)
		die("/proc/stat");
	fclose(file);
	return (uint64_t)(v[0] + v[1] + v[2] + v[5] + v[6]) * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
}

void watch_begin(void)
{
	busy_before = machine_ns();
	thread_count = 0;
	own_before = process_ns(getpid(), false);
	for (int i = 0; i < pid_count; i++)
		process_ns(pids[i], true);
}

void watch_end(void)
{
	for (int i = 0; i < pid_count; i++)
		used[i] = process_ns(pids[i], false);
	own_used = process_ns(getpid(), false) - own_before;
	busy_used = machine_ns() - busy_before;
}

void watch_print(void)
{
	printf(",\"cpu_ns\":[");
	for (int i = 0; i < pid_count; i++)
		printf("%s%llu", i ? "," : "", (unsigned long long)used[i]);
	printf("],\"busy_ns\":%llu,\"own_ns\":%llu", (unsigned long long)busy_used,
	       (unsigned long long)own_used);
}
