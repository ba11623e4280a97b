// What the keeper ends in a pod's namespace (root): plaintext that its application accepted, under whatever index and before there
// was any, and handshakes that began when they were allowed; by sock_diag, against real sockets.
import assert from "node:assert/strict";
import { endianness } from "node:os";
import { after, describe, test } from "node:test";
import { ORLOP_IN_AGENT, ORLOP_IN_PASS, ORLOP_IN_REFUSE, orlopInKey, orlopTuple } from "../../agent/abi.ts";
import { ipToBytes16 } from "../../agent/mesh/ip.ts";
import { until } from "../loopback/until.ts";
import { HookBench, OUTSIDE4, POD_IDX, POD4, POD6 } from "./hook-bench.ts";
import type { StartedProgram } from "./namespace-programs.ts";

const PORT = 8000;
const little = endianness() === "LE";
const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Accepts connections on every address, answers what they say, until its input closes. */
const server = `
import socket, sys, threading
s = socket.socket(socket.AF_INET6); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0); s.bind(("::", ${PORT})); s.listen()
def serve(c):
  try:
    while c.recv(9): c.send(b"yes")
  except OSError: pass
def accept():
  while True: threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
threading.Thread(target=accept, daemon=True).start()
print("listening", flush=True); sys.stdin.read()`;

/** Connects, says so, and says at the next line how the connection does. */
const client = (address: string): string => `
import socket, errno, sys
s = socket.create_connection(("${address}", ${PORT}), 5)
def asked():
  try: s.send(b"x"); return s.recv(9).decode() or "end"
  except OSError as e: return errno.errorcode.get(e.errno, repr(e))
print(asked(), flush=True)
for line in sys.stdin: print(asked(), flush=True)`;

/**
 * Dials through a filter that withholds every packet from its socket, says its port, and at the next line takes the filter away and
 * says what becomes of the handshake.
 */
const halfOpen = `
import socket, struct, ctypes, errno, sys, select
drop = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HL", 1, ctypes.addressof(drop)))
s.setblocking(False); s.connect_ex(("${POD4}", ${PORT})); print(s.getsockname()[1], flush=True)
sys.stdin.readline(); s.setsockopt(socket.SOL_SOCKET, 27, 0)
select.select([], [s], [], 60); e = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
print(errno.errorcode[e] if e else "connected", flush=True)`;

function ask(program: StartedProgram): Promise<string> {
  program.say("");
  return program.line();
}

