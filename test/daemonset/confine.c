/* tests · runs a program under a seccomp filter, as a container runtime does: confine FILTER PROGRAM ARGUMENTS…
 * FILTER: a file of struct sock_filter, made by seccomp-filter.ts out of a profile. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct sock_filter code[4096];

int main(int argc, char **argv)
{
	struct sock_fprog program = { .filter = code };
	ssize_t size;
	int fd;

	if (argc < 3)
		return 64;
	fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (fd < 0 || (size = read(fd, code, sizeof(code))) <= 0 || size % sizeof(*code) != 0) {
		fprintf(stderr, "confine: cannot read %s: %s\n", argv[1], strerror(errno));
		return 65;
	}
	close(fd);
	program.len = size / sizeof(*code);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) {
		fprintf(stderr, "confine: the kernel refused the filter: %s\n", strerror(errno));
		return 70;
	}
	execv(argv[2], argv + 2);
	fprintf(stderr, "confine: %s: %s\n", argv[2], strerror(errno));
	return 127;
}
