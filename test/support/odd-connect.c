/* test support · connections opened in ways an application may: each must be captured all the same (E8, E9).
 * odd-connect MODE ADDRESS PORT: sends a line, prints the answer's first line. Exit status 1 and strerror on failure. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/tcp.h>
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

static int uring_connect(int fd, const struct sockaddr *to, socklen_t length)
{
	struct io_uring ring;
	struct io_uring_cqe *done;
	int err = io_uring_queue_init(4, &ring, 0);

	if (err < 0)
		return err;
	io_uring_prep_connect(io_uring_get_sqe(&ring), fd, to, length);
	io_uring_submit(&ring);
	err = io_uring_wait_cqe(&ring, &done);
	if (err == 0)
		err = done->res;
	io_uring_queue_exit(&ring);
	return err;
}

int main(int argc, char **argv)
{
	struct sockaddr_storage to = {0};
	struct sockaddr_in *to4 = (struct sockaddr_in *)&to;
	struct sockaddr_in6 *to6 = (struct sockaddr_in6 *)&to;
	struct sockaddr unspec = {.sa_family = AF_UNSPEC};
	struct timeval limit = {.tv_sec = 5};
	const char *mode;
	socklen_t length;
	char answer[1024];
	ssize_t got;
	int fd, on = 1, err = 0, sent = 0;

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
	fd = socket(to.ss_family, SOCK_STREAM, strcmp(mode, "mptcp") ? 0 : IPPROTO_MPTCP);
	if (fd < 0)
		return fail("socket", errno);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));

	if (!strcmp(mode, "uring")) {
		err = uring_connect(fd, (struct sockaddr *)&to, length);
	} else if (!strcmp(mode, "fastopen")) {
		sent = sendto(fd, line, sizeof(line) - 1, MSG_FASTOPEN, (struct sockaddr *)&to, length);
		err = sent < 0 ? -errno : 0;
	} else if (!strcmp(mode, "fastopen-connect")) {
		setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof(on));
		err = connect(fd, (struct sockaddr *)&to, length) ? -errno : 0;
	} else if (!strcmp(mode, "reconnect")) {
		/* Connected, dissolved, and connected again with the same socket: the second destination counts. */
		struct sockaddr_storage other = to;

		if (to.ss_family == AF_INET)
			((struct sockaddr_in *)&other)->sin_port = htons(9);
		else
			((struct sockaddr_in6 *)&other)->sin6_port = htons(9);
		fcntl(fd, F_SETFL, O_NONBLOCK);
		connect(fd, (struct sockaddr *)&other, length);
		if (connect(fd, &unspec, sizeof(unspec)))
			return fail("connect(AF_UNSPEC)", errno);
		fcntl(fd, F_SETFL, 0);
		err = connect(fd, (struct sockaddr *)&to, length) ? -errno : 0;
	} else {
		err = connect(fd, (struct sockaddr *)&to, length) ? -errno : 0;
	}
	if (err < 0)
		return fail("connect", -err);
	if (sent == 0 && write(fd, line, sizeof(line) - 1) < 0)
		return fail("write", errno);
	got = read(fd, answer, sizeof(answer) - 1);
	if (got <= 0)
		return fail("read", got < 0 ? errno : ECONNRESET);
	answer[got] = 0;
	printf("%s", answer);
	return 0;
}
