// main thread · of several replicas a single program may do a thing: a Lease of the API server (coordination.k8s.io) says which.
// It is believed by the clock of this process alone: the holder stops before anybody else may begin, whatever the clocks of others say.
import type { Ask } from "../control/kubernetes/api-answer.ts";
import { expectJson, Refused, textOf } from "../control/kubernetes/api-refusal.ts";

export type LeaseOptions = {
  readonly namespace: string;
  readonly name: string;
  /** Unique among all processes. */
  readonly holder: string;
};
export type LeasePorts = {
  readonly ask: Ask;
  /** Rejects when the signal is aborted. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Monotonic, ms. */
  readonly nowMs: () => number;
  readonly wallMs: () => number;
  /** The holder is another than before, or cannot be known. */
  readonly noted: (isHeld: boolean, why: string) => void;
};

/** A holder that has not renewed it for so long has lost it. */
const LASTS_MS = 15_000;
/** So long after it began to renew it a holder believes that it has it. */
const BELIEVED_MS = 10_000;
const LOOK_MS = 3_000;
const IDLE_MS = 3_000;

type LeaseObject = Readonly<Record<string, unknown>>;

export class Lease {
  readonly #options: LeaseOptions;
  readonly #ports: LeasePorts;
  readonly #folder: string;
  #heldUntilMs = Number.NEGATIVE_INFINITY;
  /** Another's, as it was seen first, and when. */
  #seen: { readonly version: unknown; readonly sinceMs: number } | undefined;
  #noted = "";

  constructor(options: LeaseOptions, ports: LeasePorts) {
    this.#options = options;
    this.#ports = ports;
    this.#folder = `/apis/coordination.k8s.io/v1/namespaces/${options.namespace}/leases`;
  }

  get isHeld(): boolean {
    return this.#ports.nowMs() < this.#heldUntilMs;
  }

  /** Resolves when the signal is aborted, and has then given it up. */
  async keep(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let why = "";
      try {
        await this.#look(signal);
      } catch (error) {
        if (signal.aborted) break;
        why = error instanceof Error ? error.message : String(error);
      }
      this.#note(why);
      await this.#ports.sleep(LOOK_MS, signal).catch(() => {});
    }
    await this.#giveUp().catch(() => {});
  }

  #note(why: string): void {
    const now = `${this.isHeld} ${why}`;
    if (now === this.#noted) return;
    this.#noted = now;
    this.#ports.noted(this.isHeld, why);
  }

  async #look(signal: AbortSignal): Promise<void> {
    const beganMs = this.#ports.nowMs();
    const known = await this.#read(signal);
    if (known === undefined) {
      const metadata = { name: this.#options.name, namespace: this.#options.namespace };
      return this.#take("POST", this.#folder, { metadata, spec: this.#spec(0, undefined) }, beganMs, signal);
    }
    const { metadata, spec } = known;
    const { resourceVersion } = recordOf(metadata);
    const { holderIdentity, leaseTransitions, acquireTime } = recordOf(spec);
    const isMine = holderIdentity === this.#options.holder;
    const isFree = holderIdentity === undefined || holderIdentity === "";
    if (!isMine && !isFree && !this.#hasEnded(resourceVersion, beganMs)) return;
    const changes = (typeof leaseTransitions === "number" ? leaseTransitions : 0) + (isMine ? 0 : 1);
    const object = { metadata: recordOf(metadata), spec: this.#spec(changes, isMine ? acquireTime : undefined) };
    return this.#take("PUT", `${this.#folder}/${this.#options.name}`, object, beganMs, signal);
  }

  /** Another holds it, and has not written for as long as a lease lasts. */
  #hasEnded(version: unknown, nowMs: number): boolean {
    const known = this.#seen;
    const seen = known !== undefined && known.version === version ? known : { version, sinceMs: nowMs };
    this.#seen = seen;
    return nowMs - seen.sinceMs >= LASTS_MS;
  }

  #spec(leaseTransitions: number, acquireTime: unknown): LeaseObject {
    // The server takes six digits behind the second and no others (kubernetes: apimachinery/pkg/apis/meta/v1/micro_time.go).
    const at = new Date(this.#ports.wallMs()).toISOString().replace("Z", "000Z");
    return {
      ...{ holderIdentity: this.#options.holder, leaseDurationSeconds: LASTS_MS / 1_000, leaseTransitions },
      ...{ acquireTime: acquireTime ?? at, renewTime: at },
    };
  }

  async #take(
    method: "POST" | "PUT",
    path: string,
    object: LeaseObject,
    beganMs: number,
    signal: AbortSignal,
  ): Promise<void> {
    const whole = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", ...object };
    const answer = await this.#ports.ask(path, { signal, idleMs: IDLE_MS, write: { method, object: whole } });
    const said = await textOf(answer);
    // Somebody else was first, who may have been this process: the next look says it.
    if (answer.status === 409) return;
    if (answer.status !== 200 && answer.status !== 201) throw new Refused(answer, `${path}: ${said.slice(0, 200)}`);
    this.#heldUntilMs = beganMs + BELIEVED_MS;
    this.#seen = undefined;
  }

  async #read(signal: AbortSignal): Promise<LeaseObject | undefined> {
    const path = `${this.#folder}/${this.#options.name}`;
    const answer = await this.#ports.ask(path, { signal, idleMs: IDLE_MS });
    if (answer.status === 404) {
      await textOf(answer);
      return undefined;
    }
    await expectJson(answer, path);
    return recordOf(JSON.parse(await textOf(answer)));
  }

  /** So that another need not wait until it ends. */
  async #giveUp(): Promise<void> {
    if (!this.isHeld) return;
    this.#heldUntilMs = Number.NEGATIVE_INFINITY;
    const signal = AbortSignal.timeout(IDLE_MS);
    const known = await this.#read(signal);
    if (known === undefined || recordOf(known.spec).holderIdentity !== this.#options.holder) return;
    const object = { ...known, spec: { ...recordOf(known.spec), holderIdentity: "" } };
    const path = `${this.#folder}/${this.#options.name}`;
    await textOf(await this.#ports.ask(path, { signal, idleMs: IDLE_MS, write: { method: "PUT", object } }));
  }
}

function recordOf(value: unknown): LeaseObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as LeaseObject) : {};
}
