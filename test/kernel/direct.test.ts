// Destinations outside the mesh (root, E1): plain TCP while the agent vouches that it has written the mesh, and never otherwise.
import assert from "node:assert/strict";
import { endianness } from "node:os";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import {
  ORLOP_COUNT_CONNECT_CAPTURED,
  ORLOP_COUNT_CONNECT_DIRECT_NO_AGENT,
  ORLOP_COUNT_CONNECT_OUTSIDE,
  ORLOP_COUNT_CONNECT_REFUSED_NO_AGENT,
  ORLOP_COUNT_CONNECT_UNANSWERED,
  ORLOP_OUT_DIRECT,
  ORLOP_OUT_REFUSE,
  ORLOP_OUT_UNANSWERED,
  ORLOP_POD_FAIL_DIRECT,
  ORLOP_SOCK_OUTSIDE,
  orlopPodIp,
} from "../../agent/abi.ts";
import { ipToBytes16 } from "../../agent/mesh/ip.ts";
import { until } from "../loopback/until.ts";
import { HookBench, LIMIT_NS, OUTSIDE4, OUTSIDE6, POD_IDX, POD4 } from "./hook-bench.ts";
import { dial } from "./namespace-programs.ts";

const PORT = 8090;
const CLOSED = 8091;

/** Answers each connection with the peer that it sees, until its input ends. */
const application = `
import socket, sys, threading
def answer(c, a):
  try: c.recv(9); c.send(("app " + a[0]).encode()); c.recv(1)
  except OSError: pass
def serve(address):
  s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
  s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind((address, ${PORT})); s.listen(512)
  def run():
    while True:
      c, a = s.accept()
      threading.Thread(target=answer, args=(c, a), daemon=True).start()
  threading.Thread(target=run, daemon=True).start()
for address in ("${OUTSIDE4}", "${OUTSIDE6}"): serve(address)
print("up", flush=True); sys.stdin.read()`;

/** What programs do and see, as one line: errno, addresses, urgent data, DSCP, device, lists of addresses. */
const behaviour = `
import asyncio, errno, socket
out = []
def attempt(name, act):
  try: out.append("%s=%s" % (name, act()))
  except OSError as e: out.append("%s!%s" % (name, errno.errorcode.get(e.errno, repr(e))))
def dialled(address, port, *options, bind=None):
  s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET); s.settimeout(5)
  for option in options: s.setsockopt(*option)
  if bind: s.bind(bind)
  s.connect((address, port)); return s
def talk(s):
  s.send(b"hello"); return "%s from %s to %s" % (s.recv(99).decode(), s.getsockname()[0], s.getpeername()[:2])
attempt("open4", lambda: talk(dialled("${OUTSIDE4}", ${PORT})))
attempt("open6", lambda: talk(dialled("${OUTSIDE6}", ${PORT})))
attempt("closed", lambda: talk(dialled("${OUTSIDE4}", ${CLOSED})))
attempt("unreachable", lambda: talk(dialled("203.0.113.1", 80)))
attempt("device", lambda: talk(dialled("${OUTSIDE4}", ${PORT}, (socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0\\0"))))
attempt("port", lambda: dialled("${OUTSIDE4}", ${PORT}, bind=("0.0.0.0", 7333)).getsockname())
attempt("dscp", lambda: dialled("${OUTSIDE4}", ${PORT}, (socket.IPPROTO_IP, socket.IP_TOS, 0xb8)).getsockopt(socket.IPPROTO_IP, socket.IP_TOS))
attempt("refused in two steps", lambda: (lambda s: (s.setblocking(False), s.connect_ex(("${OUTSIDE4}", ${CLOSED})), __import__("select").select([], [s], [], 5), s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))[3])(socket.socket()))
def second_host():
  for port in (${CLOSED}, ${PORT}):
    try: return talk(socket.create_connection(("${OUTSIDE4}", port), 5))
    except ConnectionRefusedError: out.append("next host")
attempt("list of hosts", second_host)
async def eyeballs():
  loop = asyncio.get_running_loop()
  async def two(*a, **k): return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("${OUTSIDE6}", ${CLOSED}, 0, 0)), (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("${OUTSIDE4}", ${PORT}))]
  loop.getaddrinfo = two
  reader, writer = await asyncio.open_connection("both.example", ${PORT}, happy_eyeballs_delay=0.25)
  writer.write(b"hello"); return (await reader.read(99)).decode()
attempt("happy eyeballs", lambda: asyncio.run(eyeballs()))
print("; ".join(out))`;

/** Dials once for each line of input, and says that it did. */
const dialler = `
import socket, sys
print("up", flush=True)
for line in sys.stdin:
  address, port = line.split()
  s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET); s.setblocking(False)
  s.connect_ex((address, int(port))); s.close()
  print("done", flush=True)`;

