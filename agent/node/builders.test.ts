// The builders of this room: each part does its one thing, and ends it.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import type { Emit } from "../control/source.ts";
import * as engine from "../engine/addon.ts";
import type { LentMaps } from "../engine/keeper-client.ts";
import { KeeperLost } from "../engine/keeper-session.ts";
import { EmbeddedAuthority } from "../identity/embedded.ts";
import type { Provider } from "../identity/provider.ts";
import type { LocalPod } from "../kernel/pair-verdicts.ts";
import { spiffeId } from "../mesh/spiffe-id.ts";
import type { MeshChange } from "../mesh/store.ts";
import type { LogFields, LogRoom } from "../observe/log.ts";
import type { ThreadListener } from "../threads/data-threads.ts";
import type { MainMessage } from "../threads/messages.ts";
import { openAccessLog } from "./access-log.ts";
import { AgentCounts } from "./agent-counts.ts";
import { keepOn } from "./built.ts";
import { holdCertificates } from "./certificates.ts";
import { holdNode, keeperEvents, keeperOfHolder, PodNotices } from "./keeper-events.ts";
import { followMesh } from "./mesh-follower.ts";
import { peerCredentials } from "./peer-credentials.ts";
import { untilAborted } from "./stop-signal.ts";
import { hearThreads } from "./thread-messages.ts";
import { followRoots } from "./trust-roots.ts";

function fakeLog() {
  const lines: string[] = [];
  const room = (name: LogRoom) => {
    const write =
      (level: string) =>
      (message: string, fields: LogFields = {}): void =>
        void lines.push(`${name} ${level} ${message}${"error" in fields ? `: ${fields.error}` : ""}`);
    return { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error") };
  };
  return { lines, room };
}

function scratch(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "orlop-node-"));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn();
}

test("parts on a stack end in reverse, each after the parts that were built later", async () => {
  const ends: string[] = [];
  const part = (name: string) => ({ thing: name, close: async () => void ends.push(name) });
  const stack = new AsyncDisposableStack();
  assert.equal(keepOn(stack, part("first")), "first");
  keepOn(stack, part("second"));
  await stack.disposeAsync();
  await stack.disposeAsync();
  assert.deepEqual(ends, ["second", "first"]);
});

describe("the access log", () => {
  test("writes what was added before it closes", async (t) => {
    const path = join(scratch(t), "access.log");
    const { thing, close } = openAccessLog(path);
    thing?.add("one line\n", 1);
    await close();
    assert.equal(readFileSync(path, "utf8"), "one line\n");
  });

  test("off has no writer; a path that cannot be opened is an error", async (t) => {
    const { thing, close } = openAccessLog("off");
    assert.equal(thing, null);
    await close();
    assert.throws(() => openAccessLog(join(scratch(t), "no", "such", "folder")), { code: "ENOENT" });
  });
});

describe("certificates", () => {
  const web = spiffeId("cluster.local", "shop", "web");

  function setUp(issue: Provider["issue"]) {
    const installed: number[] = [];
    const dropped: number[] = [];
    const sent: MainMessage[] = [];
    const log = fakeLog();
    const counts = new AgentCounts(null);
    const { thing, close } = holdCertificates({
      provider: { name: "fake", issue, roots: async () => [] },
      engine: {
        installIdentity: (identity) => void installed.push(identity),
        dropIdentity: (identity) => void dropped.push(identity),
      },
      threads: { tell: (message) => void sent.push(message) },
      counts,
      log: log.room("identity"),
    });
    return { thing, close, installed, dropped, sent, counts, log };
  }

  test("a failure is counted and reported; closing ends the attempts", async () => {
    const { thing, close, counts, log, installed } = setUp(async () => {
      throw new Error("no answer");
    });
    thing.hold(web);
    await until(() => counts.certificateFailures === 1);
    assert.deepEqual(log.lines, ["identity warn no new certificate: Error: no answer"]);
    await close();
    assert.equal(await thing.ready(web), false);
    assert.deepEqual(installed, []);
  });

  test("a certificate goes into the engine before the threads learn of it, and out with the last holder", async (t) => {
    const rootFile = join(scratch(t), "ca.pem");
    const authority = new EmbeddedAuthority(
      { rootFile, leafTtlSeconds: 3_600, trustDomain: "cluster.local" },
      { wallMs: Date.now },
    );
    await authority.prepare();
    const { thing, close, installed, dropped, sent, log } = setUp((id, signal) => authority.issue(id, signal));
    const identity = thing.hold(web);
    assert.equal(await thing.ready(web), true);
    assert.deepEqual(installed, [identity]);
    assert.deepEqual(sent, [{ op: "identity", identity, spiffeId: web.text, rotated: false }]);
    assert.deepEqual(log.lines, ["identity info certificate installed"]);
    thing.release(web);
    assert.deepEqual(dropped, [identity]);
    assert.deepEqual(sent.at(-1), { op: "identity-dropped", identity, spiffeId: web.text });
    await close();
  });
});

