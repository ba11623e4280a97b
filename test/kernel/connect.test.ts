// The connect, getpeername and sockops hooks against real sockets (root): what is captured, refused or left alone.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  ORLOP_COUNT_CONNECT_NO_FAMILY,
  ORLOP_COUNT_CONNECT_REFUSED_NO_AGENT,
  ORLOP_COUNT_CONNECT_REFUSED_PORT,
  ORLOP_DIRECTION_OUT,
  ORLOP_OUT_DIRECT,
  ORLOP_OUT_REFUSE,
  ORLOP_POD_FAIL_DIRECT,
} from "../../agent/abi.ts";
import { HookBench, LIMIT_NS, OUTSIDE4, POD4, POD6 } from "./hook-bench.ts";
import { dial } from "./namespace-programs.ts";

describe("connects of a pod", { concurrency: 1 }, () => {
  const bench = new HookBench();
  after(() => bench.remove());
  let v4: Awaited<ReturnType<HookBench["agentListens"]>>;
  let v6: typeof v4;
  before(async () => {
    v4 = await bench.agentListens("127.0.0.1", 15001);
    v6 = await bench.agentListens("::1", 15001);
  });

  test("not enrolled: untouched", async () => {
    bench.beat(0n);
    assert.equal(
      await bench.inPod(dial(OUTSIDE4, 9)),
      "ECONNREFUSED",
      "nobody listens outside, and nobody captured it",
    );
    assert.equal(v4.sources.length, 0);
  });

  const cases: readonly (readonly [name: string, address: string, port: number, shown: string, options?: object])[] = [
    ["IPv4", "192.0.2.10", 80, "192.0.2.10"],
    ["IPv6", "2001:db8::10", 443, "2001:db8::10"],
    ["v4-mapped", "::ffff:192.0.2.11", 81, "192.0.2.11"],
    ["TCP Fast Open", "192.0.2.12", 82, "192.0.2.12", { fastOpen: true }],
    ["MPTCP", "192.0.2.13", 83, "192.0.2.13", { mptcp: true }],
    ["another agent's HBONE port", OUTSIDE4, 15008, OUTSIDE4],
    ["the pod's own HBONE port", POD4, 15008, POD4],
  ];
  for (const [name, address, port, shown, options] of cases) {
    test(`${name}: captured, published, and the application sees what it dialled`, async () => {
      await bench.enrol();
      bench.beat(0n);
      const seen = shown.includes(":") ? v6 : v4;
      seen.sources.length = 0;
      assert.equal(await bench.inPod(dial(address, port, options)), `${address} ${port} agent`);
      const [source] = seen.sources;
      assert.equal(bench.flows().get(source ?? "none"), `${shown} ${port}`);
    });
  }

  for (const [bound, port, address, source] of [
    ["0.0.0.0", 0, "192.0.2.14", POD4],
    ["0.0.0.0", 7001, "192.0.2.14", POD4],
    ["::", 0, "2001:db8::14", POD6],
    ["::", 7002, "2001:db8::14", POD6],
    ["::", 7003, "::ffff:192.0.2.14", POD4],
    ["::ffff:0.0.0.0", 7004, "::ffff:192.0.2.14", POD4],
  ] as const) {
    test(`bound to ${bound} port ${port} and no address: captured from the pod's own address and that port`, async () => {
      await bench.enrol();
      bench.beat(0n);
      const seen = source === POD6 ? v6 : v4;
      bench.setInboundListener(source === POD6 ? 6 : 4, seen.fd, 15001);
      seen.sources.length = 0;
      const code = `
import socket
s = socket.socket(socket.AF_INET6 if ":" in "${bound}" else socket.AF_INET); s.settimeout(5)
s.bind(("${bound}", ${port})); chosen = s.getsockname()[1]
s.connect(("${address}", 80)); s.send(b"hello")
print(chosen, *s.getpeername()[:2], s.recv(9).decode(), s.getsockname()[0].replace("::ffff:", ""))`;
      const [chosen, ...rest] = (await bench.inPod(code)).split(" ");
      assert.deepEqual(rest, [address, "80", "agent", source]);
      if (port !== 0) assert.equal(chosen, String(port));
      assert.deepEqual(seen.sources, [`${source} ${chosen}`]);
      assert.equal(bench.flows().get(`${source} ${chosen}`), `${address.replace("::ffff:", "")} 80`);
    });
  }

  test("a reconnect goes to the new destination, and an uncaptured one shows none of the old", async () => {
    bench.beat(0n);
    v4.sources.length = 0;
    const code = `
import socket, ctypes
s = socket.socket(); s.settimeout(5)
unspec = (ctypes.c_char * 16)()
libc = ctypes.CDLL(None)
out = []
for address, port in (("192.0.2.20", 80), ("192.0.2.21", 81), ("127.0.0.1", 15001)):
  s.connect((address, port)); out.append("%s %d" % s.getpeername())
  assert libc.connect(s.fileno(), unspec, 16) == 0
print(", ".join(out))`;
    assert.equal(await bench.inPod(code), "192.0.2.20 80, 192.0.2.21 81, 127.0.0.1 15001");
    const published = [...bench.flows().values()];
    assert.ok(published.includes("192.0.2.20 80") && published.includes("192.0.2.21 81"));
  });

  test("Orlop's inner ports on any address but loopback are refused", async () => {
    const before = bench.count(ORLOP_COUNT_CONNECT_REFUSED_PORT);
    for (const port of [15001, 15006]) {
      assert.equal(await bench.inPod(dial(OUTSIDE4, port)), "ECONNREFUSED");
      assert.equal(await bench.inPod(dial(POD4, port)), "ECONNREFUSED");
    }
    assert.equal(bench.count(ORLOP_COUNT_CONNECT_REFUSED_PORT), before + 4);
  });

  test("no fresh heartbeat: refused unless somebody vouched for the destination", async () => {
    await bench.enrol();
    bench.beat(LIMIT_NS * 2n);
    bench.events();
    const before = bench.count(ORLOP_COUNT_CONNECT_REFUSED_NO_AGENT);
    assert.equal(await bench.inPod(dial("192.0.2.30", 80)), "ECONNREFUSED");
    assert.equal(bench.count(ORLOP_COUNT_CONNECT_REFUSED_NO_AGENT), before + 1);
    assert.deepEqual(
      bench.events().map(({ type, dst, reason }) => [type, dst, reason]),
      [["refused", "192.0.2.30 80", ORLOP_COUNT_CONNECT_REFUSED_NO_AGENT]],
    );
    const server = bench.outside(
      `import socket; s=socket.create_server(("${OUTSIDE4}", 8080)); s.settimeout(10)
for _ in range(2): c,_a = s.accept(); c.recv(9); c.send(b"direct"); c.close()`,
    );
    await bench.listensOutside(8080);
    bench.said("out_by_dst", [OUTSIDE4, 8080], ORLOP_OUT_DIRECT);
    assert.equal(await bench.inPod(dial(OUTSIDE4, 8080)), `${OUTSIDE4} 8080 direct`);
    assert.ok(bench.events().some(({ type, dst }) => type === "direct" && dst === `${OUTSIDE4} 8080`));
    await bench.enrol(ORLOP_POD_FAIL_DIRECT);
    bench.said("out_by_dst", [OUTSIDE4, 8080], ORLOP_OUT_REFUSE);
    assert.equal(await bench.inPod(dial(OUTSIDE4, 8080)), "ECONNREFUSED", "the destination's own word comes first");
    bench.map("out_by_dst").delete(bench.map("out_by_dst").keys()[0] ?? new Uint8Array(20));
    assert.equal(await bench.inPod(dial(OUTSIDE4, 8080)), `${OUTSIDE4} 8080 direct`, "then the pod's");
    await server;
  });

  test("a family the pod has no address of: unreachable, never past the agent", async () => {
    await bench.enrol(0, [POD4]);
    bench.beat(0n);
    const before = bench.count(ORLOP_COUNT_CONNECT_NO_FAMILY);
    assert.equal(await bench.inPod(dial("2001:db8::1", 80)), "ENETUNREACH");
    assert.equal(bench.count(ORLOP_COUNT_CONNECT_NO_FAMILY), before + 1);
    await bench.enrol();
  });

  test("opened, ended and failed: each once, with exact bytes", async () => {
    bench.beat(0n);
    bench.events();
    const code = `
import socket
for size in (1000, 10):
  s = socket.create_connection(("192.0.2.40", 4000)); s.send(b"x" * size)
  while s.recv(100): pass
  s.close()`;
    await bench.inPod(code);
    await bench.untilEnded(ORLOP_DIRECTION_OUT, 4000, 2);
    const sums = bench.traffic(ORLOP_DIRECTION_OUT, 4000);
    assert.deepEqual(sums, { opened: 2, closed: 2, failed: 0, sentBytes: 1010, receivedBytes: 10 });
    assert.deepEqual(bench.events(), [], "the agent tells of them");
    v4.close();
    const flows = bench.flows().size;
    assert.equal(await bench.inPod(dial("192.0.2.41", 4001)), "ECONNREFUSED");
    assert.equal(bench.traffic(ORLOP_DIRECTION_OUT, 4001).failed, 1);
    assert.deepEqual(
      bench.events().map(({ type, dst }) => [type, dst]),
      [["fail", "192.0.2.41 4001"]],
      "of this one it never heard",
    );
    assert.equal(bench.flows().size, flows, "what failed is not left for the agent");
  });
});
