// keeper-client.ts and keeper-session.ts against a keeper that answers late, wrongly or not at all: no promise hangs, and no
// descriptor stays open.
import assert from "node:assert/strict";
import { closeSync, openSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { untilByTurns } from "../../test/support/until.ts";
import { LENT_MAPS } from "../keeper/protocol.ts";
import { KeeperClient, type KeeperEvents } from "./keeper-client.ts";
import { type ChannelEvents, KeeperLost } from "./keeper-session.ts";

const someFd = (): number => openSync("/dev/null", "r");
async function openFds(): Promise<number> {
  for (let i = 0; i < 3; i++) await turn();
  return readdirSync("/proc/self/fd").length;
}

/** Greets as a keeper does, then hands every request to the test. */
function setUp(options: { greet?: boolean; timeoutMs?: number } = {}) {
  const asked: { id: number; op: string }[] = [];
  const lost: string[] = [];
  const gone: string[] = [];
  let channels = 0;
  let events: ChannelEvents | undefined;
  const client = new KeeperClient({
    path: "/nowhere",
    node: "n",
    role: () => "new",
    // Long, except where running out of it is what is tested: this machine may be busy.
    requestTimeoutMs: options.timeoutMs ?? 30_000,
    connect: (_path, given) => {
      channels++;
      events = given;
      return {
        send: (text) => {
          const request = JSON.parse(text);
          if (request.op !== "hello") asked.push(request);
          else if (options.greet !== false) {
            const welcome = { id: request.id, op: "welcome", version: 1, role: "holding", pods: [] };
            setImmediate(() => given.onPacket(JSON.stringify(welcome), LENT_MAPS.map(someFd)));
          }
          return true;
        },
        close: () => {},
      };
    },
  });
  const keeperEvents: KeeperEvents = {
    onWelcome: ({ maps }) => {
      for (const fd of Object.values(maps)) closeSync(fd);
    },
    onLost: (why) => lost.push(why),
    onPodGuarded: () => {},
    onPodFound: () => {},
    onPodStarting: () => {},
    onPodGone: (podIdx, uid) => gone.push(`${podIdx} ${uid}`),
    onYield: () => gone.push("yield"),
    onVacant: () => gone.push("vacant"),
    onSettled: () => gone.push("settled"),
    onReread: () => gone.push("reread"),
  };
  const answer = (reply: object, fds: readonly number[] = []): void => events?.onPacket(JSON.stringify(reply), fds);
  return {
    client,
    asked,
    lost,
    gone,
    answer,
    start: () => client.start(keeperEvents),
    hangUp: () => events?.onClosed(),
    raw: (text: string) => events?.onPacket(text, []),
    channels: () => channels,
  };
}

const pod = { podIdx: 1, uid: "p" };

async function started(keeper: ReturnType<typeof setUp>): Promise<void> {
  keeper.start();
  await untilByTurns(() => keeper.client.connected);
}

test("an answer that comes too late is closed, and the next request is not confused by it", async () => {
  const keeper = setUp({ timeoutMs: 300 });
  await started(keeper);
  const before = await openFds();
  await assert.rejects(keeper.client.sockets(pod, "out4", 2), /did not answer sockets in time/);
  const [late] = keeper.asked;
  keeper.answer({ id: late?.id, op: "sockets", podIdx: 1, kind: "out4" }, [someFd(), someFd()]);
  keeper.answer({ id: 999, op: "done" }, [someFd()]);
  assert.equal(await openFds(), before);
  const next = keeper.client.release(pod);
  keeper.answer({ id: keeper.asked[1]?.id, op: "done" });
  await next;
  keeper.client.close();
});

test("an answer that is not what was asked for ends the connection", async () => {
  const wrong: readonly (readonly [object, number])[] = [
    [{ op: "done" }, 0],
    [{ op: "sockets", podIdx: 2, kind: "out4" }, 1],
    [{ op: "sockets", podIdx: 1, kind: "out6" }, 1],
    [{ op: "sockets", podIdx: 1, kind: "out4" }, 3],
  ];
  for (const [reply, fds] of wrong) {
    const keeper = setUp();
    await started(keeper);
    const before = await openFds();
    const asking = assert.rejects(keeper.client.sockets(pod, "out4", 2), KeeperLost);
    const other = assert.rejects(keeper.client.release(pod), KeeperLost);
    keeper.answer({ id: keeper.asked[0]?.id, ...reply }, Array.from({ length: fds }, someFd));
    await asking;
    await other;
    assert.equal(keeper.lost.length, 1);
    keeper.client.close();
    assert.equal(await openFds(), before);
  }
});

test("what is no message ends the connection, and it is made anew", async () => {
  for (const text of ["", "no json", "7", "null"]) {
    const keeper = setUp();
    await started(keeper);
    keeper.raw(text);
    assert.equal(keeper.client.connected, false, text);
    await untilByTurns(() => keeper.client.connected);
    assert.equal(keeper.channels(), 2);
    keeper.client.close();
  }
});

test("a keeper that never greets is given up and tried again; no connection was lost, so none is reported", async () => {
  const keeper = setUp({ greet: false, timeoutMs: 30 });
  keeper.start();
  await untilByTurns(() => keeper.channels() >= 2);
  assert.deepEqual(keeper.lost, []);
  keeper.client.close();
  await assert.rejects(keeper.client.programs(), KeeperLost);
});

test("no more descriptors are asked for than the socket between us holds; the rest waits its turn", async () => {
  const keeper = setUp();
  await started(keeper);
  const all = Array.from({ length: 10 }, (_, podIdx) =>
    keeper.client.sockets({ ...pod, podIdx: podIdx + 1 }, "out4", 64),
  );
  assert.equal(keeper.asked.length, 3);
  for (let i = 0; i < 10; i++) {
    const { id, podIdx } = keeper.asked[i] as { id: number; op: string; podIdx: number };
    keeper.answer({ id, op: "sockets", podIdx, kind: "out4" }, [someFd()]);
    await turn();
    assert.equal(keeper.asked.length, Math.min(10, i + 4));
  }
  for (const fds of await Promise.all(all)) for (const fd of fds) closeSync(fd);
  keeper.client.close();
});

test("each state says whether there is a keeper, and why not", async () => {
  const keeper = setUp();
  const { client } = keeper;
  const state = (): readonly [boolean, string] => [client.connected, client.trouble];
  assert.deepEqual(state(), [false, "not connected yet"]);
  await assert.rejects(client.programs(), KeeperLost);
  keeper.start();
  assert.deepEqual(state(), [false, "not connected yet"]);
  await untilByTurns(() => client.connected);
  assert.deepEqual(state(), [true, ""]);
  keeper.hangUp();
  const why = "the keeper closed the connection";
  assert.deepEqual([state(), keeper.lost], [[false, why], [why]]);
  keeper.hangUp();
  keeper.start();
  assert.equal(keeper.channels(), 1, "only the timer connects again");
  await untilByTurns(() => keeper.channels() >= 2);
  assert.deepEqual(state(), [false, why], "until the next welcome");
  await untilByTurns(() => client.connected);
  client.close();
  assert.deepEqual([state(), keeper.lost], [[false, "the agent ends"], [why]]);
  keeper.start();
  assert.equal(keeper.channels(), 2);
  await assert.rejects(client.programs(), KeeperLost);
});

test("requests that are under way when the keeper goes are lost with it; its notices come until then", async () => {
  const keeper = setUp();
  await started(keeper);
  keeper.answer({ id: 0, op: "pod-gone", podIdx: 4, uid: "web" });
  const sent = assert.rejects(keeper.client.release(pod), /closed the connection/);
  const queued = Array.from({ length: 5 }, () =>
    assert.rejects(keeper.client.sockets(pod, "out4", 64), /closed the connection/),
  );
  keeper.hangUp();
  await sent;
  await Promise.all(queued);
  keeper.answer({ id: 0, op: "pod-gone", podIdx: 5, uid: "late" });
  assert.deepEqual(keeper.gone, ["4 web"]);
  keeper.client.close();
});

test("the node is taken with the maps; a refusal and a wrong answer leave no descriptor; notices come in their order", async () => {
  const keeper = setUp();
  await started(keeper);
  const before = await openFds();
  const taken = keeper.client.take();
  keeper.answer({ id: keeper.asked.at(-1)?.id, op: "taken", pods: [{ podIdx: 2, uid: "web" }] }, LENT_MAPS.map(someFd));
  const { maps, pods } = await taken;
  assert.deepEqual([Object.keys(maps), pods], [[...LENT_MAPS], [{ podIdx: 2, uid: "web" }]]);
  for (const fd of Object.values(maps)) closeSync(fd);
  const busy = assert.rejects(keeper.client.take(), { name: "KeeperRefused", reason: "busy" });
  keeper.answer({ id: keeper.asked.at(-1)?.id, op: "refused", reason: "busy", message: "" });
  await busy;
  for (const op of ["yield", "vacant", "settled", "reread"]) keeper.answer({ id: 0, op });
  assert.deepEqual(keeper.gone, ["yield", "vacant", "settled", "reread"]);
  const short = assert.rejects(keeper.client.take(), KeeperLost);
  keeper.answer({ id: keeper.asked.at(-1)?.id, op: "taken", pods: [] }, [someFd()]);
  await short;
  keeper.client.close();
  assert.equal(await openFds(), before);
});
