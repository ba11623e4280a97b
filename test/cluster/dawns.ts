// test cluster · pods that listen and dial in their first millisecond (pod.c, `dawn`): started as a controller would, and what each has seen.
import { setTimeout as sleep } from "node:timers/promises";
import { ask, send } from "./api.ts";
import { make } from "./authority-objects.ts";
import { POD_IMAGE } from "./plan.ts";

/** What the pods listen on. */
export const DAWN_PORT = 9090;
const DEADLINE_MS = 180_000;

/** Times from the pod's creation: to its first instruction, and to the answer to its first call. */
export type Dawn = {
  readonly name: string;
  /** What its first call was answered; empty: with nothing. */
  readonly heard: string;
  /** Connections that it has accepted. */
  readonly reached: number;
  readonly startMs: number;
  readonly answerMs: number;
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

type PodList = { readonly items: readonly { readonly status?: { readonly phase?: string } }[] };

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
  async wave(namespace: string, count: number, { address, port }: Target): Promise<readonly Dawn[]> {
    const pods = `/api/v1/namespaces/${namespace}/pods`;
    const command = ["dawn", String(DAWN_PORT), address, String(port)];
    const created = await Promise.all(
      Array.from({ length: count }, async () => {
        const name = `dawn-${++this.#started}`;
        const createdMs = Date.now();
        await make(this.#kubeconfig, pods, podObject(namespace, name, this.#node, command));
        return { name, createdMs };
      }),
    );
    await this.#untilEnded(`${pods}?labelSelector=app%3Ddawn`, count);
    const dawns: Dawn[] = [];
    for (const { name, createdMs } of created) {
      const { status, body } = await ask(this.#kubeconfig, `${pods}/${name}/log`);
      if (status !== 200) throw new Error(`the log of ${name}: ${status} ${body}`);
      const said = new Map(body.split("\n").map((line) => line.split(" ", 2) as [string, string]));
      const since = (what: string): number => Number(said.get(what)) - createdMs;
      const times = { startMs: since("began"), answerMs: since("answered") };
      dawns.push({ name, heard: said.get("heard") ?? "", reached: Number(said.get("reached")), ...times });
      await send(this.#kubeconfig, "DELETE", `${pods}/${name}`, { gracePeriodSeconds: 0 });
    }
    return dawns;
  }

  async #untilEnded(url: string, count: number): Promise<void> {
    const end = performance.now() + DEADLINE_MS;
    for (;;) {
      const { status, body } = await ask(this.#kubeconfig, url);
      const phases = status === 200 ? (JSON.parse(body) as PodList).items.map(({ status }) => status?.phase) : [];
      if (phases.filter((phase) => phase === "Succeeded").length >= count) return;
      if (performance.now() > end) throw new Error(`${url}: ${phases.join(" ")} after ${DEADLINE_MS / 1_000} s`);
      await sleep(200);
    }
  }
}

export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

export const quantiles = (values: readonly number[]): string =>
  `p50 ${quantile(values, 0.5)} ms, p99 ${quantile(values, 0.99)} ms of ${values.length}`;
