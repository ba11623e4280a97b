/* test support · connections opened in ways an application may: each must be captured all the same (E8, E9).
 * odd-connect WAY[+OPTION]... ADDRESS PORT: sends a line, prints the answer's first line. Exit status 1 and strerror on failure.
 * WAY: plain, fastopen, fastopen-connect, reconnect, loopback-first, addrform, uring, sqpoll. OPTION: mptcp, mark, transparent, foreign,
 * device, nonblocking; those of which the kernel lets the caller make no use change nothing. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char line[] = "hello\n";

static int fail(const char *what, int error)
{
	printf("%s: %s\n", what, strerror(error));
	return 1;
}

/* Is it among the words of MODE, which a plus parts? */
static bool asked(const char *mode, const char *word)
{
	size_t length = strlen(word);

	for (; mode; mode = strchr(mode, '+') ? strchr(mode, '+') + 1 : NULL)
		if (!strncmp(mode, word, length) && (mode[length] == 0 || mode[length] == '+'))
			return true;
	return false;
}

static int uring_done(struct io_uring *ring)
{
	struct io_uring_cqe *done;
	int err;

	io_uring_submit(ring);
	err = io_uring_wait_cqe(ring, &done);
	if (err == 0) {
		err = done->res;
		io_uring_cqe_seen(ring, done);
	}
	return err;
}

static int uring_connect(int fd, const struct sockaddr *to, socklen_t length)
{
	struct io_uring ring;
	int err = io_uring_queue_init(4, &ring, 0);

	if (err < 0)
		return err;
	io_uring_prep_connect(io_uring_get_sqe(&ring), fd, to, length);
	err = uring_done(&ring);
	io_uring_queue_exit(&ring);
	return err;
}

/* The kernel's own thread makes the socket, which never has a descriptor, and connects it. The whole call is made here. */
static int sqpoll(const struct sockaddr *to, socklen_t length, int protocol)
{
	struct io_uring_params params = {.flags = IORING_SETUP_SQPOLL, .sq_thread_idle = 100};
	struct io_uring ring;
	struct io_uring_sqe *sqe;
	char answer[1024];
	int err = io_uring_queue_init_params(8, &ring, &params);

	if (err < 0 || (err = io_uring_register_files_sparse(&ring, 1)) < 0)
		return fail("io_uring", -err);
	io_uring_prep_socket_direct(io_uring_get_sqe(&ring), to->sa_family, SOCK_STREAM, protocol, 0, 0);
	if ((err = uring_done(&ring)) < 0)
		return fail("socket", -err);
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_connect(sqe, 0, to, length);
	sqe->flags |= IOSQE_FIXED_FILE;
	if ((err = uring_done(&ring)) < 0)
		return fail("connect", -err);
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_send(sqe, 0, line, sizeof(line) - 1, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	if ((err = uring_done(&ring)) < 0)
		return fail("send", -err);
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_recv(sqe, 0, answer, sizeof(answer) - 1, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	err = uring_done(&ring);
	if (err <= 0)
		return fail("recv", err < 0 ? -err : ECONNRESET);
	answer[err] = 0;
	printf("%s", answer);
	return 0;
}

/* Connected elsewhere, dissolved, and to be connected again: the second destination counts. */
static int elsewhere_first(int fd, const struct sockaddr *other, socklen_t length)
{
	struct sockaddr unspec = {.sa_family = AF_UNSPEC};
	int flags = fcntl(fd, F_GETFL);

	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	connect(fd, other, length);
	if (connect(fd, &unspec, sizeof(unspec)))
		return -errno;
	fcntl(fd, F_SETFL, flags);
	return 0;
}

/* A socket of IPv6 that was connected to an address of IPv4 becomes a socket of IPv4 (ipv6(7)), and keeps what it had stored. */
static int addrform(int fd, const struct sockaddr_in6 *to)
{
	struct sockaddr unspec = {.sa_family = AF_UNSPEC};
	struct sockaddr_in6 known = *to;
	int listener = socket(AF_INET6, SOCK_STREAM, 0), family = AF_INET;
	socklen_t length = sizeof(known);

	inet_pton(AF_INET6, "::ffff:127.0.0.1", &known.sin6_addr);
	known.sin6_port = 0;
	if (bind(listener, (struct sockaddr *)&known, length) || listen(listener, 1) ||
	    getsockname(listener, (struct sockaddr *)&known, &length) ||
	    connect(fd, (struct sockaddr *)&known, length) ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_ADDRFORM, &family, sizeof(family)) ||
	    connect(fd, &unspec, sizeof(unspec)))
		return -errno;
	return 0;
}

static int unblocked_connect(int fd, const struct sockaddr *to, socklen_t length)
{
	struct pollfd ready = {.fd = fd, .events = POLLOUT};
	int err = 0;
	socklen_t size = sizeof(err);

	fcntl(fd, F_SETFL, O_NONBLOCK);
	if (connect(fd, to, length) && errno != EINPROGRESS)
		return -errno;
	poll(&ready, 1, 5000);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size) == 0 && err)
		return -err;
	fcntl(fd, F_SETFL, 0);
	return 0;
}

