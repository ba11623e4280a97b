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

#define MAX_PIDS 32

static int pids[MAX_PIDS];
static int pid_count;
static uint64_t before[MAX_PIDS], used[MAX_PIDS], busy_before, busy_used, own_before, own_used;

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

static uint64_t process_ns(int pid)
{
	char path[64];
	uint64_t sum = 0;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	DIR *threads = opendir(path);
	if (!threads)
		die("a watched process has ended");
	for (struct dirent *entry; (entry = readdir(threads));)
		if (entry->d_name[0] != '.')
			sum += thread_ns(pid, entry->d_name);
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
	own_before = process_ns(getpid());
	for (int i = 0; i < pid_count; i++)
		before[i] = process_ns(pids[i]);
}

void watch_end(void)
{
	for (int i = 0; i < pid_count; i++)
		used[i] = process_ns(pids[i]) - before[i];
	own_used = process_ns(getpid()) - own_before;
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
