// pod-starts.ts with enrollments that a test moves: what the CNI plug-in is answered, and when.
import assert from "node:assert/strict";
import { closeSync, fstatSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { until } from "../../test/support/until.ts";
import { FdSocket } from "./addon.ts";
import type { StartAnswer } from "./cni-protocol.ts";
import { parseStart } from "./cni-protocol.ts";
import type { Enrollment, EnrollmentRefusal, PodRow } from "./enrollment-states.ts";
import { answerStarts, listenForStarts, PodStarts, type PodStartsOptions, type StartChannel } from "./pod-starts.ts";
import type { PodNotice } from "./protocol.ts";

const quiet = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const rowOf = (podIdx: number, uid: string): PodRow => ({ podIdx, uid, netnsCookie: 1n, addresses: [], spread: [] });
const request = (op: string, uid = "uid-web"): string =>
  JSON.stringify({ op, uid, container: `${uid}-1`, namespace: "shop", name: "web" });
const descriptor = (): number => openSync("/dev/null", "r");
const isOpen = (fd: number): boolean => {
  try {
    return fstatSync(fd).isCharacterDevice();
  } catch {
    return false;
  }
};

function setUp() {
  const present: Enrollment[] = [];
  const known = {
    begun: [] as string[],
    ended: [] as string[],
    asked: new Set<string>(),
    refusal: undefined as EnrollmentRefusal | undefined,
    /** The next pod that begins was known under this row. */
    gone: undefined as PodRow | undefined,
    isOpen: true,
    isHeld: false,
    notices: [] as PodNotice[],
    timers: new Set<() => void>(),
  };
  const enrollments: ReturnType<PodStartsOptions["opened"]> = {
    begin: async (uid) => {
      known.begun.push(uid);
      return { begun: known.refusal ?? rowOf(known.begun.length, uid), gone: known.gone };
    },
    end: async (uid, container) => {
      known.ended.push(container);
      return known.begun.includes(uid) ? rowOf(known.begun.indexOf(uid) + 1, uid) : undefined;
    },
    all: () => present,
    isAskedFor: (uid) => known.asked.has(uid),
  };
  const starts = new PodStarts({
    opened: () => (known.isOpen ? enrollments : undefined),
    isHeld: () => known.isHeld,
    notify: (notice) => void known.notices.push(notice),
    after: (_, call) => {
      known.timers.add(call);
      return () => known.timers.delete(call);
    },
    log: quiet,
  });
  const plugin = (uid = 0): StartChannel & { readonly answers: StartAnswer[]; closed: boolean } => ({
    peer: { pid: 1, uid },
    answers: [],
    closed: false,
    send(answer) {
      this.answers.push(answer);
    },
    close() {
      this.closed = true;
    },
  });
  const late = (): void => {
    for (const call of [...known.timers]) call();
  };
  return { starts, known, present, plugin, late };
}

test("a pod that begins is guarded, the agents hear of it, and the plug-in is answered when it is captured", async () => {
  const { starts, known, plugin } = setUp();
  const [first, again] = [plugin(), plugin()];
  await starts.packet(first, request("add"), [descriptor()]);
  assert.deepEqual([first.answers, known.begun], [[], ["uid-web"]]);
  assert.deepEqual(known.notices, [
    { id: 0, op: "pod-starting", podIdx: 1, uid: "uid-web", called: { namespace: "shop", name: "web" } },
  ]);
  starts.captured(7);
  assert.deepEqual(first.answers, []);
  starts.captured(1);
  starts.captured(1);
  assert.deepEqual([first.answers, known.timers.size], [[{ op: "in-force" }], 0]);
  await starts.packet(again, request("add", "uid-other"), [descriptor()]);
  starts.released(2);
  assert.deepEqual([again.answers, known.timers.size], [[{ op: "not-ours" }], 0]);
});

test("a pod that is captured already is answered at once", async () => {
  const { starts, known, present, plugin } = setUp();
  const channel = plugin();
  present.push({ state: "captured", row: rowOf(1, "uid-web") } as Enrollment);
  await starts.packet(channel, request("add"), [descriptor()]);
  assert.deepEqual([channel.answers, known.notices], [[{ op: "in-force" }], []]);
});

test("a pod that no agent has spoken of in time is refused; a pod that an agent wants guarded begins guarded", async () => {
  const { starts, known, plugin, late } = setUp();
  const [unknown, guarded] = [plugin(), plugin()];
  await starts.packet(unknown, request("add"), [descriptor()]);
  await starts.packet(guarded, request("add", "uid-strict"), [descriptor()]);
  known.asked.add("uid-strict");
  late();
  assert.deepEqual(
    unknown.answers.map(({ op }) => op),
    ["refused"],
  );
  assert.deepEqual(guarded.answers, [{ op: "in-force" }]);
});

test("while an agent holds the node the plug-in is asked to wait on, four times: a busy node is no reason to begin uncaptured", async () => {
  const { starts, known, plugin, late } = setUp();
  const [captured, guarded, unknown, alone] = [plugin(), plugin(), plugin(), plugin()];
  known.isHeld = true;
  known.asked.add("uid-strict");
  await starts.packet(captured, request("add"), [descriptor()]);
  await starts.packet(guarded, request("add", "uid-strict"), [descriptor()]);
  await starts.packet(unknown, request("add", "uid-unknown"), [descriptor()]);
  const lateOnce = (): void => {
    const due = [...known.timers];
    known.timers.clear();
    for (const call of due) call();
  };
  lateOnce();
  lateOnce();
  starts.captured(1);
  assert.deepEqual(captured.answers, [{ op: "wait" }, { op: "wait" }, { op: "in-force" }]);
  lateOnce();
  lateOnce();
  assert.deepEqual([guarded.answers.length, unknown.answers.length], [4, 4]);
  lateOnce();
  assert.deepEqual(
    [guarded.answers.slice(4), unknown.answers.slice(4).map(({ op }) => op)],
    [[{ op: "in-force" }], ["refused"]],
  );
  await starts.packet(alone, request("add", "uid-alone"), [descriptor()]);
  lateOnce();
  known.isHeld = false;
  late();
  assert.deepEqual(
    alone.answers.map(({ op }) => op),
    ["wait", "refused"],
    "the agent goes while they wait",
  );
});

test("a namespace that goes ends the wait, and the agents hear of it; of a pod that is not known nothing is said", async () => {
  const { starts, known, plugin } = setUp();
  const channel = plugin();
  await starts.packet(channel, request("add"), [descriptor()]);
  known.notices.length = 0;
  await starts.packet(plugin(), request("del"), []);
  assert.deepEqual(
    channel.answers.map(({ op }) => op),
    ["refused"],
  );
  assert.deepEqual(known.notices, [{ id: 0, op: "pod-gone", podIdx: 1, uid: "uid-web" }]);
  await starts.packet(plugin(), request("del", "uid-unknown"), []);
  assert.deepEqual([known.ended, known.notices.length], [["uid-web-1", "uid-unknown-1"], 1]);
});

test("what cannot be guarded is refused, with the reason", async () => {
  const { starts, known, plugin } = setUp();
  const channel = plugin();
  known.refusal = { refused: "limit", message: "1024 pods are enrolled" };
  await starts.packet(channel, request("add"), [descriptor()]);
  assert.deepEqual(channel.answers, [{ op: "refused", why: "1024 pods are enrolled" }]);
});

test("agents hear that the sandbox before has gone, before they hear of the next, and when the next is refused, too", async () => {
  const { starts, known, plugin } = setUp();
  known.gone = rowOf(9, "uid-web");
  await starts.packet(plugin(), request("add"), [descriptor()]);
  assert.deepEqual(known.notices, [
    { id: 0, op: "pod-gone", podIdx: 9, uid: "uid-web" },
    { id: 0, op: "pod-starting", podIdx: 1, uid: "uid-web", called: { namespace: "shop", name: "web" } },
  ]);
  known.notices.length = 0;
  known.refusal = { refused: "kernel", message: 'Error: "half"\n\\ü' };
  const channel = plugin();
  await starts.packet(channel, request("add"), [descriptor()]);
  assert.deepEqual(known.notices, [{ id: 0, op: "pod-gone", podIdx: 9, uid: "uid-web" }]);
  assert.deepEqual(channel.answers, [{ op: "refused", why: "Error:  half    " }]);
});

test("while programs of another layout are in force a pod that begins is refused, and one that goes is nothing to us", async () => {
  const { starts, known, plugin } = setUp();
  known.isOpen = false;
  const [channel, fd] = [plugin(), descriptor()];
  await starts.packet(channel, request("add"), [fd]);
  await starts.packet(plugin(), request("del"), []);
  assert.deepEqual(
    channel.answers.map(({ op }) => op),
    ["refused"],
  );
  assert.deepEqual([known.begun, known.ended, known.notices, isOpen(fd)], [[], [], [], false]);
});

test("a keeper that ends answers all that wait", async () => {
  const { starts, plugin } = setUp();
  const channel = plugin();
  await starts.packet(channel, request("add"), [descriptor()]);
  starts.close();
  assert.deepEqual(
    channel.answers.map(({ op }) => op),
    ["refused"],
  );
});

test("nobody but root is heard, nothing but a whole request, and no descriptor stays open", async () => {
  for (const [uid, text, count] of [
    [65_534, request("add"), 1],
    [0, request("add"), 0],
    [0, request("add"), 2],
    [0, request("del"), 1],
    [0, "{", 1],
    [0, "null", 1],
    [0, request("check"), 1],
    [0, request("add", "../pod"), 1],
    [0, request("add", "u".repeat(5_000)), 1],
    [0, JSON.stringify({ op: "add", uid: "uid", container: "c", namespace: "shop/", name: "web" }), 1],
    [0, JSON.stringify({ op: "add", uid: "uid", namespace: "shop", name: "web" }), 1],
    [0, JSON.stringify({ op: "add", uid: "uid", container: "../c", namespace: "shop", name: "web" }), 1],
    [0, JSON.stringify({ op: "add", uid: "uid", container: "c".repeat(254), namespace: "shop", name: "web" }), 1],
  ] as const) {
    const { starts, known, plugin } = setUp();
    const channel = plugin(uid);
    const fds = Array.from({ length: count }, descriptor);
    await starts.packet(channel, text, fds);
    assert.deepEqual([channel.closed, known.begun, fds.filter(isOpen)], [true, [], []], text);
  }
  assert.deepEqual(parseStart(request("del")), {
    ...{ op: "del", uid: "uid-web", container: "uid-web-1", namespace: "shop", name: "web" },
  });
});

test("300 plug-ins at once: all wait, a namespace that goes is heard meanwhile, and each gets its answer", async (context) => {
  const { starts, known } = setUp();
  const folder = mkdtempSync(join(tmpdir(), "orlop-starts-"));
  const path = join(folder, "cni.sock");
  const server = listenForStarts(path);
  answerStarts(server, starts);
  const fd = descriptor();
  const clients: FdSocket[] = [];
  context.after(() => {
    for (const socket of [...clients, server]) socket.close();
    closeSync(fd);
    rmSync(folder, { recursive: true });
  });
  const call = (text: string, fds: readonly number[]): Promise<string> => {
    const client = FdSocket.connect(path);
    clients.push(client);
    client.send(Buffer.from(text), Int32Array.from(fds));
    return new Promise((resolve) => client.onMessage((bytes) => resolve(bytes.toString("utf8"))));
  };
  // At once: nobody accepts before the last has connected.
  const answers = Array.from({ length: 300 }, (_, at) => call(request("add", `uid-${at}`), [fd]));
  await until(() => known.notices.length === 300);
  void call(request("del", "uid-7"), []);
  await until(() => known.ended.length === 1);
  for (let podIdx = 1; podIdx <= 300; podIdx++) starts.captured(podIdx);
  const said = (await Promise.all(answers)).map((text) => JSON.parse(text).op);
  assert.deepEqual(
    [said.filter((op) => op === "in-force").length, said.filter((op) => op === "refused").length],
    [299, 1],
  );
});
