// What the keeper says reaches tenure and enrollment; who holds the node opens its maps, and who does not asks for nothing.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { LentMaps } from "../engine/keeper-client.ts";
import { KeeperLost } from "../engine/keeper-session.ts";
import { fakeLog } from "./built.fake.ts";
import { holdNode, keeperEvents, keeperOfHolder, PodNotices } from "./keeper-events.ts";

test("the keeper's coming, going and notices reach the agent's tenure, pods that go or are guarded its enrollment", () => {
  const calls: string[] = [];
  const log = fakeLog();
  const notices = new PodNotices();
  const events = keeperEvents({
    notices,
    tenure: {
      welcomed: ({ role }) => void calls.push(`welcomed ${role}`),
      happened: ({ type }) => void calls.push(type),
    },
    enrollment: {
      podGone: (podIdx, uid) => void calls.push(`gone ${podIdx} ${uid}`),
      podGuarded: (podIdx, uid) => void calls.push(`guarded ${podIdx} ${uid}`),
      podStarting: (podIdx, uid) => void calls.push(`starting ${podIdx} ${uid}`),
      hasBegun: (uid) => uid === "web",
    },
    counts: { podFound: (found) => void calls.push(`found ${found}`) },
    connected: (now) => void calls.push(`connected ${now}`),
    log,
  });
  events.onWelcome({ maps: {} as LentMaps, pods: [{ podIdx: 3, uid: "web" }], role: "waiting" });
  // The agent does not work with the list of the welcome yet.
  notices.wait();
  events.onPodGone(3, "web");
  events.onPodFound("web", "late");
  events.onPodGuarded(4, "web", undefined);
  events.onPodFound("old", "late");
  events.onPodGuarded(6, "old", "first-process");
  assert.deepEqual(calls.splice(0), ["connected true", "welcomed waiting", "found late", "found first-process"]);
  notices.go();
  events.onPodStarting(5, "api");
  events.onYield();
  events.onVacant();
  events.onSettled();
  events.onReread();
  events.onLost("it closed");
  assert.deepEqual(calls, [
    ...["gone 3 web", "guarded 4 web", "guarded 6 old", "starting 5 api"],
    ...["yield", "vacant", "settled", "reread", "connected false", "lost"],
  ]);
  assert.deepEqual(log.lines, [
    "keeper info keeper connected",
    "keeper info pod gone",
    ...Array.from({ length: 2 }, () => "keeper info pod guarded until it is captured"),
    "keeper debug pod begins",
    "keeper warn keeper lost: pods that are captured go on",
  ]);
});

test("to hold the node, every part opens its maps, which the agent then closes, before pods are enrolled; it serves once the mesh is known and worked off", async () => {
  const calls: string[] = [];
  const user = (name: string) => ({ opened: ({ gate }: LentMaps) => void calls.push(`${name} opens ${gate}`) });
  const first = Promise.withResolvers<void>();
  const served = holdNode(
    {
      maps: { gate: 7, dst_of_flow: 8, traffic: 9 } as Partial<LentMaps> as LentMaps,
      pods: [{ podIdx: 3, uid: "web" }],
    },
    {
      users: [user("tables"), user("pairs")],
      threads: { setFlowMap: (fd) => void calls.push(`flow map ${fd}`) },
      close: (fd) => void calls.push(`closes ${fd}`),
      enrollment: { keeperCame: async (pods) => void calls.push(`enrolls ${pods.length}`), firstTurn: first.promise },
    },
  ).then(() => calls.push("serves"));
  await turn();
  const opened = ["tables opens 7", "pairs opens 7", "closes 7", "closes 9", "flow map 8", "enrolls 1"];
  assert.deepEqual(calls, opened);
  first.resolve();
  await served;
  assert.deepEqual(calls, [...opened, "serves"]);
});

test("while another agent holds the node, enrollment has no keeper, and what it would sever is the other's to sever", async () => {
  const asked: string[] = [];
  const done = (what: string) => async () => void asked.push(what);
  let holds = true;
  const pod = { podIdx: 1, uid: "p" };
  const keeper = keeperOfHolder(
    {
      connected: true,
      guard: async () => asked.push("guard"),
      knownOf: async () => ({ workload: "", addresses: [] }),
      name: done("name"),
      prepare: async () => assert.fail("not asked for"),
      setAddresses: done("set-addresses"),
      capture: done("capture"),
      release: done("release"),
      releaseToGuard: async () => asked.push("release-to-guard"),
      sever: done("sever"),
    },
    () => holds,
    KeeperLost,
  );
  assert.equal(keeper.connected, true);
  await keeper.capture(pod, false);
  await keeper.sever(pod);
  holds = false;
  assert.equal(keeper.connected, false);
  const changes = [
    () => keeper.guard("p", "w"),
    () => keeper.name(pod, "w"),
    () => keeper.knownOf(pod),
    () => keeper.prepare("p", []),
    () => keeper.setAddresses(pod, []),
    () => keeper.capture(pod, true),
    () => keeper.release(pod),
  ];
  for (const change of changes) await assert.rejects(change, KeeperLost);
  await keeper.sever(pod);
  assert.deepEqual(asked, ["capture", "sever"]);
});
