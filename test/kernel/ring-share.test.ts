// One pod whose connections fill the ring of events while nobody reads it (root): what is lost is its own, and counted for it.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { endianness } from "node:os";
import { after, describe, test } from "node:test";
import {
  ORLOP_DIRECTION_IN,
  ORLOP_DIRECTION_OUT,
  ORLOP_IN_PASS,
  ORLOP_POD_RING_SHARE,
  orlopEvent,
  orlopPod,
  orlopUsage,
} from "../../agent/abi.ts";
import { ipToBytes16 } from "../../agent/mesh/ip.ts";
import { HookBench, OUTSIDE4, POD_IDX, POD4 } from "./hook-bench.ts";

const BYSTANDER_IDX = 9;
const little = endianness() === "LE";
const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const RING_BYTES = 65_536;
const ROUND = 300;
/** Of the pod that floods; to the bystander it is an address outside the mesh. */
const UNLISTED = "10.99.0.77";

describe("a pod that floods the ring of events", { concurrency: 1 }, () => {
  const bench = new HookBench({ events: RING_BYTES });
  const otherFd = openSync(`/var/run/netns/${bench.outsideName}`, "r");
  after(() => {
    closeSync(otherFd);
    bench.remove();
  });
  const lost = (podIdx: number): number => {
    const key = new Uint8Array(4);
    view(key).setUint32(0, podIdx, little);
    const value = bench.map("pod_usage").get(key) ?? new Uint8Array(orlopUsage.size);
    return Number(view(value).getBigUint64(orlopUsage.eventsLost, little));
  };

  test("its own events are lost and counted for it, and a bystander loses none", async () => {
    await bench.enrol();
    bench.said("in_by_port", 8000, ORLOP_IN_PASS);
    execFileSync("ip", ["-n", bench.podName, "addr", "add", `${UNLISTED}/24`, "dev", "eth0"]);
    const application = bench.startInPod(`
import socket, sys, threading
s = socket.create_server(("0.0.0.0", 8000), backlog=1000)
def accept():
  while True:
    c, _ = s.accept(); c.recv(9); c.close()
threading.Thread(target=accept, daemon=True).start()
print("ready", flush=True); sys.stdin.read()`);
    await application.line();
    const calls = (address: string, count: number): string => `
import socket
for i in range(${count}):
  c = socket.create_connection(("${address}", 8000)); c.close()`;
    bench.events();
    await bench.outside(calls(POD4, ROUND));
    // The application may be far behind its callers.
    await bench.untilEnded(ORLOP_DIRECTION_IN, 8000, ROUND);
    const flooded = lost(POD_IDX);
    const most = RING_BYTES / 2 / orlopEvent.size + RING_BYTES / ORLOP_POD_RING_SHARE / orlopEvent.size;
    assert.ok(flooded >= 2 * ROUND - most, `${flooded} lost of ${2 * ROUND}`);

    // Both ends tell of a connection that goes direct.
    const { cookie } = await bench.thread.podInfo(otherFd);
    const pod = new Uint8Array(orlopPod.size);
    view(pod).setUint32(orlopPod.podIdx, BYSTANDER_IDX, little);
    pod.set(ipToBytes16(OUTSIDE4), orlopPod.ip4);
    const key = new Uint8Array(8);
    view(key).setBigUint64(0, cookie, little);
    bench.map("pod_by_netns").put(key, pod);
    bench.keepBeating(true);
    await bench.inOther(calls(UNLISTED, 10));
    await bench.untilEnded(ORLOP_DIRECTION_IN, 8000, ROUND + 10);
    assert.equal(lost(BYSTANDER_IDX), 0);
    assert.ok(lost(POD_IDX) >= flooded + 20, "of the same connections, at the pod that flooded");
    const of = bench.events().filter(({ direction, type }) => direction === ORLOP_DIRECTION_OUT && type === "open");
    assert.equal(of.length, 10);
    await application.end();
  });
});
