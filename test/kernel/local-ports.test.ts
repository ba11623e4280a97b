// Local ports of a captured pod (root): one port towards many destinations at once, and ports that run out for each destination alone.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { ORLOP_COUNT_IN_REFUSED_UNKNOWN, ORLOP_POD_SPREAD4, ORLOP_POD_SPREAD6 } from "../../agent/abi.ts";
import { HookBench, OUTSIDE6, POD4, POD6 } from "./hook-bench.ts";
import { dial } from "./namespace-programs.ts";

const DESTINATIONS = 200;

/** Connects to all of `hosts` from one local port, talks once all are open, and says how many were answered. */
const oneToMany = (bind: string, port: number, hosts: readonly string[]): string => `
import socket, errno
held, failed = [], set()
for host in ${JSON.stringify(hosts)}:
  s = socket.socket(socket.AF_INET6 if ":" in "${bind}" else socket.AF_INET); s.settimeout(10)
  s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("${bind}", ${port}))
  try: s.connect((host, 80)); held.append(s)
  except OSError as e: failed.add(errno.errorcode.get(e.errno, repr(e)))
for s in held: s.send(b"hello")
names = {(s.getsockname()[0].replace("::ffff:", ""), s.getsockname()[1]) for s in held}
print(sum(s.recv(9) == b"agent" for s in held), *sorted(names), *failed)`;

/** Opens and resets connections as its input says; each line: `open <bind> <port> <host>`, `close <port> <host>` or `reset`. */
const sockets = `
import errno, socket, struct, sys
held = {}
def end(key):
  s = held.pop(key); s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); s.close()
print("up", flush=True)
for line in sys.stdin:
  what, *rest = line.split()
  said = "done"
  if what == "open":
    bind, port, host = rest
    s = socket.socket(socket.AF_INET6 if ":" in bind else socket.AF_INET); s.settimeout(10)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
      s.bind((bind, int(port))); s.connect((host, 80)); s.send(b"hello"); said = s.recv(9).decode(); held[port, host] = s
    except OSError as e: said = errno.errorcode.get(e.errno, repr(e)); s.close()
  elif what == "close": end(tuple(rest))
  else:
    for key in list(held): end(key)
  print(said, flush=True)`;

const addresses = (prefix: string): string[] => Array.from({ length: DESTINATIONS }, (_, n) => `${prefix}${n + 1}`);

