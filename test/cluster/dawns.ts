// test cluster · pods that listen and dial in their first millisecond (pod.c, `dawn`): started as a controller would, and what each has seen.
import { setTimeout as sleep } from "node:timers/promises";
import { type Answer, ask, type Method, send } from "./api.ts";
import { POD_IMAGE } from "./plan.ts";
import { rankOf } from "./start-cost.ts";

/** What the pods listen on. */
export const DAWN_PORT = 9090;
const DEADLINE_MS = 180_000;
const LOOK_MS = 200;

/** Times from the pod's creation: to its first instruction, and to the answer to its first call. */
export type Dawn = {
  readonly name: string;
  /** What its first call was answered; empty: with nothing. */
  readonly heard: string;
  /** Connections that it has accepted. */
  readonly reached: number;
  readonly startMs: number;
  readonly answerMs: number;
  /** What the system said of a call that failed; absent: it did not fail. */
  readonly error?: string;
};

export type Target = { readonly address: string; readonly port: number };

export const podObject = (namespace: string, name: string, node: string, command: readonly string[]) => ({
  ...{ apiVersion: "v1", kind: "Pod", metadata: { name, namespace, labels: { app: name.split("-")[0] } } },
  spec: {
    nodeSelector: { "kubernetes.io/hostname": node },
    ...{ automountServiceAccountToken: false, terminationGracePeriodSeconds: 0, restartPolicy: "Never" },
    containers: [{ name: "pod", image: POD_IMAGE, imagePullPolicy: "Never", command: ["/pod", ...command] }],
  },
});

/** Where pods are started, and what they dial. */
export type Turn = { readonly namespace: string; readonly target: Target };
type Started = { readonly turn: Turn; readonly name: string; readonly createdMs: number };
type PodList = {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly status?: { readonly phase?: string };
  }[];
};

/** How pods are started in turns. */
export type Pace = {
  /** After each start. */
  readonly everyMs: number;
  /** So many have not ended yet: a machine that cannot keep up gets no more. */
  readonly atOnce: number;
};

export class Dawns {
  readonly #kubeconfig: string;
  readonly #node: string;
  #started = 0;

  constructor(kubeconfig: string, node: string) {
    this.#kubeconfig = kubeconfig;
    this.#node = node;
  }

  /** Of the pod that was started last. */
  get last(): string {
    return `dawn-${this.#started}`;
  }

  /** Starts so many pods at once, waits for their end, and deletes them. @throws Error when they do not end */
  async wave(turn: Turn, count: number): Promise<readonly Dawn[]> {
    const started = await Promise.all(Array.from({ length: count }, () => this.#start(turn)));
    const open = new Map(started.map((pod) => [pod.name, pod]));
    const [dawns = []] = await this.#collectAll([turn], open);
    return dawns;
  }

  /**
   * Starts pods in turns, and deletes each when it has ended. Gives those of each turn, in the order of their starts.
   * @param rounds as many of each turn
   * @throws Error when they do not end
   */
  async inTurns(
    turns: readonly Turn[],
    rounds: number,
    { everyMs, atOnce }: Pace,
  ): Promise<readonly (readonly Dawn[])[]> {
    const open = new Map<string, Started>();
    const all: Dawn[][] = turns.map(() => []);
    const take = async (): Promise<void> => {
      for (const [at, dawns] of (await this.#collect(turns, open)).entries()) all[at]?.push(...dawns);
    };
    for (let round = 0; round < rounds; round++) {
      // Each comes behind the other as often as before it.
      for (const turn of round % 2 === 0 ? turns : turns.toReversed()) {
        while (open.size >= atOnce) {
          await take();
          await sleep(LOOK_MS);
        }
        const pod = await this.#start(turn);
        open.set(pod.name, pod);
        await Promise.all([sleep(everyMs), take()]);
      }
    }
    for (const [at, dawns] of (await this.#collectAll(turns, open)).entries()) all[at]?.push(...dawns);
    return all.map((dawns) => dawns.toSorted((a, b) => numberOf(a) - numberOf(b)));
  }

  async #start(turn: Turn): Promise<Started> {
    const { namespace, target } = turn;
    const name = `dawn-${++this.#started}`;
    const command = ["dawn", String(DAWN_PORT), target.address, String(target.port)];
    const createdMs = Date.now();
    const object = podObject(namespace, name, this.#node, command);
    const { status, body } = await this.#answered("POST", podsOf(namespace), object);
    // 409: a try before, to which no answer came, has made it.
    if (status !== 201 && status !== 409) throw new Error(`pod ${name}: ${status} ${body}`);
    return { turn, name, createdMs };
  }

  /** With a hundred pods at once the machine may be too busy for an answer in time. */
  async #answered(method: Method, url: string, object?: object): Promise<Answer> {
    const end = performance.now() + DEADLINE_MS;
    for (;;) {
      const answer = await send(this.#kubeconfig, method, url, object);
      if (answer.status !== 0 || performance.now() > end) return answer;
      await sleep(LOOK_MS);
    }
  }

  async #collectAll(turns: readonly Turn[], open: Map<string, Started>): Promise<readonly (readonly Dawn[])[]> {
    const all: Dawn[][] = turns.map(() => []);
    const end = performance.now() + DEADLINE_MS;
    while (open.size > 0) {
      if (performance.now() > end) throw new Error(`${[...open.keys()].join(" ")} have not ended`);
      for (const [at, dawns] of (await this.#collect(turns, open)).entries()) all[at]?.push(...dawns);
      await sleep(LOOK_MS);
    }
    return all;
  }

  /** What those have seen that have ended by now. They are open no more. */
  async #collect(turns: readonly Turn[], open: Map<string, Started>): Promise<readonly (readonly Dawn[])[]> {
    const all: Dawn[][] = [];
    for (const turn of turns) {
      const dawns: Dawn[] = [];
      all.push(dawns);
      const { status, body } = await ask(this.#kubeconfig, `${podsOf(turn.namespace)}?labelSelector=app%3Ddawn`);
      if (status !== 200) continue;
      for (const { metadata, status } of (JSON.parse(body) as PodList).items) {
        const pod = open.get(metadata.name);
        if (pod === undefined || status?.phase !== "Succeeded") continue;
        dawns.push(await this.#seenBy(pod));
        open.delete(pod.name);
      }
    }
    return all;
  }

  async #seenBy({ name, createdMs, turn }: Started): Promise<Dawn> {
    const url = `${podsOf(turn.namespace)}/${name}`;
    const { status, body } = await this.#answered("GET", `${url}/log`);
    if (status !== 200) throw new Error(`the log of ${name}: ${status} ${body}`);
    await this.#answered("DELETE", url, { gracePeriodSeconds: 0 });
    const said = new Map(body.split("\n").map((line) => line.split(" ", 2) as [string, string]));
    const since = (what: string): number => Number(said.get(what)) - createdMs;
    const times = { startMs: since("began"), answerMs: since("answered") };
    const error = body.split("\n").find((line) => line.startsWith("pod: "));
    const seen = { name, heard: said.get("heard") ?? "", reached: Number(said.get("reached")), ...times };
    return error === undefined ? seen : { ...seen, error };
  }
}

const numberOf = ({ name }: Dawn): number => Number(name.split("-")[1]);
const podsOf = (namespace: string): string => `/api/v1/namespaces/${namespace}/pods`;

export const quantiles = (values: readonly number[]): string =>
  `p50 ${rankOf(values, 0.5)} ms, p99 ${rankOf(values, 0.99)} ms, slowest ${Math.max(...values)} ms of ${values.length}`;
