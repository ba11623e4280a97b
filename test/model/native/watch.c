/* test model · reads a wire for what pods say in the clear.
 *   watch INTERFACE FAR4 FAR6 NAME=ADDRESS...     FAR: to whom the pods' own calls go, port 8080
 * Prints "watching" once it reads, then every 20 ms what it saw of packets from these addresses:
 *   own NAME FIRST LAST PACKETS BYTES      TCP to FAR:8080: beginnings and payload of calls that nobody captured
 *   answer NAME FIRST LAST PACKETS BYTES   other TCP with payload, neither from nor to :15008
 *   odd NAME FIRST LAST PACKETS BYTES      neither TCP nor ICMP
 *   gaps N                                 packets that the kernel dropped: then the watch proves nothing
 *   read UNTIL                             every packet that came until then was looked at
 * BYTES: payload. Times are CLOCK_REALTIME in microseconds, of packets when they came and not when they were read. */
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_ADDRESSES 64
#define MAX_NAMES     16
#define HBONE_PORT    15008
#define FAR_PORT      8080
#define TCP_SYN	      0x02
#define TCP_RESET     0x04
#define TELL_US	      20000

enum kind { OWN, ANSWER, ODD, KINDS };
static const char *const kind_names[] = {"own", "answer", "odd"};

struct seen {
	int64_t first, last;
	unsigned long packets, bytes;
};

struct address {
	unsigned char bytes[16];
	int length, name;
};

static struct address addresses[MAX_ADDRESSES], far4, far6;
static char names[MAX_NAMES][64];
static struct seen seen[MAX_NAMES][KINDS];
static int address_count, name_count;

static int64_t now_us(void)
{
	struct timespec at;

	clock_gettime(CLOCK_REALTIME, &at);
	return at.tv_sec * 1000000LL + at.tv_nsec / 1000;
}

static void read_address(const char *text, struct address *to)
{
	if (inet_pton(AF_INET, text, to->bytes) == 1)
		to->length = 4;
	else if (inet_pton(AF_INET6, text, to->bytes) == 1)
		to->length = 16;
	else
		exit(2);
}

static int name_index(const char *name)
{
	for (int i = 0; i < name_count; i++)
		if (!strcmp(names[i], name))
			return i;
	snprintf(names[name_count], sizeof(names[0]), "%s", name);
	return name_count++;
}

static int is_address(const struct address *address, const unsigned char *bytes, int length)
{
	return address->length == length && !memcmp(address->bytes, bytes, length);
}

static void note(int name, enum kind kind, unsigned long bytes, int64_t came)
{
	struct seen *entry = &seen[name][kind];

	entry->last = came;
	if (entry->packets++ == 0)
		entry->first = entry->last;
	entry->bytes += bytes;
}

static void look_at(const unsigned char *frame, size_t length, int64_t came)
{
	const unsigned char *ip = frame + 14, *from, *to, *tcp;
	int is6 = frame[12] == 0x86, size = is6 ? 16 : 4, protocol, name = -1;
	size_t header, total;

	if (length < (size_t)(14 + (is6 ? 40 : 20)))
		return;
	from = ip + (is6 ? 8 : 12);
	to = from + size;
	protocol = is6 ? ip[6] : ip[9];
	header = is6 ? 40 : (ip[0] & 15) * 4;
	total = is6 ? 40 + (size_t)(ip[4] << 8 | ip[5]) : (size_t)(ip[2] << 8 | ip[3]);
	if (total > length - 14)
		total = length - 14;
	for (int i = 0; i < address_count; i++)
		if (is_address(&addresses[i], from, size))
			name = addresses[i].name;
	/* Hop-by-hop options: multicast listener reports. */
	if (name < 0 || protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6 || (is6 && protocol == 0))
		return;
	if (protocol != IPPROTO_TCP || total < header + 20) {
		note(name, ODD, total > header ? total - header : 0, came);
		return;
	}
	tcp = ip + header;
	int from_port = tcp[0] << 8 | tcp[1], to_port = tcp[2] << 8 | tcp[3];
	size_t offset = header + (tcp[12] >> 4) * 4;

	if (tcp[13] & TCP_RESET || from_port == HBONE_PORT || to_port == HBONE_PORT)
		return;
	size_t bytes = total > offset ? total - offset : 0;
	int own = to_port == FAR_PORT && is_address(is6 ? &far6 : &far4, to, size);

	/* Of connections that were opened in time and are ended there may still be acknowledgements. */
	if (bytes > 0 || (own && tcp[13] & TCP_SYN))
		note(name, own ? OWN : ANSWER, bytes, came);
}

