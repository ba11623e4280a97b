// SPDX-License-Identifier: Apache-2.0
// Connects by io_uring, on raw system calls: ./uring-connect ADDRESS PORT
// prints what getpeername says, or the errno.
#include <arpa/inet.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc != 3)
    return 2;
  struct io_uring_params params = {0};
  int ring = (int)syscall(__NR_io_uring_setup, 4, &params);
  if (ring < 0) {
    perror("io_uring_setup");
    return 3;
  }
  size_t sq_size = params.sq_off.array + params.sq_entries * sizeof(uint32_t);
  size_t cq_size =
      params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
  char *sq = mmap(NULL, sq_size, PROT_READ | PROT_WRITE, MAP_SHARED, ring,
                  IORING_OFF_SQ_RING);
  char *cq = mmap(NULL, cq_size, PROT_READ | PROT_WRITE, MAP_SHARED, ring,
                  IORING_OFF_CQ_RING);
  struct io_uring_sqe *sqes =
      mmap(NULL, params.sq_entries * sizeof(*sqes), PROT_READ | PROT_WRITE,
           MAP_SHARED, ring, IORING_OFF_SQES);
  if (sq == MAP_FAILED || cq == MAP_FAILED || sqes == MAP_FAILED)
    return 4;

  struct sockaddr_in to = {.sin_family = AF_INET,
                           .sin_port = htons((uint16_t)atoi(argv[2]))};
  if (inet_pton(AF_INET, argv[1], &to.sin_addr) != 1)
    return 2;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  memset(&sqes[0], 0, sizeof(sqes[0]));
  sqes[0].opcode = IORING_OP_CONNECT;
  sqes[0].fd = fd;
  sqes[0].addr = (uint64_t)(uintptr_t)&to;
  sqes[0].off = sizeof(to);
  sqes[0].flags = IOSQE_ASYNC; // In a kernel worker, not in our own call.
  ((uint32_t *)(sq + params.sq_off.array))[0] = 0;
  __atomic_store_n((uint32_t *)(sq + params.sq_off.tail), 1, __ATOMIC_RELEASE);
  if (syscall(__NR_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL,
              0) < 0) {
    perror("io_uring_enter");
    return 3;
  }
  int result = ((struct io_uring_cqe *)(cq + params.cq_off.cqes))[0].res;
  if (result < 0) {
    printf("%s\n", strerrorname_np(-result));
    return 0;
  }
  struct sockaddr_in peer;
  socklen_t size = sizeof(peer);
  char text[INET_ADDRSTRLEN];
  if (getpeername(fd, (struct sockaddr *)&peer, &size) != 0)
    return 5;
  printf("%s %d\n", inet_ntop(AF_INET, &peer.sin_addr, text, sizeof(text)),
         ntohs(peer.sin_port));
  return 0;
}
