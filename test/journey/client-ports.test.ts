// The server application sees the port that its client has bound, where that may be had; else another, and the call succeeds.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { appPorts } from "../../demo/app/server.ts";
import { demoNodes, initialState, meshText } from "../../demo/mesh/mesh-file.ts";
import type { Pod } from "../box/cluster.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";

let journey: Journey;
before(async () => {
  journey = await startJourney({ nodes: demoNodes }, (cluster) => meshText(cluster, initialState));
});
after(() => journey?.close());

/** From the own port, the port that the server says the client has. */
const dial = (host: string, port: number): string => `
import json, socket
s = socket.socket(socket.AF_INET6 if ":" in "${host}" else socket.AF_INET); s.settimeout(9)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("", ${port})); s.connect(("${host}", ${appPorts.echo})); own = s.getsockname()[1]; s.sendall(b"hello\\n")
print(own, json.loads(s.makefile().readline())["peer"])`;

async function seenPort(from: Pod, host: string, port: number): Promise<readonly [own: number, seen: number]> {
  const done = await from.run(["python3", "-c", dial(host, port)]);
  const [, own, seen] = /^(\d+) .*:(\d+)$/.exec(done.stdout.trim()) ?? [];
  assert.ok(own !== undefined && seen !== undefined, `${host}: ${done.stdout}${done.stderr}`);
  return [Number(own), Number(seen)];
}

for (const family of ["ip4", "ip6"] as const) {
  describe(`a client with a port of its own, ${family}`, () => {
    test("is seen with it by a pod of another node, again and again, and by a pod of its node that the agent dials", async () => {
      const { cluster } = journey;
      for (const port of [7_421, 7_421, 20_001]) {
        for (const [from, to] of [
          ["web", "vault"],
          ["vault", "api"],
        ] as const) {
          const [own, seen] = await seenPort(cluster.pod(from), cluster.pod(to)[family], port);
          assert.deepEqual([own, seen], [port, port], `${from} to ${to}`);
        }
      }
    });

    test("that the server's application listens at is seen with another", async () => {
      const { cluster } = journey;
      const port = family === "ip4" ? 7_500 : 7_501;
      const listen = `import socket, time
s = socket.create_server(("::", ${port}), family=socket.AF_INET6, dualstack_ipv6=True); print("up", flush=True); time.sleep(60)`;
      await cluster.pod("api").start(["python3", "-c", listen]).line(15_000);
      const [own, seen] = await seenPort(cluster.pod("web"), cluster.pod("api")[family], port);
      assert.equal(own, port);
      assert.notEqual(seen, own);
    });

    test("that the kernel has chosen, or that needs a privilege, is answered all the same", async () => {
      const { cluster } = journey;
      for (const port of [0, 700]) {
        const [own, seen] = await seenPort(cluster.pod("web"), cluster.pod("api")[family], port);
        assert.ok(own > 0 && seen > 0);
      }
    });
  });
}
