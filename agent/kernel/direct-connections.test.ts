import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DirectConnections } from "./direct-connections.ts";
import type { KernelEvent } from "./events.ts";
import type { TrafficRow } from "./traffic-sums.ts";

const row = (podIdx: number, over: Partial<TrafficRow> = {}): TrafficRow => ({
  ...{ podIdx, direction: "out", way: "direct", port: 443, opened: 1, closed: 0 },
  ...{ failed: 0, sentBytes: 0, receivedBytes: 0, srttUs: 0, retransmits: 0 },
  ...over,
});
const event = (type: KernelEvent["type"], cookie: number, podIdx: number, address: string): KernelEvent => ({
  ...{
    type,
    direction: "out",
    atMs: 0,
    podIdx,
    sockCookie: BigInt(cookie),
    joined: null,
    throughAgent: false,
    fromNode: false,
  },
  source: { address: "10.0.0.9", port: 4000 },
  destination: { address, port: 443 },
  ...{ outside: true, sentBytes: 0, receivedBytes: 0, durationMs: 0, srttUs: 0, retransmits: 0, reason: null },
});

test("changes that bear on nobody here name no pod; a pod with a connection to what joined is named", () => {
  const directs = new DirectConnections();
  directs.begin([]);
  directs.handle(event("open", 1, 1, "192.0.2.1"));
  directs.handle(event("open", 2, 2, "192.0.2.2"));
  directs.handle({ ...event("open", 3, 3, "192.0.2.3"), outside: false });
  const rows = [row(1), row(2), row(3, { way: "joined" }), row(4, { direction: "in" }), row(5, { closed: 1 })];
  const seen = { rows: () => rows, areAllSeen: true };
  const unread = { ...seen, rows: () => assert.fail("the kernel's sums were read") };
  assert.deepEqual(directs.podsTo(["198.51.100.1"], unread), []);
  assert.deepEqual(directs.podsTo(["192.0.2.3", "192.0.2.2"], seen), [2]);
  assert.deepEqual(directs.podsTo(null, seen), [1, 2]);
  assert.deepEqual(directs.podsTo(["198.51.100.1"], { ...seen, areAllSeen: false }), [1, 2], "events were lost");
  directs.handle(event("close", 2, 2, "192.0.2.2"));
  assert.deepEqual(directs.podsTo(["192.0.2.2"], seen), []);
});

test("whatever was open before this agent read events may be to anywhere, until as many have ended", () => {
  const directs = new DirectConnections();
  directs.begin([row(1, { opened: 5, closed: 3 })]);
  directs.handle(event("open", 1, 1, "192.0.2.1"));
  const seen = { rows: () => [row(1, { opened: 9 })], areAllSeen: true };
  for (const [ended, expected] of [[1], [1], []].entries()) {
    assert.deepEqual(directs.podsTo(["198.51.100.1"], seen), expected);
    directs.handle(event("close", 70 + ended, 1, "203.0.113.1"));
  }
  assert.deepEqual(directs.podsTo(["192.0.2.1"], seen), [1]);
});

test("in any order of events no pod is left out that has a connection to what joined", () => {
  const step = fc.record({ pod: fc.nat(2), to: fc.nat(3), ends: fc.boolean(), pick: fc.nat(50) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.nat(40), (steps, joinsAt) => {
      const directs = new DirectConnections();
      const live: { cookie: number; pod: number; to: number }[] = [];
      const sums = new Map<number, { opened: number; closed: number }>();
      const rows = (): TrafficRow[] => [...sums].map(([podIdx, sum]) => row(podIdx, sum));
      for (const [at, { pod, to, ends, pick }] of steps.entries()) {
        // Before this the agent was not there: the kernel counts, and nobody reads.
        if (at === joinsAt) directs.begin(rows());
        const handle = (given: KernelEvent): void => void (at >= joinsAt && directs.handle(given));
        const ended = ends ? live.splice(pick % Math.max(live.length, 1), 1)[0] : undefined;
        const { cookie, pod: whose, to: where } = ended ?? { cookie: at, pod, to };
        const sum = sums.get(whose) ?? { opened: 0, closed: 0 };
        sums.set(whose, ended ? { ...sum, closed: sum.closed + 1 } : { ...sum, opened: sum.opened + 1 });
        if (ended === undefined) live.push({ cookie, pod: whose, to: where });
        handle(event(ended ? "close" : "open", cookie, whose, `192.0.2.${where}`));
        if (at < joinsAt) continue;
        for (let joined = 0; joined < 4; joined++) {
          const may = directs.podsTo([`192.0.2.${joined}`], { rows, areAllSeen: true });
          const has = live.filter((connection) => connection.to === joined).map((connection) => connection.pod);
          for (const podIdx of has) assert.ok(may.includes(podIdx), `pod ${podIdx} at step ${at}`);
        }
      }
    }),
  );
});