static void tell(int fd, int64_t read_until)
{
	struct tpacket_stats stats;
	socklen_t length = sizeof(stats);

	for (int name = 0; name < name_count; name++)
		for (int kind = 0; kind < KINDS; kind++) {
			struct seen *entry = &seen[name][kind];

			if (entry->packets)
				printf("%s %s %lld %lld %lu %lu\n", kind_names[kind], names[name],
				       (long long)entry->first, (long long)entry->last, entry->packets, entry->bytes);
			memset(entry, 0, sizeof(*entry));
		}
	if (!getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &length) && stats.tp_drops)
		printf("gaps %u\n", stats.tp_drops);
	printf("read %lld\n", (long long)read_until);
	fflush(stdout);
}

/* When the packet came; `read_at` where the kernel does not say it. */
static int64_t came_at(struct msghdr *message, int64_t read_at)
{
	struct cmsghdr *part = CMSG_FIRSTHDR(message);
	struct timespec at;

	if (!part || part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_TIMESTAMPNS)
		return read_at;
	memcpy(&at, CMSG_DATA(part), sizeof(at));
	return at.tv_sec * 1000000LL + at.tv_nsec / 1000;
}

/* The next packet. 0: there is none. */
static int look(int fd, int64_t now)
{
	static unsigned char frame[70000];
	char parts[CMSG_SPACE(sizeof(struct timespec))];
	struct iovec whole = {.iov_base = frame, .iov_len = sizeof(frame)};
	struct msghdr message = {
	    .msg_iov = &whole, .msg_iovlen = 1, .msg_control = parts, .msg_controllen = sizeof(parts)};
	ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT);

	if (got > 14)
		look_at(frame, got, came_at(&message, now));
	return got >= 0;
}

/* In the kernel: IP only, and no TCP that the pods' prefix did not send (10.90.1.0/24, fd90:0:0:1::/64),
 * since refused attempts are most of what there is. */
static struct sock_filter code[] = {
    BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 0, 3),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 26),
    BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xffffff00),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x0a5a0100, 5, 6),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IPV6, 0, 5),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 22),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xfd900000, 0, 3),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 26),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, 0x40000),
    BPF_STMT(BPF_RET | BPF_K, 0),
};

int main(int argc, char **argv)
{
	struct sock_fprog filter = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
	struct sockaddr_ll on = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};
	int fd, room = 16 << 20, yes = 1;
	int64_t told = now_us(), read_until = told;

	if (argc < 5 || argc - 4 > MAX_ADDRESSES)
		return 2;
	read_address(argv[2], &far4);
	read_address(argv[3], &far6);
	for (int i = 4; i < argc; i++) {
		char *equals = strchr(argv[i], '=');
		struct address *address = &addresses[address_count++];

		if (!equals)
			return 2;
		read_address(equals + 1, address);
		*equals = 0;
		address->name = name_index(argv[i]);
	}
	fd = socket(AF_PACKET, SOCK_RAW, 0);
	on.sll_ifindex = if_nametoindex(argv[1]);
	if (fd < 0 || on.sll_ifindex == 0)
		return 3;
	setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &yes, sizeof(yes));
	if (bind(fd, (struct sockaddr *)&on, sizeof(on)))
		return 3;
	printf("watching\n");
	fflush(stdout);
	for (;;) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		int64_t now;
		int got;

		poll(&ready, 1, TELL_US / 1000);
		/* All that is there: on a wire that is never still a wait between two packets would find the next. */
		do {
			now = now_us();
			got = look(fd, now);
		} while (got && now - told < TELL_US);
		if (!got)
			read_until = now;
		if (now - told >= TELL_US) {
			tell(fd, read_until);
			told = now;
		}
	}
}
