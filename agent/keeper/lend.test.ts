// keeper and agent over a channel in memory: greeting, lending, losing each other; and a peer that sends anything.
import assert from "node:assert/strict";
import { closeSync, openSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import fc from "fast-check";
import { KeeperClient, type KeeperEvents, type Welcome } from "../engine/keeper-client.ts";
import { type ConnectChannel, KeeperLost, KeeperRefused } from "../engine/keeper-session.ts";
import { fakeChannelPair } from "./channel.fake.ts";
import { type KeeperLog, Lender, type ReplyWithFds } from "./lend.ts";
import { LENT_MAPS, PROTOCOL_VERSION, type Request } from "./protocol.ts";

const beside = () => ({ elsewhere: undefined, cgroup: "/" });
const quiet: KeeperLog = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
/** Counted when every packet under way, also of an earlier test, has arrived. */
async function openFds(): Promise<number> {
  for (let i = 0; i < 3; i++) await turn();
  return readdirSync("/proc/self/fd").length;
}
const someFd = (): number => openSync("/dev/null", "r");

/** Answers as the keeper does, with descriptors of /dev/null. */
async function handle(request: Request): Promise<ReplyWithFds> {
  const { id } = request;
  switch (request.op) {
    case "hello":
      return {
        reply: { id, op: "welcome", version: PROTOCOL_VERSION, role: "holding", pods: [{ podIdx: 4, uid: "old" }] },
        fds: LENT_MAPS.map(someFd),
        handedOver: true,
      };
    case "prepare":
      if (request.uid === "none")
        return { reply: { id, op: "refused", reason: "pod-not-found", message: "no such pod" } };
      if (request.uid === "broken") throw new Error("setns: EPERM");
      return {
        reply: {
          id,
          op: "prepared",
          addresses: ["10.0.0.7"],
          podIdx: 1,
          netnsCookie: "18446744073709551615",
          captured: false,
          preservesSource: true,
          listeners: [{ kind: "hbone", family: 4, address: "10.0.0.1", port: 15008 }],
        },
        fds: [someFd()],
        handedOver: true,
      };
    case "sockets":
      return {
        reply: { id, op: "sockets", podIdx: request.podIdx, kind: request.kind },
        fds: Array.from({ length: request.count }, someFd),
        handedOver: true,
      };
    case "programs":
      return { reply: { id, op: "programs", programs: [], maps: [], pods: [] } };
    default:
      return { reply: { id, op: "done" } };
  }
}

function setUp(uid = 0) {
  const lender = new Lender({ agentUid: 61008, placeOf: beside, handle, gone: () => {}, log: quiet });
  const pairs: ReturnType<typeof fakeChannelPair>[] = [];
  let keeperIsThere = true;
  const connect: ConnectChannel = (_path, events) => {
    if (!keeperIsThere) throw new Error("ECONNREFUSED");
    const pair = fakeChannelPair(uid);
    pairs.push(pair);
    pair.connected.events = events;
    const session = lender.accept(pair.accepted);
    pair.accepted.events = {
      onPacket: (text, fds) => void session?.packet(text, fds),
      onClosed: () => session?.closed(),
    };
    return pair.connected;
  };
  const welcomes: Welcome[] = [];
  const lost: string[] = [];
  const gone: string[] = [];
  let greeted: (() => void) | undefined;
  const client = new KeeperClient({
    path: "/nowhere",
    node: "n",
    connect,
    role: () => "new",
    requestTimeoutMs: 30_000,
  });
  const events: KeeperEvents = {
    onWelcome: (welcome) => {
      welcomes.push(welcome);
      for (const fd of Object.values(welcome.maps)) closeSync(fd);
      greeted?.();
    },
    onLost: (why) => lost.push(why),
    onPodGuarded: () => {},
    onPodFound: () => {},
    onPodStarting: () => {},
    onPodGone: (_podIdx, which) => gone.push(which),
    onYield: () => gone.push("yield"),
    onVacant: () => {},
    onSettled: () => {},
    onReread: () => {},
  };
  const nextWelcome = (): Promise<void> =>
    new Promise((resolve) => {
      greeted = resolve;
    });
  return {
    lender,
    pairs,
    client,
    start: () => client.start(events),
    welcomes,
    lost,
    gone,
    nextWelcome,
    setKeeper: (there: boolean) => {
      keeperIsThere = there;
    },
  };
}

test("greeted, lent to, refused, told of a pod that went: and no descriptor is left over", async () => {
  const before = await openFds();
  const { lender, client, start, welcomes, gone, nextWelcome } = setUp();
  await assert.rejects(client.prepare("p", ["10.0.0.1"]), KeeperLost, "not connected yet");
  const welcome = nextWelcome();
  start();
  await welcome;
  assert.deepEqual(Object.keys(welcomes[0]?.maps ?? {}), [...LENT_MAPS]);
  assert.deepEqual(welcomes[0]?.pods, [{ podIdx: 4, uid: "old" }]);
  const prepared = await client.prepare("p", ["10.0.0.1"]);
  assert.partialDeepStrictEqual(prepared, { podIdx: 1, netnsCookie: 2n ** 64n - 1n, preservesSource: true });
  for (const { fd } of prepared.listeners) closeSync(fd);
  const pod = { podIdx: 1, uid: "p" };
  const sockets = await client.sockets(pod, "out4", 64);
  assert.equal(new Set(sockets).size, 64);
  for (const fd of sockets) closeSync(fd);
  await client.capture(pod, false);
  await client.release(pod);
  assert.deepEqual(await client.programs(), { programs: [], maps: [], pods: [] });
  await assert.rejects(client.prepare("none", ["10.0.0.1"]), { name: "KeeperRefused", reason: "pod-not-found" });
  await assert.rejects(client.prepare("broken", ["10.0.0.1"]), { reason: "kernel", message: "setns: EPERM" });
  await assert.rejects(
    client.capture({ ...pod, podIdx: 0 }, false),
    { reason: "bad-request" },
    "the keeper checks, whatever the client is",
  );
  await assert.rejects(client.sockets(pod, "out4", 0), KeeperRefused);
  const many = await client.sockets(pod, "out4", 150);
  assert.equal(many.length, 150, "in three packets");
  for (const fd of many) closeSync(fd);
  lender.notify({ id: 0, op: "pod-gone", podIdx: 1, uid: "p" });
  await turn();
  lender.notify({ id: 0, op: "yield" }, 2);
  lender.notify({ id: 0, op: "yield" }, 1);
  await turn();
  assert.deepEqual(gone, ["p", "yield"]);
  client.close();
  await turn();
  await turn();
  assert.equal(lender.agents, 0);
  assert.equal(await openFds(), before);
});

test("a keeper that ends is found again, and whoever waited is told", async () => {
  const before = await openFds();
  const { lender, client, start, lost, welcomes, nextWelcome, setKeeper } = setUp();
  const first = nextWelcome();
  start();
  await first;
  const second = nextWelcome();
  const waiting = assert.rejects(client.prepare("p", ["10.0.0.1"]), KeeperLost);
  setKeeper(false);
  lender.close();
  await waiting;
  assert.equal(client.connected, false);
  assert.equal(lost.length, 1);
  setKeeper(true);
  await second;
  assert.equal(welcomes.length, 2);
  client.close();
  assert.equal(await openFds(), before);
});

test("an agent of neither root nor our user gets nothing", async () => {
  const { lender, client, start, pairs, welcomes } = setUp(1000);
  start();
  await turn();
  await turn();
  assert.equal(lender.agents, 0);
  assert.equal(welcomes.length, 0);
  assert.equal(pairs[0]?.accepted.open, false);
  client.close();
});

test("whoever runs elsewhere, or has ended, gets nothing, whatever its user; the log says why", async () => {
  const lines: object[] = [];
  let elsewhere: string | undefined;
  const lender = new Lender({
    ...{ agentUid: 61008, handle, gone: () => {} },
    placeOf: () => ({ elsewhere, cgroup: "/pod7" }),
    log: { ...quiet, warn: (_, fields) => void lines.push({ ...fields }) },
  });
  const accepts = (uid: number, lives: boolean | undefined): boolean => {
    const { accepted } = fakeChannelPair(uid);
    accepted.lives = lives;
    const session = lender.accept(accepted);
    session?.end("the test ends");
    return session !== undefined && !accepted.open;
  };
  assert.deepEqual([accepts(61008, true), accepts(61008, undefined), accepts(0, true)], [true, true, true]);
  assert.deepEqual([accepts(61008, false), accepts(65534, true)], [false, false]);
  elsewhere = "it is in a pod";
  assert.deepEqual([accepts(61008, true), accepts(0, true), accepts(0, undefined)], [false, false, false]);
  const line = (uid: number, why: string) => ({ why, uid, pid: 1234, cgroup: "/pod7", agents: 0 });
  // The same once more has no line of its own.
  assert.deepEqual(lines, [
    line(61008, "it has ended, for all that can be known"),
    line(65534, "it is not the agent's user"),
    line(61008, "it is in a pod"),
    line(0, "it is in a pod"),
  ]);
});

function attacker() {
  const lender = new Lender({ agentUid: 61008, placeOf: beside, handle, gone: () => {}, log: quiet });
  const { accepted, connected } = fakeChannelPair(61008);
  const session = lender.accept(accepted);
  assert.ok(session);
  const replies: { text: string; fds: readonly number[] }[] = [];
  connected.events = {
    onPacket: (text, fds) => {
      replies.push({ text, fds });
      for (const fd of fds) closeSync(fd);
    },
    onClosed: () => {},
  };
  return { lender, accepted, session, replies };
}
const hello = JSON.stringify({ id: 1, op: "hello", version: PROTOCOL_VERSION, node: "n", role: "new" });

test("out of order, out of version, out of bounds: the connection ends", async () => {
  for (const packets of [
    [JSON.stringify({ id: 1, op: "programs" })],
    [JSON.stringify({ id: 1, op: "hello", version: PROTOCOL_VERSION + 1, node: "n", role: "new" })],
    [JSON.stringify({ id: 1, op: "hello", version: PROTOCOL_VERSION - 1, node: "n" })],
    [hello, hello],
    [hello, "no json"],
    [hello, "{}"],
  ]) {
    const { session, lender } = attacker();
    for (const packet of packets) await session.packet(packet, []);
    assert.equal(lender.agents, 0, packets.join(" "));
  }
});

test("descriptors from an agent are closed unseen, and so is its connection", async () => {
  const before = await openFds();
  const { session, lender, replies } = attacker();
  await session.packet(hello, [someFd(), someFd()]);
  assert.equal(lender.agents, 0);
  assert.equal(replies.length, 0);
  await session.packet(hello, [someFd()]);
  assert.equal(await openFds(), before);
});

test("an agent that does not read loses its connection, not our descriptors", async () => {
  const before = await openFds();
  const { session, lender, accepted } = attacker();
  await session.packet(hello, []);
  await turn();
  accepted.jammed = true;
  await session.packet(JSON.stringify({ id: 2, op: "sockets", podIdx: 1, uid: "p", kind: "out4", count: 8 }), []);
  assert.equal(lender.agents, 0);
  assert.equal(await openFds(), before);
});

test("at most eight agents at once", () => {
  const lender = new Lender({ agentUid: 61008, placeOf: beside, handle, gone: () => {}, log: quiet });
  const accepted = Array.from({ length: 9 }, () => lender.accept(fakeChannelPair(0).accepted));
  assert.equal(accepted.filter(Boolean).length, 8);
});

test("whatever is sent, in whatever order: each request one reply, no crash, no descriptor left", async () => {
  const seed = Date.now();
  console.log(`seed ${seed}`);
  const plausible = fc.record(
    {
      id: fc.oneof(fc.integer({ min: 1, max: 9 }), fc.jsonValue()),
      op: fc.constantFrom("hello", "prepare", "capture", "release", "sockets", "programs", "x"),
      version: fc.constantFrom(1, 2),
      node: fc.string(),
      uid: fc.constantFrom("p", "none", "broken", "../x"),
      addresses: fc.array(fc.constantFrom("10.0.0.1", "::1", "fd00::1", "x"), { maxLength: 3 }),
      podIdx: fc.integer({ min: -1, max: 3 }),
      failDirect: fc.boolean(),
      kind: fc.constantFrom("out4", "local6", "raw"),
      count: fc.integer({ min: 0, max: 66 }),
    },
    { requiredKeys: ["id", "op"] },
  );
  const wellFormed = fc.constantFrom(
    { id: 2, op: "programs" },
    { id: 3, op: "sockets", podIdx: 1, uid: "p", kind: "out6", count: 3 },
    { id: 4, op: "release", podIdx: 1, uid: "p" },
  );
  const packet = fc.oneof(
    plausible.map((one) => JSON.stringify(one)),
    wellFormed.map((one) => JSON.stringify(one)),
    fc.string({ unit: "binary" }),
  );
  const before = await openFds();
  await fc.assert(
    fc.asyncProperty(
      fc.boolean(),
      fc.array(fc.record({ text: packet, withFd: fc.nat({ max: 20 }) }), { maxLength: 12 }),
      async (greet, packets) => {
        const { session, lender, replies } = attacker();
        if (greet) await session.packet(hello, []);
        await Promise.all(packets.map(({ text, withFd }) => session.packet(text, withFd === 0 ? [someFd()] : [])));
        await turn();
        assert.ok(replies.length <= packets.length + 1);
        for (const { text, fds } of replies) {
          assert.ok(Number.isInteger(JSON.parse(text).id));
          assert.ok(fds.length <= 64);
        }
        lender.close();
        await turn();
      },
    ),
    { seed, numRuns: 300 },
  );
  assert.equal(await openFds(), before);
});