describe("local ports of a captured pod", { concurrency: 1 }, () => {
  const bench = new HookBench();
  const agents: Awaited<ReturnType<HookBench["agentListens"]>>[] = [];
  after(() => bench.remove());
  before(async () => {
    await bench.enrol(ORLOP_POD_SPREAD4 | ORLOP_POD_SPREAD6);
    bench.keepBeating();
    for (const [family, loopback, pod] of [
      [4, "127.0.0.1", POD4],
      [6, "::1", POD6],
    ] as const) {
      await bench.thread.routeToListener(bench.netnsFd, pod);
      await bench.thread.routeToListener(bench.netnsFd, pod);
      const agent = await bench.agentListens(loopback, 15001);
      bench.setInboundListener(family, agent.fd, 15001);
      agents.push(agent);
    }
  });
  /** What the listeners have seen since the last time, as sources and as what was meant. */
  const seen = (): { sources: Set<string>; destinations: (string | undefined)[] } => {
    const sources = agents.flatMap((agent) => agent.sources.splice(0));
    const locals = agents.flatMap((agent) => agent.locals.splice(0));
    const destinations = sources.map((source, index) => bench.destinationOf(source, locals[index] ?? ""));
    return { sources: new Set(sources), destinations };
  };

  let port = 7300;
  for (const [name, bind, pod, prefix] of [
    ["bound to 0.0.0.0", "0.0.0.0", POD4, "198.51.100."],
    ["bound to the pod's IPv4 address", POD4, POD4, "198.51.100."],
    ["bound to ::", "::", POD6, "2001:db8::"],
    ["bound to the pod's IPv6 address", POD6, POD6, "2001:db8::"],
    ["an IPv6 socket bound to ::, towards IPv4", "::", POD4, "::ffff:198.51.100."],
  ] as const) {
    test(`one port to ${DESTINATIONS} destinations at once, ${name}`, async () => {
      const hosts = addresses(prefix);
      port += 1;
      const said = await bench.inPod(oneToMany(bind, port, hosts));
      assert.equal(said, `${DESTINATIONS} ('${pod}', ${port})`);
      const { sources, destinations } = seen();
      assert.deepEqual([...sources], [`${pod} ${port}`]);
      assert.deepEqual(
        destinations.toSorted(),
        hosts.map((host) => `${host.replace("::ffff:", "")} 80`).toSorted(),
        "each is known by source and listener",
      );
    });
  }

  test("a second connection from one port to the same destination fails, as without a mesh", async () => {
    port += 1;
    const said = await bench.inPod(oneToMany(POD4, port, ["198.51.100.1", "198.51.100.1"]));
    assert.equal(said, `1 ('${POD4}', ${port}) EADDRNOTAVAIL`);
    seen();
  });

  test("connections that come and go at random: refused exactly where plain TCP would have one four-tuple twice", async () => {
    const program = bench.startInPod(sockets);
    assert.equal(await program.line(), "up");
    const say = async (text: string): Promise<string> => {
      program.say(text);
      return program.line();
    };
    const number = fc.integer({ min: 1, max: 4 });
    const step = fc.record({
      open: fc.boolean(),
      own: fc.boolean(),
      ip6: fc.boolean(),
      port: number.map((n) => 7400 + n),
      host: number,
    });
    const seenOutcomes = { agent: 0, EADDRNOTAVAIL: 0, closed: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 60 }), async (steps) => {
        const live = new Set<string>();
        for (const { open, own, ip6, port: from, host } of steps) {
          const to = `${ip6 ? "2001:db8::" : "198.51.100."}${host}`;
          const four = `${from} ${to}`;
          if (open) {
            const [any, address] = ip6 ? ["::", POD6] : ["0.0.0.0", POD4];
            const expected = live.has(four) ? "EADDRNOTAVAIL" : "agent";
            assert.equal(await say(`open ${own ? address : any} ${four}`), expected, four);
            seenOutcomes[expected] += 1;
            if (expected === "EADDRNOTAVAIL") continue;
            live.add(four);
            const { sources, destinations } = seen();
            assert.deepEqual([[...sources], destinations], [[`${address} ${from}`], [`${to} 80`]]);
          } else if (live.delete(four)) {
            await say(`close ${four}`);
            seenOutcomes.closed += 1;
          }
        }
        await say("reset");
      }),
      { numRuns: 60, verbose: true },
    );
    for (const [outcome, times] of Object.entries(seenOutcomes)) assert.ok(times > 50, `${outcome}: ${times}`);
    await program.end();
  });

  test("more connections than the pod has ephemeral ports, to four destinations", async () => {
    await bench.unseen(`open("/proc/sys/net/ipv4/ip_local_port_range", "w").write("40000 40099")`);
    for (const prefix of ["198.51.100.", "2001:db8::"]) {
      const said = await bench.inPod(`
import socket
def opened(n): return socket.create_connection(("${prefix}%d" % (n % 4 + 1), 80), 10)
held = [opened(n) for n in range(360)]
for s in held: s.send(b"hello")
print(sum(s.recv(9) == b"agent" for s in held), len({s.getsockname()[1] for s in held}) <= 100)`);
      assert.equal(said, "360 True");
      const { sources, destinations } = seen();
      assert.ok(sources.size <= 100);
      assert.deepEqual(new Set(destinations), new Set([1, 2, 3, 4].map((n) => `${prefix}${n} 80`)));
    }
  });

  test("a program that listens at such an address in the pod gets nothing", async () => {
    const dialled = "198.51.100.7";
    await bench.inPod(dial(dialled, 80));
    const listener = agents[0]?.locals.at(-1)?.split(" ")[0];
    assert.match(listener ?? "", /^127\.(19[2-9]|2\d\d)\./);
    const thief = bench.startInPod(`
import socket, sys
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("${listener}", 15001)); s.listen(9)
print("up", flush=True); sys.stdin.read()`);
    assert.equal(await thief.line(), "up");
    assert.equal(await bench.inPod(dial(dialled, 80)), `${dialled} 80 agent`);
    await thief.end();
    seen();
  });

  test("nobody outside reaches the listener at these addresses, not even from an address of the pod's node", async () => {
    const before = bench.count(ORLOP_COUNT_IN_REFUSED_UNKNOWN);
    const said = await bench.outside(`
import subprocess, socket, errno
subprocess.run(["ip", "-6", "route", "add", "100::/64", "via", "${POD6}"], check=True)
s = socket.socket(socket.AF_INET6); s.settimeout(5); s.bind(("${OUTSIDE6}", 0))
try: s.connect(("100::8000:1", 15001)); print("connected")
except OSError as e: print(errno.errorcode.get(e.errno, repr(e)))
subprocess.run(["ip", "-6", "route", "del", "100::/64"], check=True)`);
    assert.equal(said, "ECONNREFUSED");
    assert.equal(bench.count(ORLOP_COUNT_IN_REFUSED_UNKNOWN), before + 1);
  });

  test("an address that the mesh does not know as the pod's leads to the agent all the same", async () => {
    assert.equal(
      await bench.inPod(`
import socket
s = socket.socket(); s.settimeout(5); s.bind(("127.0.0.9", 0)); s.connect(("198.51.100.1", 80)); s.send(b"hello"); print(s.recv(9).decode())`),
      "agent",
    );
    assert.deepEqual(seen().destinations, ["198.51.100.1 80"]);
  });

  test("the routes go with the pod's other rule and route", async () => {
    const routes = (): Promise<string> =>
      bench.unseen(`
import subprocess
for family in "46": print(subprocess.run(["ip", "-" + family, "route", "show", "table", "local", "type", "local"], capture_output=True, text=True).stdout)`);
    assert.match(await routes(), /127\.192\.0\.0\/10 dev lo .*src 10\.99\.0\.2[\s\S]*100::\/64 dev lo .*src fd99::2/);
    await bench.thread.restoreNamespace(bench.netnsFd);
    await bench.thread.restoreNamespace(bench.netnsFd);
    assert.doesNotMatch(await routes(), /127\.192|100::/);
  });
});
