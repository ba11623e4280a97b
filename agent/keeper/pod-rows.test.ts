// pod-rows.ts: the bytes in each map, and a keeper that takes over whole pods and removes halves.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { PodRow } from "./enrollment-states.ts";
import { linkName, PodRowMaps, type PodTables, parseLinkName, type Table, type UnclearedIndices } from "./pod-rows.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

class FakeTable implements Table {
  readonly rows = new Map<string, Uint8Array>();
  get(key: Uint8Array): Uint8Array | undefined {
    return this.rows.get(hex(key));
  }
  put(key: Uint8Array, value: Uint8Array): void {
    this.rows.set(hex(key), value.slice());
  }
  delete(key: Uint8Array): boolean {
    return this.rows.delete(hex(key));
  }
  keys(): Uint8Array[] {
    return [...this.rows.keys()].map((key) => new Uint8Array(Buffer.from(key, "hex")));
  }
}

function setUp() {
  const tables = {
    podByNetns: new FakeTable(),
    podByIp: new FakeTable(),
    inboundSocket: new FakeTable(),
    inByPort: new FakeTable(),
    dstOfFlow: new FakeTable(),
    pendingFlow: new FakeTable(),
    joinedFlow: new FakeTable(),
    agentFlow: new FakeTable(),
    podUsage: new FakeTable(),
    traffic: new FakeTable(),
    pairVerdict: new FakeTable(),
    vipBackends: new FakeTable(),
    nodePort: new FakeTable(),
    nodeFlow: new FakeTable(),
  } satisfies PodTables;
  const pinned = new Map<string, number>();
  /** Whose every address of the namespace is, by name of the link. */
  const owners = new Map<string, number>();
  const links = {
    foresee() {},
    attach(name: string, fd: number, podIdx: number) {
      pinned.set(name, fd);
      owners.set(name, podIdx);
    },
    detach: (name: string) => void pinned.delete(name),
    names: () => [...pinned.keys()],
  };
  const uncleared: UnclearedIndices[] = [];
  return {
    tables,
    pinned,
    owners,
    uncleared,
    rows: new PodRowMaps(tables, links, (failure) => uncleared.push(failure)),
  };
}
const row: PodRow = {
  ...{ podIdx: 3, uid: "0a-1b.c", netnsCookie: 0x1122n },
  ...{ addresses: ["10.0.0.3", "fd00::3"], spread: [6] },
};
const listeners = [
  { kind: "outbound", family: 4, address: "127.0.0.1", port: 15001, fd: 20 },
  { kind: "inbound", family: 4, address: "127.0.0.1", port: 15006, fd: 21 },
  { kind: "inbound", family: 6, address: "::1", port: 15006, fd: 22 },
  { kind: "hbone", family: 4, address: "10.0.0.3", port: 15008, fd: 23 },
] as const;

test("the addresses that a namespace has besides are the pod's own, but nobody's while the pod is guarded", () => {
  const { owners, rows } = setUp();
  rows.guard(row, 9);
  assert.deepEqual([...owners], [["3-0a-1b+c", 0]]);
  rows.admit(row, listeners, 9);
  assert.deepEqual([...owners], [["3-0a-1b+c", 3]]);
  rows.guard(row, 9);
  assert.deepEqual([...owners], [["3-0a-1b+c", 0]]);
});

test("a captured pod in bytes, and nothing of it afterwards", () => {
  const { tables, pinned, rows } = setUp();
  rows.admit(row, listeners, 9);
  assert.deepEqual([...pinned], [["3-0a-1b+c", 9]]);
  assert.equal(tables.podByNetns.rows.size, 0, "admitted is not captured");
  rows.capture(row, true);
  const little = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;
  if (little) {
    assert.deepEqual(
      [...tables.podByNetns.rows].map(([key, value]) => [key, hex(value)]),
      [
        [
          "2211000000000000",
          "0300000005000000" + "00000000000000000000ffff0a000003" + "fd000000000000000000000000000003",
        ],
      ],
    );
    assert.deepEqual(
      [...tables.podByIp.rows].map(([key, value]) => [key, hex(value)]),
      [
        ["00000000000000000000ffff0a000003", "0300000001000000"],
        ["fd000000000000000000000000000003", "0300000001000000"],
      ],
    );
    assert.deepEqual(
      [...tables.inboundSocket.rows].map(([key, value]) => [key, hex(value)]),
      [
        ["0300000004003a99", "1400000000000000"],
        ["0300000004003a9e", "1500000000000000"],
        ["0300000006003a9e", "1600000000000000"],
        ["0300000004003aa0", "1700000000000000"],
      ],
    );
  }
  rows.withdraw(row);
  rows.withdraw(row);
  for (const table of Object.values(tables)) assert.equal(table.rows.size, 0);
  assert.equal(pinned.size, 0);
});

