// test cluster · the agent's source against a real API server behind a fault proxy, while objects come, change and go. The property is
// that of agent/control/kubernetes/history.test.ts: every mesh is that of one whole state of each kind, none is older than the last.
// `make cluster-test` runs it. It needs programs that take minutes to build, so `make test` does not.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ApiClient } from "../../agent/control/kubernetes/api-client.ts";
import { kubeconfig } from "../../agent/control/kubernetes/credentials.ts";
import { KubernetesSource } from "../../agent/control/kubernetes/source.ts";
import { watchedKinds } from "../../agent/control/kubernetes/watched-kinds.ts";
import { Dice } from "../support/dice.ts";
import { makeAccount, revoke, tokenOf } from "./agent-account.ts";
import { ask } from "./api.ts";
import { startCluster, stopCluster } from "./cluster.ts";
import { type Fault, html, pass, refusal } from "./fault.ts";
import { FaultProxy, nameOf } from "./fault-proxy.ts";
import { KindHistory, listed } from "./kind-history.ts";
import { inhabitantsOf, leftOf } from "./leftovers.ts";
import { pkiOf } from "./plan.ts";
import { RandomObjects } from "./random-objects.ts";
import { SourceChecker } from "./source-checker.ts";
import { testCluster } from "./test-cluster.ts";

const SEED = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 31));
/** Of random changes and faults. */
const RANDOM_MS = 60_000;
/** For whatever must come in the end, on a busy machine. */
const PATIENCE_MS = 180_000;
/** The longest wait of the source between two attempts: its own would be up to 30 s. */
const PAUSE_MS = 1_000;
const settings = {
  ...{ node: "node-1", cluster: "c1", network: "", trustDomain: "cluster.local", clusterDomain: "cluster.local" },
  ...{ rootNamespace: "istio-system", honourIstioLabels: false, runtimeClasses: [] },
};

const folder = mkdtempSync(path.join(tmpdir(), "orlop-source-"));
const { plan, binaries, kubeconfig: admin, kubectl } = testCluster("source", 1, folder);
const urlOf = ({ path: url, selector }: (typeof watchedKinds)[number]): string =>
  selector === "" ? url : `${url}?${selector}`;

async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + PATIENCE_MS;
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error(`${what}: not within ${PATIENCE_MS / 1_000} s (ORLOP_SEED=${SEED})`);
    await sleep(50);
  }
}

/** Each fault comes once before any comes again, and as often nothing is done. */
class Faults {
  readonly #dice: Dice;
  #deck: Fault[] = [];

  constructor(dice: Dice) {
    this.#dice = dice;
  }

  /** For an answer that is under way: what can happen to its bytes. */
  ofBody(): readonly Fault[] {
    const bytes = (): number => this.#dice.roll(3_000);
    return [
      ...(["end", "reset", "disconnect"] as const).map((how): Fault => ({ kind: "cut", how, afterBytes: bytes() })),
      { kind: "stall", afterBytes: bytes(), forMs: 200 + this.#dice.roll(4_000) },
      { kind: "trickle", bytes: 1 + this.#dice.roll(300), everyMs: 1 + this.#dice.roll(20), forMs: 3_000 },
      { kind: "expire" },
    ];
  }

  draw(url: string): Fault {
    if (this.#dice.chance(50)) return pass;
    if (this.#deck.length === 0) {
      const refusals = [refusal(401), refusal(403), refusal(410), refusal(429, 1), refusal(500), refusal(503, 1)];
      this.#deck = [html, ...refusals, ...this.ofBody()];
    }
    const [fault = pass] = this.#deck.splice(this.#dice.roll(this.#deck.length), 1);
    // Only a watch has events, of which the last may be an error.
    return fault.kind === "expire" && !url.includes("watch=true") ? pass : fault;
  }

  disturb(proxy: FaultProxy): void {
    this.#dice.pick([
      () => proxy.hangUp(),
      () => proxy.goAway(),
      ...this.ofBody().map((fault) => () => proxy.strike(fault)),
    ])();
  }
}

/** Changes objects until it is stopped. */
class Stir {
  #isOver = false;
  readonly #done: Promise<void>;

  constructor(objects: RandomObjects, dice: Dice) {
    this.#done = this.#run(objects, dice);
    // The stopper hears it.
    this.#done.catch(() => undefined);
  }

  stop(): Promise<void> {
    this.#isOver = true;
    return this.#done;
  }

  async #run(objects: RandomObjects, dice: Dice): Promise<void> {
    while (!this.#isOver) {
      await objects.step();
      await sleep(dice.roll(150));
    }
  }
}

