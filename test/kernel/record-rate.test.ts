// Records of connections that no agent sees (root): all of them at 20,000 connections a second; beyond that what is lost is counted for
// its pod, and numbers of connections and bytes stay exact. Nothing reads the ring meanwhile, so that no time is measured.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { endianness } from "node:os";
import { after, before, describe, test } from "node:test";
import {
  ORLOP_COUNT_EVENT_DROPPED,
  ORLOP_COUNT_TRAFFIC_MAP_FULL,
  ORLOP_DIRECTION_OUT,
  orlopUsage,
} from "../../agent/abi.ts";
import { LOOK_EVERY_MS } from "../../agent/kernel/kernel-watch.ts";
import { HookBench, OUTSIDE4, POD_IDX } from "./hook-bench.ts";
import type { SeenEvent } from "./hook-reports.ts";

const PORT = 8033;
const PER_SECOND = 20_000;
/** What comes in the time of two and a half looks at the ring. */
const ONE_BURST = (PER_SECOND * LOOK_EVERY_MS * 2.5) / 1000;
const FLOOD = 15_000;
const ASKED = "hello";
const ANSWERED = "answered";

/** The server closes first: then the client's ports are free at once, and its counts of bytes are exact. */
const server = `
import socket
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("${OUTSIDE4}", ${PORT})); s.listen(512)
print("up", flush=True)
while True:
  c, _ = s.accept(); c.recv(99); c.send(b"${ANSWERED}"); c.close()`;

/** Makes as many connections as a line of its input says, one after the other. */
const client = `
import socket, sys
print("up", flush=True)
for line in sys.stdin:
  for _ in range(int(line)):
    s = socket.create_connection(("${OUTSIDE4}", ${PORT}), 20); s.send(b"${ASKED}")
    while s.recv(99): pass
    s.close()
  print("done", flush=True)`;

describe("records of many connections that go direct", { concurrency: 1 }, () => {
  const bench = new HookBench();
  let dials: ReturnType<HookBench["startInPod"]>;
  after(() => bench.remove());
  before(async () => {
    assert.equal(await bench.startOutside(server).line(), "up");
    await bench.enrol();
    bench.keepBeating(true);
    dials = bench.startInPod(client);
    assert.equal(await dials.line(), "up");
  });

  const dialled = async (count: number): Promise<void> => {
    dials.say(String(count));
    assert.equal(await dials.line(), "done");
  };
  /** Once all connections have ended. */
  const drained = async (): Promise<SeenEvent[]> => {
    await bench.untilEnded(ORLOP_DIRECTION_OUT, PORT, made);
    const all: SeenEvent[] = [];
    for (let some = bench.events(); some.length > 0; some = bench.events()) all.push(...some);
    return all;
  };
  const lostOfPod = (): number => {
    const key = new Uint8Array(4);
    const little = endianness() === "LE";
    new DataView(key.buffer).setUint32(0, POD_IDX, little);
    const usage = bench.map("pod_usage").get(key) ?? new Uint8Array(orlopUsage.size);
    return Number(new DataView(usage.buffer, usage.byteOffset).getBigUint64(orlopUsage.eventsLost, little));
  };
  const sums = () => bench.traffic(ORLOP_DIRECTION_OUT, PORT);
  let made = 0;
  const assertExact = (): void => {
    const { opened, closed, failed, sentBytes, receivedBytes } = sums();
    assert.deepEqual([opened, closed, failed], [made, made, 0]);
    assert.deepEqual([sentBytes, receivedBytes], [made * ASKED.length, made * ANSWERED.length]);
    assert.equal(bench.count(ORLOP_COUNT_TRAFFIC_MAP_FULL), 0);
  };

  test(`${ONE_BURST} connections between two looks at the ring: each has its open and its close, with its bytes`, async () => {
    for (let round = 0; round < 2; round += 1) {
      await dialled(ONE_BURST);
      made += ONE_BURST;
      const events = await drained();
      const closes = events.filter(({ type }) => type === "close");
      assert.deepEqual([events.length, closes.length], [2 * ONE_BURST, ONE_BURST]);
      assert.ok(
        closes.every(({ sent, received }) => sent === BigInt(ASKED.length) && received === BigInt(ANSWERED.length)),
      );
      assert.equal(lostOfPod(), 0);
      assertExact();
    }
  });

  test(`${FLOOD} connections: what the ring cannot hold is counted for the pod, and the sums are exact`, async () => {
    await dialled(FLOOD);
    made += FLOOD;
    const events = await drained();
    assert.ok(events.length < 2 * FLOOD, "the ring did not hold all of them");
    assert.equal(events.length + lostOfPod(), 2 * FLOOD);
    assert.equal(bench.count(ORLOP_COUNT_EVENT_DROPPED), lostOfPod());
    assertExact();
    await dials.end();
  });

  test("of a ring of 4 MiB that was read to its end, no more than some pages count as the reader's memory", () => {
    const mappings = readFileSync("/proc/self/smaps", "utf8").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
    const kilobytes = mappings
      .filter((mapping) => mapping.includes("anon_inode:bpf-map"))
      .map((mapping) => Number(/^Rss:\s+(\d+) kB$/m.exec(mapping)?.[1]));
    const sum = kilobytes.reduce((all, each) => all + each, 0);
    assert.ok(sum > 0 && sum <= 256, `${sum} kB`);
  });
});