describe("trust roots", () => {
  test("are read at once and again; a failure keeps what is known; closing ends it", async (t) => {
    const options = { leafTtlSeconds: 3_600, trustDomain: "cluster.local" };
    const authority = new EmbeddedAuthority({ ...options, rootFile: join(scratch(t), "ca.pem") }, { wallMs: Date.now });
    await authority.prepare();
    const installed: string[] = [];
    const log = fakeLog();
    const troubles: string[] = [];
    let reads = 0;
    let asked = 0;
    const { close } = await followRoots({
      provider: {
        roots: async () => {
          asked += 1;
          if (asked === 2 || asked === 3) throw new Error("no answer");
          return authority.roots();
        },
      },
      trustDomain: "cluster.local",
      installRoots: (pem) => void installed.push(pem),
      onRead: () => {
        reads += 1;
      },
      onTrouble: (why) => void troubles.push(why),
      log: log.room("identity"),
      everyMs: 1,
    });
    assert.deepEqual([reads, installed.length], [1, 1]);
    await until(() => reads === 3);
    await close();
    assert.deepEqual(log.lines, [
      "identity error the roots could not be read: those that were known stay trusted: Error: no answer",
    ]);
    assert.deepEqual(troubles, ["no answer", ""]);
    assert.equal(installed.length, 1, "the same roots are installed once");
    const last = asked;
    await turn();
    await turn();
    assert.equal(asked, last);
  });
});

describe("messages of data threads", () => {
  function setUp() {
    const log = fakeLog();
    const counts = new AgentCounts(null);
    const given: unknown[] = [];
    const asked: string[] = [];
    let listener: ThreadListener = () => assert.fail("nobody listens");
    let closed = false;
    const { close } = hearThreads({
      threads: {
        listen: (call) => {
          listener = call;
        },
        addSockets: (thread, message) => void given.push([thread, message]),
        close: async () => {
          closed = true;
        },
      },
      keeper: {
        sockets: async ({ podIdx, uid }, kind, count) => {
          asked.push(`${podIdx} ${uid} ${kind} ${count}`);
          return Int32Array.from([20, 21]);
        },
      },
      uidOf: (podIdx) => (podIdx === 3 ? "uid-web" : undefined),
      counts,
      log,
    });
    return {
      hear: (...args: Parameters<ThreadListener>) => listener(...args),
      log,
      counts,
      given,
      asked,
      close,
      isClosed: () => closed,
    };
  }

  test("a thread that runs low gets sockets; without any it is reported, and the engine asks again", async () => {
    const { hear, given, asked, log } = setUp();
    hear(1, { op: "pool-low", podIdx: 3, kind: "out4", count: 64 });
    hear(0, { op: "pool-low", podIdx: 9, kind: "local6", count: 1 });
    await until(() => given.length > 0 && log.lines.length > 0);
    assert.deepEqual(asked, ["3 uid-web out4 64"]);
    assert.deepEqual(given, [[1, { op: "sockets", podIdx: 3, kind: "out4", fds: [20, 21] }]]);
    assert.deepEqual(log.lines, ["keeper warn no sockets: Error: no such pod"]);
  });

  test("failures of peers are counted and written to the log, and a thread's own lines with their level", () => {
    const { hear, counts, log } = setUp();
    const peer = { peer: "10.0.0.9", podIdx: 3 };
    hear(0, { op: "handshake-failed", reason: "timeout", message: "", ...peer });
    hear(0, { op: "tunnel-abused", reason: "reset-flood", ...peer });
    hear(0, { op: "log", level: "error", room: "traffic", message: "a fault", fields: {} });
    assert.deepEqual(log.lines, [
      "traffic info handshake failed",
      "traffic warn tunnel ended: its peer broke the rules",
      "traffic error a fault",
    ]);
    const shown = counts.peers.metrics().flatMap(({ samples }) => samples.map(({ labels, value }) => [labels, value]));
    assert.deepEqual(shown, [
      [{ reason: "timeout" }, 1],
      [{ reason: "reset-flood" }, 1],
    ]);
  });

  test("of a thread's own lines ten a second are written, and a single line counts the others", async () => {
    const { hear, close, log } = setUp();
    for (let nth = 0; nth < 25; nth += 1)
      hear(nth % 2, { op: "log", level: "error", room: "traffic", message: "a fault", fields: {} });
    await close();
    assert.deepEqual(log.lines, [
      ...Array<string>(10).fill("traffic error a fault"),
      "traffic warn data threads had more to say: lines were left out",
    ]);
  });

  test("to close the part ends the threads", async () => {
    const { close, isClosed } = setUp();
    await close();
    assert.equal(isClosed(), true);
  });
});

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