test(`through faults, every mesh is that of whole states of the API server (ORLOP_SEED=${SEED})`, async (t) => {
  console.log(`ORLOP_SEED=${SEED}`);
  await startCluster(plan, binaries, console.log);
  await makeAccount(admin);
  for (const kind of watchedKinds)
    await until(`${kind.kind} is served`, async () => (await ask(admin, kind.path)).status === 200);
  const objects = new RandomObjects(new Dice(SEED), admin);
  await objects.begin();
  const histories = new Map(watchedKinds.map((kind) => [kind.kind, new KindHistory(kubectl, urlOf(kind))]));
  t.after(() => {
    for (const history of histories.values()) history.close();
  });

  const pki = (name: string): Buffer => readFileSync(path.join(pkiOf(plan), name));
  const proxy = await FaultProxy.listen({
    ...{ server: kubeconfig(admin).server, ca: pki("ca.crt") },
    ...{ certificate: pki("apiserver.crt"), key: pki("apiserver.key") },
  });
  t.after(() => proxy.close());
  const tokenFile = path.join(folder, "token");
  writeFileSync(tokenFile, await tokenOf(admin, "first"));
  const lastGoodFile = path.join(folder, "cluster.jsonl");
  const checker = new SourceChecker(settings, lastGoodFile);
  let wallMs = 0;

  /** One life of an agent's source. */
  const live = () => {
    const token = (): string => readFileSync(tokenFile, "utf8");
    const client = new ApiClient({ server: proxy.url, ca: () => pki("ca.crt").toString(), token, client: null });
    const ending = new AbortController();
    const source = new KubernetesSource(
      { server: proxy.url, settings, lastGoodFile },
      {
        ask: (url, options) => client.ask(url, options),
        // Each batch has a time of its own, by which it is found on disk.
        wallMs: () => {
          wallMs += 1;
          return wallMs;
        },
        sleep: (ms, signal) => sleep(Math.min(ms, PAUSE_MS), undefined, { signal }),
      },
    );
    checker.restarts();
    const running = source.run((updates) => checker.emitted(updates, source.status().appliedAt), ending.signal);
    // `stop` says why it has ended before.
    running.catch(() => undefined);
    const stop = async (): Promise<void> => {
      ending.abort();
      await running;
      client.close();
    };
    return { source, stop };
  };

  const faults = new Faults(new Dice(SEED + 1));
  const all = [html, ...[401, 403, 410, 429, 500, 503].map((code) => refusal(code)), ...faults.ofBody()].map(nameOf);
  proxy.decide = (url) => faults.draw(url);
  let life = live();
  t.after(() => life.stop());
  t.after(() => console.log(`the source at the end: ${JSON.stringify(life.source.status().kinds)}`));
  const stir = new Stir(objects, new Dice(SEED + 2));
  const dice = new Dice(SEED + 3);
  const least = performance.now() + RANDOM_MS;
  const isEnough = (): boolean =>
    performance.now() > least && checker.meshes > 30 && all.every((name) => proxy.happened.has(name));
  try {
    await until("every fault, and enough changes", async () => {
      await sleep(500 + dice.roll(2_000));
      if (dice.chance(8)) {
        await life.stop();
        life = live();
      } else faults.disturb(proxy);
      return isEnough();
    });
  } finally {
    await stir.stop();
  }
  proxy.decide = () => pass;
  proxy.strike(pass);

  const isCurrent = (): boolean => {
    const now = checker.now();
    return watchedKinds.every((kind) => now?.get(kind.kind) === listed(kubectl, urlOf(kind)).state);
  };
  await until("the source has what the API server has", isCurrent);

  // The token ends, and for a while the file has no other: what was read stays in force.
  const second = await tokenOf(admin, "second");
  await revoke(admin, "first");
  const refused = (): number => proxy.statuses.get(401) ?? 0;
  const before = refused();
  let hungUpMs = 0;
  await until("the API server refuses the old token", () => {
    if (performance.now() > hungUpMs + 1_000) {
      proxy.hangUp();
      hungUpMs = performance.now();
    }
    return refused() > before;
  });
  await until("the source says that it is stale", () => life.source.status().state === "stale");
  assert.ok(life.source.status().objects > 0);
  writeFileSync(tokenFile, second);

  // With the namespace goes all that is in it.
  await objects.oneOfEach("bank");
  await until("the source has the new objects", isCurrent);
  const isIn = (namespace: string): boolean =>
    [...(checker.now()?.values() ?? [`${namespace}/`])].some((state) => `\n${state}`.includes(`\n${namespace}/`));
  assert.ok(isIn("bank"));
  await objects.removeNamespace("bank");
  await until("nothing of a deleted namespace is in force", () => !isIn("bank"));
  // A last object of each kind, by which kubectl's histories are seen to be at their end too.
  await objects.makeNamespace("last");
  await objects.oneOfEach("shop", "last");
  await until("the source has what the API server has, in the end", isCurrent);
  for (const kind of watchedKinds) {
    const history = histories.get(kind.kind);
    await until(`the history of ${kind.kind} is whole`, () => {
      const { state, version } = listed(kubectl, urlOf(kind));
      assert.equal(listed(kubectl, urlOf(kind), version).state, state, `${kind.kind} at version ${version}`);
      return history?.last === state;
    });
  }
  checker.verify(histories);

  const counted = (counts: ReadonlyMap<unknown, number>): string =>
    [...counts].map(([what, count]) => `${what} ${count}`).join(", ");
  const states = new Map([...histories].map(([kind, history]) => [kind, history.length]));
  console.log(`${checker.meshes} meshes, and ${checker.late} that the disk was late for; states: ${counted(states)}`);
  console.log(`changes: ${counted(objects.taken)}; gone: ${counted(checker.gone)}`);
  console.log(`faults: ${counted(proxy.happened)}; the server's answers: ${counted(proxy.statuses)}`);
  assert.ok(checker.late < checker.meshes, "most meshes could not be held to their objects");
  for (const { kind } of watchedKinds) assert.ok((checker.gone.get(kind) ?? 0) > 0, `no ${kind} has gone`);
});

test("afterwards nothing of the cluster is left", async () => {
  const before = inhabitantsOf(plan);
  await stopCluster(plan);
  assert.deepEqual(leftOf(plan, before), []);
});
