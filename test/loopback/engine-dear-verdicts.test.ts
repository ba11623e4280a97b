// tests · a pod whose verdicts take the thread's time pays for it: the requests of other pods go on between them.
import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import test from "node:test";
import type { Answer } from "../../agent/engine/answers.ts";
import type { EngineEvent } from "../../agent/engine/events.ts";
import { pair, refOf } from "./hbone-pair.ts";
import { dial, type Server, serve } from "./support.ts";
import { TestEngine } from "./test-engine.ts";

/** Of a verdict on a request of pod 1, as of a rule with a thousand expressions. */
const DEAR_MS = 2;
const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

const application = (): Promise<Server> =>
  serve((socket) => {
    socket.on("data", (data) => {
      for (let left = String(data).split("GET ").length - 1; left > 0; left--)
        socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
  });

/** Verdicts on pod 1's requests are dear. `decided` has the pod of each verdict, in their order. */
class DearEngine implements Disposable {
  readonly decided: number[] = [];
  readonly engine: TestEngine;
  readonly #ports = new Map<number, number>();

  constructor(appPort: number) {
    this.engine = new TestEngine((event) => this.#answer(event, appPort));
    for (const pod of [1, 2]) {
      this.engine.engine.setPod(pod, { netnsCookie: BigInt(pod), identity: -1 });
      this.#ports.set(pod, this.engine.listen(pod, "inbound"));
    }
  }

  #answer(event: EngineEvent, port: number): Answer | undefined {
    if (event.type === "accepted") {
      const to = { address: "127.0.0.1", port };
      return { ...refOf(event), type: "dial", podIdx: event.podIdx, to, from: null, baggage: "", reading: "or-end" };
    }
    if (event.type !== "request") return undefined;
    this.decided.push(event.podIdx);
    if (event.podIdx === 1) burn();
    return { ...refOf(event), type: "forward", request: event.request, target: "" };
  }

  /** Each answer is the occasion of the next request. `until` is asked before each. */
  async asks(pod: number, until: () => boolean, keepsOpen = true): Promise<number> {
    let socket: Socket | null = null;
    let answers = 0;
    for (; !until(); answers++) {
      socket ??= await dial(this.#ports.get(pod) ?? 0);
      socket.write(GET);
      await new Promise((resolve, reject) => socket?.once("data", resolve).once("error", reject));
      socket.removeAllListeners("error");
      if (keepsOpen) continue;
      socket.destroy();
      socket = null;
    }
    socket?.destroy();
    return answers;
  }

  /** Of pod 1 so far. */
  dear(): number {
    return this.decided.filter((pod) => pod === 1).length;
  }

  [Symbol.dispose](): void {
    this.engine[Symbol.dispose]();
  }
}

/** Before anything was dear nobody knows what will be: a turn's worth of it comes. */
const FIRST = 70;
const DEAR = 60;
/** What a turn of a busy machine takes is no pod's to say; where nobody pays, 50 and more come at once. */
const MOST_AT_ONCE = 24;

/** @param decided pods in the order of their verdicts, of which pod 1 has the dear ones */
function assertFair(decided: readonly number[]): void {
  const later = decided.slice(FIRST).join("");
  const others = later.replaceAll("1", "").length;
  assert.ok(others >= DEAR, `${others} verdicts of another pod beside ${DEAR}`);
  const atOnce = Math.max(...later.split("2").map((each) => each.length));
  assert.ok(atOnce <= MOST_AT_ONCE, `${atOnce} at once`);
}

const burn = (): void => {
  const until = performance.now() + DEAR_MS;
  while (performance.now() < until);
};

/** Connects again and again; whatever becomes of it. */
async function knocks(port: number, until: () => boolean): Promise<void> {
  while (!until()) {
    const socket = connect(port, "127.0.0.1");
    await new Promise((resolve) => socket.once("error", () => undefined).once("close", resolve));
  }
}

for (const keepsOpen of [true, false]) {
  test(`while the verdicts of a pod are dear, another pod has more of them than it${keepsOpen ? "" : ", also when a new connection brings each request"}`, async () => {
    const app = await application();
    using pods = new DearEngine(app.port);
    let isOver = false;
    const dear = Array.from({ length: 40 }, () => pods.asks(1, () => isOver, keepsOpen));
    await pods.asks(2, () => pods.dear() >= FIRST + DEAR);
    isOver = true;
    const decided = [...pods.decided];
    await Promise.all(dear);
    assertFair(decided);
  });
}

test("while verdicts on a pod's connections are dear, another pod has more of them than it", async () => {
  const decided: number[] = [];
  using engine = new TestEngine((event) => {
    if (event.type !== "accepted") return undefined;
    decided.push(event.podIdx);
    if (event.podIdx === 1) burn();
    return { ...refOf(event), type: "refuse", status: 403 };
  });
  for (const pod of [1, 2]) engine.engine.setPod(pod, { netnsCookie: BigInt(pod), identity: -1 });
  const [dear, cheap] = [engine.listen(1, "inbound"), engine.listen(2, "inbound")];
  const isOver = (): boolean => decided.filter((pod) => pod === 1).length >= FIRST + DEAR;
  const flood = Array.from({ length: 60 }, () => knocks(dear, isOver));
  await knocks(cheap, isOver);
  assertFair(decided);
  await Promise.all(flood);
});

test("while verdicts on what a pod is asked for by a tunnel are dear, another pod has more of them than it", async () => {
  const decided: number[] = [];
  using tunnel = pair(1, {
    server: (event) => {
      if (event.type === "connect-request") {
        decided.push(1);
        burn();
        return { ...refOf(event), type: "refuse", status: 403 };
      }
      if (event.type !== "accepted") return undefined;
      decided.push(2);
      return { ...refOf(event), type: "refuse", status: 403 };
    },
  });
  tunnel.server.engine.setPod(3, { netnsCookie: 3n, identity: -1 });
  const cheap = tunnel.server.listen(3, "inbound");
  const isOver = (): boolean => decided.filter((pod) => pod === 1).length >= FIRST + DEAR;
  const flood = Array.from({ length: 60 }, () => knocks(tunnel.port, isOver));
  await knocks(cheap, isOver);
  assertFair(decided);
  await Promise.all(flood);
});
