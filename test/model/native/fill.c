/* test model · fills pinned hash maps with entries that mean nothing, and takes them out again.
 *   fill full|free PIN...
 * Prints "PIN COUNT" for each map that is there. Keys begin with ee ee ee ee, which is no pod's index, cookie or address.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static long bpf(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static long change(int fd, const void *key, const void *value)
{
	union bpf_attr attr = {
	    .map_fd = fd, .key = (uintptr_t)key, .value = (uintptr_t)value, .flags = BPF_NOEXIST};

	if (value)
		return bpf(BPF_MAP_UPDATE_ELEM, &attr);
	attr.flags = 0;
	return bpf(BPF_MAP_DELETE_ELEM, &attr);
}

int main(int argc, char **argv)
{
	static unsigned char key[256], value[65536];

	if (argc < 3)
		return 2;
	for (int i = 2; i < argc; i++) {
		union bpf_attr open = {.pathname = (uintptr_t)argv[i]};
		struct bpf_map_info info = {0};
		union bpf_attr ask = {0};
		uint32_t count = 0;
		int fd = bpf(BPF_OBJ_GET, &open);

		if (fd < 0)
			continue;
		ask.info.bpf_fd = fd;
		ask.info.info = (uintptr_t)&info;
		ask.info.info_len = sizeof(info);
		if (bpf(BPF_OBJ_GET_INFO_BY_FD, &ask) || info.key_size < 8 || info.key_size > sizeof(key))
			return 3;
		memset(key, 0xee, sizeof(key));
		for (; count <= info.max_entries; count++) {
			memcpy(key + 4, &count, sizeof(count));
			if (change(fd, key, strcmp(argv[1], "full") ? NULL : value))
				break;
		}
		printf("%s %u\n", argv[i], count);
		close(fd);
	}
	return 0;
}
