// A dial of the agent to an application has the client's address: its port is never a port of the client's own.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { demoNodes, initialState, meshText } from "../../demo/mesh/mesh-file.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";

const RANGE = "40000 40099";
const HELD = 20;
const CALLS = 10_000;

let journey: Journey;
before(async () => {
  journey = await startJourney({ nodes: demoNodes }, (cluster) => meshText(cluster, initialState));
});
after(() => journey?.close());

/** Holds some connections and makes many short ones beside them, then asks whether those that it held still answer. */
const client = (host: string): string => `
import socket, struct, collections
def dial():
  s = socket.create_connection(("${host}", 8080), timeout=10); s.sendall(b"hello\\n"); assert s.recv(4096); return s
held = [dial() for _ in range(${HELD})]
bad = collections.Counter()
for n in range(${CALLS}):
  try:
    s = dial()
    # A reset: the client's ports would wait for a minute after an orderly end.
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); s.close()
  except Exception as e: bad["failed: " + type(e).__name__] += 1
  if len(bad) and sum(bad.values()) > 20: break
for s in held:
  try:
    s.sendall(b"again\\n"); assert s.recv(4096)
  except Exception as e: bad["cut: " + type(e).__name__] += 1
print(dict(bad))`;

// The policy of `api` makes the agent judge plaintext; `legacy` is outside the mesh.
for (const family of ["ip4", "ip6"] as const) {
  test(`client and pod have the same 100 ports, ${family}: no call fails and no connection is cut`, async () => {
    const [from, to] = [journey.cluster.pod("legacy"), journey.cluster.pod("api")];
    for (const pod of [from, to]) {
      await pod.run(["sh", "-c", `echo ${RANGE} > /proc/sys/net/ipv4/ip_local_port_range`]);
    }
    const done = await from.run(["python3", "-c", client(to[family])], 240_000);
    assert.equal(done.stdout.trim(), "{}", done.stderr);
  });
}