test("a guard is a pod without an address, and goes when the pod is withdrawn", () => {
  const { rows, tables, pinned } = setUp();
  rows.guard(row, 9);
  assert.deepEqual([...tables.podByIp.keys()], []);
  const [adopted] = rows.adopted();
  assert.deepEqual(adopted, { row: { ...row, addresses: [], spread: [] }, failDirect: false });
  rows.admit(row, [], 9);
  rows.capture(row, false);
  assert.deepEqual(rows.adopted(), [{ row, failDirect: false }]);
  rows.withdraw(row);
  assert.deepEqual([rows.adopted(), [...pinned]], [[], []]);
});

test("several addresses of a family: all lead to the pod, the first of each is its source; they change in place", () => {
  const { rows, tables } = setUp();
  const two = { ...row, addresses: ["10.0.0.3", "10.0.1.3", "fd00::3"] };
  rows.admit(row, [], 9);
  rows.capture(row, true);
  rows.readdress(row, two, true);
  assert.deepEqual(rows.adopted(), [
    { row: { ...row, addresses: ["10.0.0.3", "fd00::3", "10.0.1.3"] }, failDirect: true },
  ]);
  rows.readdress(two, { ...row, addresses: ["10.0.1.3"] }, true);
  assert.deepEqual(rows.adopted(), [{ row: { ...row, addresses: ["10.0.1.3"] }, failDirect: true }]);
  assert.equal(tables.podByIp.keys().length, 1);
});

test("an address that became another pod's stays with it", () => {
  const { tables, rows } = setUp();
  rows.admit(row, [], 9);
  rows.admit({ ...row, podIdx: 4, uid: "other", netnsCookie: 5n, addresses: ["10.0.0.3"], spread: [] }, [], 9);
  rows.withdraw(row);
  assert.deepEqual([...tables.podByIp.rows.keys()], ["00000000000000000000ffff0a000003"]);
});

test("forgetting an index takes its verdicts, sums and unread flows, and nobody else's", () => {
  const { tables, rows } = setUp();
  const key = (length: number, first: number): Uint8Array => {
    const bytes = new Uint8Array(length);
    new DataView(bytes.buffer).setUint32(0, first, new Uint8Array(new Uint32Array([1]).buffer)[0] === 1);
    return bytes;
  };
  for (const idx of [3, 4]) {
    tables.inByPort.put(key(8, idx), new Uint8Array(4));
    tables.traffic.put(key(8, idx), new Uint8Array(4));
    const value = (at: number): Uint8Array => Uint8Array.from([...new Uint8Array(at), ...key(4, idx), 0, 0, 0, 0]);
    tables.pendingFlow.put(key(32, idx), value(0));
    tables.joinedFlow.put(key(40, idx), value(8));
    tables.agentFlow.put(key(40, idx), value(8));
    tables.podUsage.put(key(4, idx), new Uint8Array(48).fill(1));
  }
  const flow = (cookie: bigint): Uint8Array => {
    const bytes = new Uint8Array(32);
    new BigUint64Array(bytes.buffer)[0] = cookie;
    return bytes;
  };
  tables.dstOfFlow.put(flow(0x1122n), new Uint8Array(32));
  tables.dstOfFlow.put(flow(0x1123n), new Uint8Array(32));
  rows.clear([3]);
  rows.forgetFlows(0x1122n);
  assert.deepEqual([tables.inByPort.rows.size, tables.traffic.rows.size, tables.dstOfFlow.rows.size], [1, 1, 1]);
  assert.deepEqual([tables.pendingFlow.rows.size, tables.joinedFlow.rows.size, tables.agentFlow.rows.size], [1, 1, 1]);
  assert.equal(rows.usage({ podIdx: 3, uid: "gone" }).flows, 0);
  assert.equal(rows.usage({ podIdx: 4, uid: "there" }).flows, 0x01010101);
  rows.clear([4]);
  assert.deepEqual([tables.inByPort.rows.size, tables.traffic.rows.size, tables.dstOfFlow.rows.size], [0, 0, 1]);
});