test("a change of the mesh reaches everybody in its order; once the agent leaves, only those that hold connections", async () => {
  const calls: string[] = [];
  const leaving = new AbortController();
  let emit: Emit = () => assert.fail("nobody follows");
  const change = {} as MeshChange;
  const pods: readonly LocalPod[] = [];
  const { close } = followMesh({
    source: {
      run: async (given, signal) => {
        emit = given;
        await untilAborted(signal);
        calls.push("source ended");
      },
    },
    mesh: {
      apply: () => {
        calls.push("mesh");
        return change;
      },
    },
    threads: { tell: ({ op }) => void calls.push(`threads ${op}`) },
    limits: {
      before: () => {
        calls.push("limits");
        return [{ name: "shop/all", cells: null }];
      },
    },
    watch: {
      beforeMeshChange: () => void calls.push("before"),
      afterMeshChange: () => void calls.push("after"),
    },
    pairs: {
      changed: (...args) => {
        assert.deepEqual(args, [change, pods]);
        calls.push("pairs");
      },
    },
    tables: { setDestinations: () => [String(calls.push("tables"))] },
    directs: { sweep: async () => void calls.push("directs") },
    enrollment: {
      followNames: () => void calls.push("names"),
      meshChanged: async () => void calls.push("enrollment"),
      localPods: () => pods,
    },
    leaving: leaving.signal,
    onApplied: () => void calls.push("applied"),
  });
  const always = ["before", "mesh", "limits", "threads limit-cells", "threads updates", "after"];
  emit([]);
  assert.deepEqual(calls.splice(0), [...always, "names", "pairs", "tables", "directs", "applied", "enrollment"]);
  leaving.abort();
  emit([]);
  assert.deepEqual(calls.splice(0), always);
  await close();
  assert.deepEqual(calls, ["source ended"]);
});

test("who connected to a unix socket is asked of the kernel; of a closed socket nothing is known", async (t) => {
  const path = join(scratch(t), "a.sock");
  const accepted = Promise.withResolvers<Socket>();
  const server = createServer((socket) => accepted.resolve(socket)).listen(path);
  const client = connect(path);
  const socket = await accepted.promise;
  t.after(() => {
    client.destroy();
    server.close();
  });
  const known = peerCredentials(socket, engine.peerCredentials);
  assert.deepEqual([known?.pid, known?.uid], [process.pid, process.getuid?.()]);
  socket.destroy();
  await until(() => socket.closed);
  assert.equal(peerCredentials(socket, engine.peerCredentials), null);
});

test("what counts as denied, open and dropped is added up over threads", () => {
  const written: string[] = [];
  const line = (text: string) => ({ text, lines: 1, dropped: 1 });
  const counts = new AgentCounts({ add: (text) => void written.push(text), dropped: 4 });
  const deltas = {
    fresh: [],
    rows: new Float64Array(),
    dropped: [],
    overflowed: 0,
    dryRunDenied: {},
    audited: {},
    requests: { fresh: [], rows: new Float64Array(), dropped: [], overflowed: 0 },
    httpRefused: {},
    retried: {},
    mirrored: {},
  };
  counts.counted(0, { ...deltas, open: 3, decisions: { "deny|policy|x": 2, "allow|none|y": 5 } }, line("a\n"));
  counts.counted(-1, { ...deltas, open: 1, decisions: { "deny|mtls|z": 1 } }, line("b\n"));
  counts.counted(0, { ...deltas, open: 2, decisions: {} }, line("c\n"));
  assert.deepEqual([counts.denied, counts.openConnections, counts.linesDropped], [3, 3, 4 + 3]);
  assert.deepEqual(written, ["a\n", "b\n", "c\n"]);
});
