// support of test/kernel (root) · programs of the node that dial a pod, in Python, and what keeper and agent write of them into the kernel's maps.
import { statSync } from "node:fs";
import { endianness } from "node:os";
import { orlopInKey, orlopNodeAccess } from "../../agent/abi.ts";
import { type HookBench, POD_IDX } from "./hook-bench.ts";

const little = endianness() === "LE";
const one = Uint8Array.from([1, 0, 0, 0]);
export const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Dials as it is asked, line by line: `<address> <port> <source port, or 0> [keep|mptcp]`, and says what came of it. */
export const dialler = `
import errno, socket, sys
kept = []
print("up", flush=True)
for line in sys.stdin:
  address, port, source, *keep = line.split()
  s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 262 if keep == ["mptcp"] else 0)
  s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\\1\\0\\0\\0\\0\\0\\0\\0")
  s.settimeout(20)
  try:
    if source != "0": s.bind(("::" if ":" in address else "0.0.0.0", int(source)))
    s.connect((address, int(port))); s.send(b"hello"); answer = s.recv(9).decode() or "closed"
  except OSError as e: answer = errno.errorcode.get(e.errno, repr(e))
  if keep == ["keep"]: kept.append(s)
  else: s.close()
  print(answer, flush=True)
`;

/** Answers every connection on these ports and both families, and keeps it open until the client ends it. */
export const application = (ports: readonly number[]): string => `
import selectors, socket
sel = selectors.DefaultSelector()
for port in ${JSON.stringify(ports)}:
  s = socket.socket(socket.AF_INET6); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0); s.bind(("::", port)); s.listen(512); s.setblocking(False)
  sel.register(s, selectors.EVENT_READ, True)
print("up", flush=True)
while True:
  for key, _ in sel.select():
    if key.data:
      c, _ = key.fileobj.accept(); sel.register(c, selectors.EVENT_READ, False)
      continue
    try:
      if key.fileobj.recv(9): key.fileobj.send(b"app"); continue
    except OSError: pass
    sel.unregister(key.fileobj); key.fileobj.close()
`;

/** Python that sends a single SYN with these ends. */
export const forgedSyn = (source: string, sourcePort: number, destination: string, port: number): string => `
import socket, struct
def checksum(data):
  total = sum(struct.unpack("!%dH" % (len(data) // 2), data)); total = (total >> 16) + (total & 0xffff)
  return ~(total + (total >> 16)) & 0xffff
src, dst = socket.inet_aton("${source}"), socket.inet_aton("${destination}")
def tcp(sum): return struct.pack("!HHLLBBHHH", ${sourcePort}, ${port}, 1, 0, 5 << 4, 2, 64240, sum, 0)
pseudo = src + dst + struct.pack("!BBH", 0, 6, 20)
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
s.sendto(tcp(checksum(pseudo + tcp(0))), ("${destination}", 0))
`;

export const cgroupId = (path: string): bigint => statSync(path, { bigint: true }).ino;

/** What keeper and agent write of programs of the node. */
export function wordsOf(bench: HookBench) {
  const idKey = (id: bigint): Uint8Array => {
    const key = new Uint8Array(8);
    view(key).setBigUint64(0, id, little);
    return key;
  };
  return {
    letIn: (id: bigint, yes = true): void => {
      if (yes) bench.map("node_cgroup").put(idKey(id), one);
      else bench.map("node_cgroup").delete(idKey(id));
    },
    /** @param netns cookie of the node's own namespace */
    access: (netns: bigint, everybody = false, podsCgroup = 0n): void => {
      const value = new Uint8Array(orlopNodeAccess.size);
      view(value).setBigUint64(orlopNodeAccess.netnsCookie, netns, little);
      view(value).setBigUint64(orlopNodeAccess.podsCgroup, podsCgroup, little);
      view(value).setUint32(orlopNodeAccess.everybody, everybody ? 1 : 0, little);
      bench.map("node_access").put(new Uint8Array(4), value);
    },
    /** Port 0: any. */
    openPort: (port: number, yes = true): void => {
      const key = new Uint8Array(orlopInKey.size);
      view(key).setUint32(orlopInKey.podIdx, POD_IDX, little);
      view(key).setUint16(orlopInKey.port, port, false);
      if (yes) bench.map("node_port").put(key, one);
      else bench.map("node_port").delete(key);
    },
  };
}