test("indices that are given back together are cleared by one walk, a moment later or with the next that is given", async () => {
  const { tables, rows } = setUp();
  const inKey = (idx: number): Uint8Array => new Uint8Array(new Uint32Array([idx, 0]).buffer);
  let walks = 0;
  const keys = tables.inByPort.keys.bind(tables.inByPort);
  tables.inByPort.keys = () => {
    walks += 1;
    return keys();
  };
  for (let idx = 1; idx <= 500; idx += 1) tables.inByPort.put(inKey(idx), new Uint8Array(4));
  for (let idx = 1; idx <= 400; idx += 1) rows.forget(idx);
  assert.equal(walks, 0);
  rows.clear([401]);
  assert.deepEqual([walks, tables.inByPort.rows.size], [1, 99]);
  for (let idx = 402; idx <= 500; idx += 1) rows.forget(idx);
  await sleep(200);
  assert.deepEqual([walks, tables.inByPort.rows.size], [2, 0]);
  rows.forget(501);
  rows.close();
  assert.equal(walks, 3);
  await sleep(200);
  assert.equal(walks, 3, "nothing comes after the end, when the tables are closed");
});

test("a table that fails while nobody waits is said and counted, and its indices are cleared before any of them is given", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { tables, rows, uncleared } = setUp();
  const inKey = (idx: number): Uint8Array => new Uint8Array(new Uint32Array([idx, 0]).buffer);
  for (const idx of [1, 2, 3]) tables.inByPort.put(inKey(idx), new Uint8Array(4));
  const keys = tables.nodePort.keys.bind(tables.nodePort);
  const fails = (): never => {
    throw new Error("the table fails");
  };
  // Behind inByPort: half is done.
  tables.nodePort.keys = fails;
  tables.nodePort.put(inKey(2), new Uint8Array(4));
  rows.forget(1);
  rows.forget(2);
  context.mock.timers.tick(50);
  context.mock.timers.tick(999);
  assert.deepEqual(
    uncleared.map(({ podIdxs, failures, error }) => [podIdxs, failures, String(error)]),
    [[[1, 2], 1, "Error: the table fails"]],
  );
  assert.throws(
    () => rows.clear([3]),
    /the table fails/,
    "who waits for an index hears of it, and does not get the index",
  );
  tables.nodePort.keys = keys;
  rows.clear([4]);
  assert.deepEqual([tables.nodePort.rows.size, uncleared.length], [0, 1]);
  tables.nodePort.keys = fails;
  rows.forget(4);
  context.mock.timers.tick(50);
  context.mock.timers.tick(1_000);
  assert.deepEqual(
    uncleared.slice(1).map(({ podIdxs, failures }) => [podIdxs, failures]),
    [
      [[4], 2],
      [[4], 3],
    ],
  );
  tables.nodePort.keys = keys;
  tables.nodePort.put(inKey(4), new Uint8Array(4));
  context.mock.timers.tick(1_000);
  context.mock.timers.tick(10_000);
  assert.deepEqual([tables.nodePort.rows.size, uncleared.length], [0, 3], "the walk is made again until it succeeds");
});

test("a pod that is captured no more keeps what agents have said of it and others", () => {
  const { tables, rows } = setUp();
  const pair = (source: number, destination: number): Uint8Array =>
    new Uint8Array(new Uint32Array([source, destination, 0]).buffer);
  tables.pairVerdict.put(pair(3, 4), new Uint8Array(4));
  tables.pairVerdict.put(pair(4, 3), new Uint8Array(4));
  tables.inByPort.put(new Uint8Array(new Uint32Array([3, 0]).buffer), new Uint8Array(4));
  rows.forgetCapture(3);
  assert.deepEqual([tables.pairVerdict.rows.size, tables.inByPort.rows.size], [2, 0]);
  rows.clear([3]);
  assert.equal(tables.pairVerdict.rows.size, 0);
});

test("a later keeper takes over whole pods and removes halves", () => {
  const { tables, pinned, rows } = setUp();
  rows.admit(row, listeners, 9);
  rows.capture(row, false);
  const half = { podIdx: 4, uid: "half", netnsCookie: 44n, addresses: ["10.0.0.4"], spread: [] };
  rows.admit(half, [], 9);
  rows.capture({ podIdx: 5, uid: "no-link", netnsCookie: 55n, addresses: ["10.0.0.5"], spread: [] }, false);
  pinned.set("not ours", 1);
  assert.deepEqual(rows.adopted(), [{ row, failDirect: false }]);
  assert.deepEqual([...pinned.keys()], ["3-0a-1b+c"]);
  assert.equal(tables.podByNetns.rows.size, 1);
  assert.equal(tables.podByIp.rows.size, 2);
});

test("link names are read back as they were written, or not at all", () => {
  assert.deepEqual(parseLinkName(linkName(row)), { podIdx: 3, uid: "0a-1b.c" });
  for (const name of ["", "3", "3-", "0-a", "-a", "03-a", "3-a b", "3-../x", "9999999-a"]) {
    assert.equal(parseLinkName(name), undefined, name);
  }
});
