// Sockets bound to a device, and link-local addresses: each is served, or refused at once.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { demoNodes, initialState, meshText } from "../../demo/mesh/mesh-file.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";

let journey: Journey;
before(async () => {
  journey = await startJourney({ nodes: demoNodes }, (cluster) => meshText(cluster, initialState));
});
after(() => journey?.close());

const dial = (host: string, device: string): string => `
import errno, socket
s = socket.socket(socket.AF_INET6 if ":" in "${host}" else socket.AF_INET); s.settimeout(8)
try:
  if "${device}": s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"${device}")
  s.connect(socket.getaddrinfo("${host}", 8080, type=socket.SOCK_STREAM)[0][4]); s.send(b"hello\\n")
  print("answered" if s.recv(1) else "closed")
except OSError as error: print(errno.errorcode.get(error.errno, type(error).__name__))`;
const asNobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"];

describe("a client of the mesh", () => {
  for (const family of ["ip4", "ip6"] as const) {
    test(`bound to eth0 reaches pods of its node and of another node, ${family}`, async () => {
      for (const name of ["cache", "api", "legacy"]) {
        const host = journey.cluster.pod(name)[family];
        const done = await journey.cluster.pod("web").run(["python3", "-c", dial(host, "eth0")]);
        assert.equal(done.stdout.trim(), "answered", `${name}: ${done.stderr}`);
      }
    });

    test(`bound to eth0 without privileges is served or refused, and never hangs, ${family}`, async (t) => {
      const host = journey.cluster.pod("api")[family];
      const done = await journey.cluster.pod("web").run([...asNobody, "/usr/bin/python3", "-c", dial(host, "eth0")]);
      t.diagnostic(done.stdout.trim());
      assert.match(done.stdout, /^(answered|ENETUNREACH)$/m, done.stderr);
    });
  }

  test("that dials a link-local address gets the kernel's own answer", async () => {
    const shown = await journey.cluster
      .node("node-a")
      .run(["ip", "-6", "-o", "addr", "show", "dev", "pods", "scope", "link"]);
    const gateway = /fe80::[0-9a-f:]+/.exec(shown.stdout)?.[0];
    // Nobody listens there.
    const done = await journey.cluster.pod("web").run(["python3", "-c", dial(`${gateway}%eth0`, "")]);
    assert.equal(done.stdout.trim(), "ECONNREFUSED", done.stderr);
  });
});