describe("what a sweep of a pod ends", { concurrency: 1 }, () => {
  const bench = new HookBench();
  after(() => bench.remove());
  const sweep = (podIdx = POD_IDX): Promise<number> => bench.sever(bench.netnsFd, podIdx);
  const saidOf = (podIdx: number, verdict: number): void => {
    const key = new Uint8Array(orlopInKey.size);
    view(key).setUint32(orlopInKey.podIdx, podIdx, little);
    const value = new Uint8Array(4);
    view(value).setUint32(0, verdict, little);
    bench.map("in_by_port").put(key, value);
  };

  test("a map in another's place is refused: the kernel would write its value past ours", async () => {
    for (const nth of bench.severFds.keys()) {
      const fds = bench.severFds.with(nth, bench.map("counters").fd);
      await assert.rejects(bench.thread.sever(bench.netnsFd, fds, POD_IDX), { code: "EINVAL" }, `${nth}`);
    }
  });

  test("a connection from before the pod was enrolled is judged like any other", async () => {
    bench.programs.detach(bench.lookupPin);
    const app = bench.startInPod(server);
    await app.line();
    const callers = [POD4, POD6].map((address) => bench.startOutside(client(address)));
    for (const caller of callers) assert.equal(await caller.line(), "yes");
    const within = bench.startInPod(client(POD4));
    assert.equal(await within.line(), "yes");
    bench.programs.attachNamespace(bench.netnsFd, bench.lookupPin, 0);
    await bench.enrol();
    saidOf(POD_IDX, ORLOP_IN_PASS);
    assert.equal(await sweep(), 0);
    assert.equal(await bench.survey(), false);
    saidOf(POD_IDX, ORLOP_IN_REFUSE);
    assert.equal(await sweep(), 2);
    for (const caller of callers) assert.equal(await ask(caller), "ECONNRESET");
    assert.equal(await ask(within), "yes", "what the pod says to itself is its own affair");
    for (const program of [...callers, within, app]) await program.end();
  });

  test("plaintext is judged under the index that the pod has now", async () => {
    const app = bench.startInPod(server);
    await app.line();
    saidOf(POD_IDX, ORLOP_IN_PASS);
    const other = POD_IDX + 1;
    saidOf(other, ORLOP_IN_PASS);
    const caller = bench.startOutside(client(POD4));
    assert.equal(await caller.line(), "yes");
    assert.equal(await sweep(), 0);
    assert.equal(await bench.survey(), false);
    assert.equal(await sweep(other), 0);
    assert.equal(await sweep(0), 0, "a pod that has left the mesh keeps it");
    saidOf(other, ORLOP_IN_AGENT);
    assert.equal(await sweep(other), 1);
    assert.equal(await ask(caller), "ECONNRESET");
    const again = bench.startOutside(client(POD6));
    assert.equal(await again.line(), "yes");
    assert.equal(await sweep(POD_IDX + 2), 1, "nothing was said of that pod");
    assert.equal(await ask(again), "ECONNRESET");
    const last = bench.startOutside(client(POD6));
    assert.equal(await last.line(), "yes");
    bench.map("pod_by_ip").delete(ipToBytes16(POD6));
    assert.equal(await sweep(), 0, "an address that is not listed is the pod's all the same");
    saidOf(POD_IDX, ORLOP_IN_REFUSE);
    assert.equal(await sweep(), 1);
    assert.equal(await ask(last), "ECONNRESET");
    for (const program of [caller, again, last, app]) await program.end();
  });

  test("a handshake that began while plaintext could pass never becomes a connection", async () => {
    const app = bench.startInPod(server);
    await app.line();
    saidOf(POD_IDX, ORLOP_IN_PASS);
    const caller = bench.startOutside(halfOpen);
    const port = Number(await caller.line());
    await bench.halfOpenInPod(port);
    assert.equal(await sweep(), 0);
    saidOf(POD_IDX, ORLOP_IN_REFUSE);
    const tuple = new Uint8Array(orlopTuple.size);
    tuple.set(ipToBytes16(OUTSIDE4), orlopTuple.src);
    tuple.set(ipToBytes16(POD4), orlopTuple.dst);
    view(tuple).setUint16(orlopTuple.srcPort, port, false);
    view(tuple).setUint16(orlopTuple.dstPort, PORT, false);
    bench.map("agent_flow").put(tuple, new Uint8Array(bench.map("agent_flow").valueBytes));
    assert.equal(await sweep(), 0, "the agent's dial is not touched");
    assert.equal(await bench.survey(), false);
    bench.map("agent_flow").delete(tuple);
    assert.equal(await sweep(), 1);
    assert.equal(await ask(caller), "ECONNREFUSED");
    for (const program of [caller, app]) await program.end();
  });

  test("under policy a handshake with the application ends and begins anew with the agent; one with the agent goes on", async () => {
    const app = bench.startInPod(server);
    await app.line();
    const listener = await bench.agentListens("127.0.0.1", 15006);
    bench.setInboundListener(4, listener.fd);
    saidOf(POD_IDX, ORLOP_IN_PASS);
    const early = bench.startOutside(halfOpen);
    const ports = [await early.line()];
    await bench.halfOpenInPod(Number(ports[0]));
    saidOf(POD_IDX, ORLOP_IN_AGENT);
    const late = bench.startOutside(halfOpen);
    ports.push(await late.line());
    await bench.halfOpenInPod(Number(ports[1]));
    assert.equal(await sweep(), 1);
    // Its first packet is repeated, and judged as it comes.
    for (const caller of [early, late]) assert.equal(await ask(caller), "connected");
    assert.equal(await sweep(), 0);
    assert.equal(await bench.survey(), false);
    await until(() => listener.sources.length >= 2, "both connections at the agent");
    assert.deepEqual(listener.sources.toSorted(), ports.map((port) => `${OUTSIDE4} ${port}`).toSorted());
    for (const program of [early, late, app]) await program.end();
    listener.close();
  });
});
