/* tests · asks the kernel for what the agent must never get, by number so that no libc is in between; prints NAME=ERRNO. */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static void ask(const char *name, long result)
{
	printf("%s=%s\n", name, result < 0 ? strerrorname_np(errno) : "granted");
}

int main(void)
{
	union bpf_attr attr;
	long child;

	memset(&attr, 0, sizeof(attr));
	ask("setns", syscall(SYS_setns, 0, CLONE_NEWNET));
	/* A target that is nowhere: without the profile nothing must come of these questions either. */
	ask("mount", syscall(SYS_mount, "none", "/nowhere/orlop", "tmpfs", 0, NULL));
	ask("ptrace", syscall(SYS_ptrace, PTRACE_ATTACH, -1, 0, 0));
	ask("process_vm_readv", syscall(SYS_process_vm_readv, getpid(), NULL, 0, NULL, 0, 0));
	ask("io_uring_setup", syscall(SYS_io_uring_setup, 1, NULL));
	ask("userfaultfd", syscall(SYS_userfaultfd, 0));
	ask("perf_event_open", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
	ask("keyctl", syscall(SYS_keyctl, 0, 0, 0, 0, 0));
	ask("execveat", syscall(SYS_execveat, -1, "", NULL, NULL, 0));
	ask("seccomp", syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, NULL));
	ask("packet-socket", syscall(SYS_socket, AF_PACKET, SOCK_RAW, 0));
	ask("raw-socket", syscall(SYS_socket, AF_INET, SOCK_RAW, 1));
	ask("raw-socket-6", syscall(SYS_socket, AF_INET6, SOCK_RAW, 58));
	ask("udp-socket", syscall(SYS_socket, AF_INET, SOCK_DGRAM, 0));
	ask("netlink-socket", syscall(SYS_socket, AF_NETLINK, SOCK_RAW, 0));
	ask("vsock", syscall(SYS_socket, AF_VSOCK, SOCK_STREAM, 0));
	ask("bpf-map-create", syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr)));
	ask("bpf-prog-load", syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr)));
	ask("bpf-obj-get", syscall(SYS_bpf, BPF_OBJ_GET, &attr, sizeof(attr)));
	ask("bpf-link-create", syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr)));
	ask("bpf-link-detach", syscall(SYS_bpf, BPF_LINK_DETACH, &attr, sizeof(attr)));
	ask("bpf-map-freeze", syscall(SYS_bpf, BPF_MAP_FREEZE, &attr, sizeof(attr)));
	/* Granted by the profile: the kernel itself then finds the descriptor bad. */
	attr.map_fd = -1;
	ask("bpf-map-lookup", syscall(SYS_bpf, BPF_MAP_LOOKUP_ELEM, &attr, sizeof(attr)));
	ask("clone3", syscall(SYS_clone3, NULL, 0));
	fflush(stdout);
	child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (child == 0)
		_exit(0);
	ask("fork", child);
	/* Last, since it would take the privileges of the other questions. */
	ask("unshare", syscall(SYS_unshare, CLONE_NEWUSER));
	return 0;
}