describe("destinations outside the mesh", { concurrency: 1 }, () => {
  const bench = new HookBench();
  let app: ReturnType<HookBench["startOutside"]>;
  after(async () => {
    await app?.end();
    bench.remove();
  });
  before(async () => {
    app = bench.startOutside(application);
    assert.equal(await app.line(), "up");
    await bench.agentListens("127.0.0.1", 15001);
    await bench.agentListens("::1", 15001);
  });

  const forget = (): void => {
    for (const key of bench.map("out_by_dst").keys()) bench.map("out_by_dst").delete(key);
  };

  test("programs see what they see without a mesh, and each connection has its events", async () => {
    const plain = await bench.inPod(behaviour);
    assert.match(plain, /open4=app 10\.99\.0\.2 from 10\.99\.0\.2 to .*; closed!ECONNREFUSED; unreachable!ENETUNREACH/);
    assert.match(plain, /happy eyeballs=app 10\.99\.0\.2$/);
    await bench.enrol();
    bench.keepBeating(true);
    bench.events();
    assert.equal(await bench.inPod(behaviour), plain);
    const wanted = new Set([
      ...["open", "close"].flatMap((type) => [`${type} ${OUTSIDE4} ${PORT}`, `${type} ${OUTSIDE6} ${PORT}`]),
      ...[OUTSIDE4, OUTSIDE6].map((address) => `fail ${address} ${CLOSED}`),
    ]);
    const seen = new Set<string>();
    await until(() => {
      const outside = bench.events().filter(({ flags }) => (flags & ORLOP_SOCK_OUTSIDE) !== 0);
      for (const { type, dst } of outside) seen.add(`${type} ${dst}`);
      return seen.size >= wanted.size;
    }, "events of each kind");
    assert.deepEqual(seen, wanted);
  });

  test("without the agent's word, with an entry, and at the port of tunnels: the agent's", async () => {
    bench.keepBeating(false);
    assert.equal(await bench.inPod(dial(OUTSIDE4, PORT)), `${OUTSIDE4} ${PORT} agent`);
    bench.keepBeating(true);
    assert.equal(await bench.inPod(dial(OUTSIDE4, 15008)), `${OUTSIDE4} 15008 agent`);
    for (const [port, verdict] of [
      [PORT, ORLOP_OUT_REFUSE],
      [0, ORLOP_OUT_DIRECT],
    ] as const) {
      bench.said("out_by_dst", [OUTSIDE4, port], verdict);
      assert.equal(await bench.inPod(dial(OUTSIDE4, PORT)), `${OUTSIDE4} ${PORT} agent`);
      forget();
    }
    bench.keepBeating(true);
    assert.equal(await bench.inPod(dial(OUTSIDE4, PORT)), `${OUTSIDE4} ${PORT} app ${POD4}`);
  });

  test("a direct connection ends once the mesh has its destination; another one goes on", async () => {
    bench.keepBeating(true);
    const held = bench.startInPod(`
import socket, errno, sys
one, other = socket.create_connection(("${OUTSIDE4}", ${PORT}), 5), socket.create_connection(("${OUTSIDE6}", ${PORT}), 5)
print("up", flush=True); sys.stdin.readline()
try: print("ended", len(one.recv(1)), flush=True)
except OSError as e:
  other.send(b"hello"); print(errno.errorcode[e.errno], other.recv(3).decode(), flush=True)
sys.stdin.read()`);
    assert.equal(await held.line(), "up");
    const sever = () => bench.sever();
    assert.equal(await sever(), 0);
    assert.equal(await bench.survey(), false);
    bench.said("out_by_dst", [OUTSIDE4, 0], ORLOP_OUT_REFUSE);
    assert.equal(await sever(), 1);
    held.say("");
    assert.equal(await held.line(), "ECONNABORTED app");
    await held.end();
    forget();
  });

  test("what nobody answers for is refused by connect() itself, as the kernel would, and only while the agent says so", async () => {
    forget();
    for (const address of [OUTSIDE4, OUTSIDE6])
      bench.said("out_by_dst", [address, 0], ORLOP_OUT_REFUSE | ORLOP_OUT_UNANSWERED);
    bench.keepBeating(true);
    bench.events();
    for (const address of [OUTSIDE4, OUTSIDE6]) assert.equal(await bench.inPod(dial(address, CLOSED)), "ECONNREFUSED");
    assert.deepEqual(
      bench.events().map(({ type, reason, dst }) => [type, reason, dst]),
      [OUTSIDE4, OUTSIDE6].map((address) => ["refused", ORLOP_COUNT_CONNECT_UNANSWERED, `${address} ${CLOSED}`]),
    );
    // Of an address that several workloads claim, and a pod of this node has, the agent decides.
    const here = new Uint8Array(orlopPodIp.size);
    new DataView(here.buffer).setUint32(orlopPodIp.podIdx, POD_IDX + 1, endianness() === "LE");
    bench.map("pod_by_ip").put(ipToBytes16(OUTSIDE4), here);
    assert.equal(await bench.inPod(dial(OUTSIDE4, PORT)), `${OUTSIDE4} ${PORT} agent`);
    bench.map("pod_by_ip").delete(ipToBytes16(OUTSIDE4));
    // An agent that has not written its whole mesh yet takes the connection.
    bench.keepBeating(false);
    const captured = bench.count(ORLOP_COUNT_CONNECT_CAPTURED);
    await bench.inPod(dial(OUTSIDE4, CLOSED));
    assert.equal(bench.count(ORLOP_COUNT_CONNECT_CAPTURED), captured + 1);
    forget();
  });

  test("thousands of tables, words of the agent and heartbeats: direct exactly where the model says so", async () => {
    bench.stopBeating();
    const dials = bench.startInPod(dialler);
    assert.equal(await dials.line(), "up");
    const addresses = [OUTSIDE4, OUTSIDE6, "10.99.0.77", "fd99::77"];
    const address = fc.constantFrom(...addresses);
    const port = fc.constantFrom(PORT, CLOSED, 15_008);
    const step = fc.record({
      entries: fc.array(
        fc.record({
          address,
          port: fc.constantFrom(0, PORT, CLOSED),
          verdict: fc
            .tuple(
              fc.constantFrom(ORLOP_OUT_REFUSE, ORLOP_OUT_DIRECT),
              fc.constantFrom(0, ORLOP_OUT_UNANSWERED, ORLOP_OUT_UNANSWERED),
            )
            .map(([verdict, unanswered]) => verdict | unanswered),
        }),
        { maxLength: 4 },
      ),
      written: fc.constantFrom(true, true, true, false),
      late: fc.constantFrom(false, false, false, true),
      failDirect: fc.boolean(),
      dialled: fc.record({ address, port }),
    });
    type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;
    const expected = ({ entries, written, late, failDirect, dialled }: Step): number => {
      const said = (at: number): number | undefined =>
        entries.findLast((entry) => entry.address === dialled.address && entry.port === at)?.verdict;
      const verdict = said(dialled.port) ?? said(0);
      if (late) {
        const without = (verdict ?? (failDirect ? ORLOP_OUT_DIRECT : ORLOP_OUT_REFUSE)) & ~ORLOP_OUT_UNANSWERED;
        return without === ORLOP_OUT_DIRECT
          ? ORLOP_COUNT_CONNECT_DIRECT_NO_AGENT
          : ORLOP_COUNT_CONNECT_REFUSED_NO_AGENT;
      }
      if (written && verdict !== undefined && (verdict & ORLOP_OUT_UNANSWERED) !== 0)
        return ORLOP_COUNT_CONNECT_UNANSWERED;
      return written && verdict === undefined && dialled.port !== 15_008
        ? ORLOP_COUNT_CONNECT_OUTSIDE
        : ORLOP_COUNT_CONNECT_CAPTURED;
    };
    const outcomes = [
      ORLOP_COUNT_CONNECT_OUTSIDE,
      ORLOP_COUNT_CONNECT_CAPTURED,
      ORLOP_COUNT_CONNECT_UNANSWERED,
      ORLOP_COUNT_CONNECT_DIRECT_NO_AGENT,
      ORLOP_COUNT_CONNECT_REFUSED_NO_AGENT,
    ];
    const tally = (): number[] => outcomes.map((counter) => bench.count(counter));
    const provoked = new Map<number, number>();
    let failDirectNow: boolean | undefined;
    await fc.assert(
      fc.asyncProperty(step, async (drawn) => {
        forget();
        for (const entry of drawn.entries) bench.said("out_by_dst", [entry.address, entry.port], entry.verdict);
        if (drawn.failDirect !== failDirectNow) await bench.enrol(drawn.failDirect ? ORLOP_POD_FAIL_DIRECT : 0);
        failDirectNow = drawn.failDirect;
        bench.beat(drawn.late ? LIMIT_NS * 2n : 0n, drawn.written);
        const before = tally();
        dials.say(`${drawn.dialled.address} ${drawn.dialled.port}`);
        assert.equal(await dials.line(), "done");
        const counted = tally().map((count, index) => count - (before[index] ?? 0));
        const want = expected(drawn);
        assert.deepEqual(
          counted,
          outcomes.map((counter) => (counter === want ? 1 : 0)),
        );
        provoked.set(want, (provoked.get(want) ?? 0) + 1);
      }),
      { numRuns: 4_000, verbose: true },
    );
    for (const counter of outcomes)
      assert.ok((provoked.get(counter) ?? 0) > 200, `${counter}: ${provoked.get(counter)}`);
    await dials.end();
  });
});