/* What a pod with NET_ADMIN or NET_RAW may set, too. */
static void set_options(int fd, const char *mode, int family)
{
	int on = 1, mark = 0x100;

	if (asked(mode, "mark"))
		setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
	if (asked(mode, "device"))
		setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5);
	if (asked(mode, "transparent") || asked(mode, "foreign")) {
		setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof(on));
		setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &on, sizeof(on));
	}
	if (asked(mode, "foreign") && family == AF_INET) {
		struct sockaddr_in source = {.sin_family = AF_INET};

		inet_pton(AF_INET, "198.51.100.7", &source.sin_addr);
		bind(fd, (struct sockaddr *)&source, sizeof(source));
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_storage to = {0}, other;
	struct sockaddr_in *to4 = (struct sockaddr_in *)&to;
	struct sockaddr_in6 *to6 = (struct sockaddr_in6 *)&to;
	struct timeval limit = {.tv_sec = asked(argv[1] ? argv[1] : "", "foreign") ? 1 : 5};
	const char *mode;
	socklen_t length;
	char answer[1024];
	ssize_t got;
	int fd, on = 1, err = 0, sent = 0, protocol;

	if (argc != 4)
		return fail("odd-connect MODE ADDRESS PORT", EINVAL);
	mode = argv[1];
	if (inet_pton(AF_INET, argv[2], &to4->sin_addr) == 1) {
		to4->sin_family = AF_INET;
		to4->sin_port = htons(atoi(argv[3]));
		length = sizeof(*to4);
	} else if (inet_pton(AF_INET6, argv[2], &to6->sin6_addr) == 1) {
		to6->sin6_family = AF_INET6;
		to6->sin6_port = htons(atoi(argv[3]));
		length = sizeof(*to6);
	} else {
		return fail(argv[2], EINVAL);
	}
	protocol = asked(mode, "mptcp") ? IPPROTO_MPTCP : 0;
	if (asked(mode, "sqpoll"))
		return sqpoll((struct sockaddr *)&to, length, protocol);
	fd = socket(to.ss_family, SOCK_STREAM, protocol);
	if (fd < 0)
		return fail("socket", errno);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	set_options(fd, mode, to.ss_family);

	other = to;
	if (asked(mode, "reconnect")) {
		if (to.ss_family == AF_INET)
			((struct sockaddr_in *)&other)->sin_port = htons(9);
		else
			((struct sockaddr_in6 *)&other)->sin6_port = htons(9);
		err = elsewhere_first(fd, (struct sockaddr *)&other, length);
	} else if (asked(mode, "loopback-first")) {
		if (to.ss_family == AF_INET)
			inet_pton(AF_INET, "127.0.0.1", &((struct sockaddr_in *)&other)->sin_addr);
		else
			inet_pton(AF_INET6, "::1", &((struct sockaddr_in6 *)&other)->sin6_addr);
		err = elsewhere_first(fd, (struct sockaddr *)&other, length);
	} else if (asked(mode, "addrform")) {
		err = addrform(fd, to6);
		if (err == 0) {
			struct sockaddr_in plain = {.sin_family = AF_INET, .sin_port = to6->sin6_port};

			memcpy(&plain.sin_addr, &to6->sin6_addr.s6_addr[12], 4);
			memcpy(&to, &plain, sizeof(plain));
			length = sizeof(plain);
		}
	}
	if (err < 0)
		return fail("before the call", -err);

	if (asked(mode, "uring")) {
		err = uring_connect(fd, (struct sockaddr *)&to, length);
	} else if (asked(mode, "fastopen")) {
		sent = sendto(fd, line, sizeof(line) - 1, MSG_FASTOPEN, (struct sockaddr *)&to, length);
		err = sent < 0 ? -errno : 0;
	} else if (asked(mode, "nonblocking")) {
		err = unblocked_connect(fd, (struct sockaddr *)&to, length);
	} else {
		if (asked(mode, "fastopen-connect"))
			setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof(on));
		err = connect(fd, (struct sockaddr *)&to, length) ? -errno : 0;
	}
	if (err < 0)
		return fail("connect", -err);
	if (sent == 0 && write(fd, line, sizeof(line) - 1) < 0)
		return fail("write", errno);
	/* The kernel's work for a ring interrupts a call. */
	do
		got = read(fd, answer, sizeof(answer) - 1);
	while (got < 0 && errno == EINTR);
	if (got <= 0)
		return fail("read", got < 0 ? errno : ECONNRESET);
	answer[got] = 0;
	printf("%s", answer);
	return 0;
}
