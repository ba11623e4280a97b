// tests · a whole data thread's traffic on a fake engine: a fake clock, a recorder that keeps everything, a judge that tests set.

import { seeded } from "../../test/support/dice.ts";
import type { Answer } from "../engine/answers.ts";
import { FakeEngine } from "../engine/engine.fake.ts";
import type { Accepted, CloseCause, Closed, ConnectRequest, ConnRef } from "../engine/events.ts";
import type { PeerIdentity } from "../identity/peer-certificate.ts";
import type { Endpoint } from "../mesh/endpoint.ts";
import type { ConnectionFacts } from "../mesh/facts.ts";
import { FakeMesh, service, workload } from "../mesh/mesh.fake.ts";
import { parseSpiffeId } from "../mesh/spiffe-id.ts";
import type { ConnectionRecord, Outcome } from "../observe/record.ts";
import { Recorder } from "../observe/recorder.ts";
import type { RequestRecord } from "../observe/request-record.ts";
import type { Decision } from "../policy/decision.ts";
import { allow } from "../policy/policy.fake.ts";
import type { TrafficOptions } from "./options.ts";
import { createTraffic, type Traffic } from "./traffic.ts";

/** Timers that move only with `advance`. */
export class FakeClock {
  nowMs = 0;
  #timers: { readonly at: number; readonly call: () => void }[] = [];

  after(ms: number, call: () => void): () => void {
    const timer = { at: this.nowMs + ms, call };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((each) => each !== timer);
    };
  }

  get pending(): number {
    return this.#timers.length;
  }

  advance(ms: number): void {
    const end = this.nowMs + ms;
    for (;;) {
      const [next] = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (next === undefined) break;
      this.#timers = this.#timers.filter((each) => each !== next);
      this.nowMs = next.at;
      next.call();
    }
    this.nowMs = end;
  }
}

export const web = workload("web", { addresses: ["10.0.0.1", "fd00::1"] });
export const near = workload("near", { addresses: ["10.0.0.3"] });
export const api = workload("api", { addresses: ["10.0.0.2"], node: "n2" });

export class Bench {
  readonly clock = new FakeClock();
  readonly mesh: FakeMesh;
  readonly ended: { readonly record: ConnectionRecord; readonly outcome: Outcome }[] = [];
  readonly requests: RequestRecord[] = [];
  readonly faults: unknown[] = [];
  readonly rejected: string[] = [];
  readonly reported: string[] = [];
  readonly asked: ConnectionFacts[] = [];
  judge: (facts: ConnectionFacts) => Decision = () => allow;
  readonly recorder: Recorder;
  readonly engine: FakeEngine;
  readonly traffic: Traffic;
  #next = 0;

  constructor(given: Partial<TrafficOptions> = {}) {
    this.mesh = new FakeMesh([web, near, api], [service("api")]);
    this.recorder = new Recorder({
      thread: 0,
      labelSets: 100,
      now: () => this.clock.nowMs,
      log: ({ record }, outcome) => this.ended.push({ record, outcome }),
      logRequest: (record) => this.requests.push(record),
    });
    const random = seeded(7);
    this.traffic = createTraffic({
      trustDomain: "cluster.local",
      mesh: this.mesh,
      judge: (facts) => {
        this.asked.push(facts);
        return this.judge(facts);
      },
      limits: () => ({ over: null, shadowed: [] }),
      recorder: this.recorder,
      answer: (answer) => this.engine.answer(answer),
      stopTaking: () => this.engine.drain(),
      origins: {
        define: (origin) => this.engine.defineOrigin(origin),
        drop: (origin) => this.engine.dropOrigin(origin),
      },
      readPeer: (leaf): PeerIdentity => {
        const spiffeId = parseSpiffeId(Buffer.from(leaf).toString());
        return spiffeId === undefined ? { reject: "not-canonical" } : { spiffeId };
      },
      now: () => this.clock.nowMs,
      after: (ms, call) => this.clock.after(ms, call),
      random,
      fillRandom: (bytes) => {
        for (let index = 0; index < bytes.length; index += 1) bytes[index] = Math.floor(random() * 256);
      },
      reports: {
        peerRejected: (_event, reason) => this.rejected.push(reason),
        handshakeFailed: (event) => this.reported.push(event.reason),
        tunnelAbused: (event) => this.reported.push(event.reason),
        poolLow: (event) => this.reported.push(event.kind),
        fault: (error) => this.faults.push(error),
        copyFault: () => this.reported.push("copy-fault"),
      },
      ...given,
    });
    this.engine = new FakeEngine(this.traffic.handle);
  }

  /** web on podIdx 1 and near on 2, both with certificates 11 and 12. */
  serve(): this {
    this.traffic.addPod({ podIdx: 1, workloadUid: web.uid, addresses: [], preservesSource: true });
    this.traffic.addPod({ podIdx: 2, workloadUid: near.uid, addresses: [], preservesSource: false });
    this.traffic.identityInstalled(11, web.identity.text);
    this.traffic.identityInstalled(12, near.identity.text);
    return this;
  }

  ref(): ConnRef {
    this.#next += 1;
    return { conn: this.#next, generation: 1 };
  }

  outbound(destination: Endpoint | null, given: Partial<Accepted> = {}): Accepted {
    const source = { address: "10.0.0.1", port: 40_000 };
    return { ...this.ref(), type: "accepted", listener: "outbound", podIdx: 1, source, destination, ...given };
  }

  plaintext(given: Partial<Accepted> = {}): Accepted {
    const ends = { source: { address: "10.9.9.9", port: 50_000 }, destination: { address: "10.0.0.1", port: 8080 } };
    return { ...this.ref(), type: "accepted", listener: "inbound", podIdx: 1, ...ends, ...given };
  }

  /** As if the engine had verified a certificate with this identity; the integer it got, or 0. */
  verify(identity: string): number {
    const leaf = new Uint8Array(Buffer.from(identity));
    const answer = this.engine.feed({
      ...this.ref(),
      type: "peer-certificate",
      role: "server",
      podIdx: 1,
      peer: { address: "10.0.0.2", port: 41_000 },
      leaf,
      identity: 11,
      expect: 0,
    });
    return answer?.type === "peer" ? answer.peerIdentity : 0;
  }

  connect(authority: string, given: Partial<ConnectRequest> = {}): ConnectRequest {
    return {
      ...this.ref(),
      type: "connect-request",
      podIdx: 1,
      peer: { address: "10.0.0.2", port: 41_000 },
      local: { address: "10.0.0.1", port: 15_008 },
      peerIdentity: this.verify(api.identity.text),
      authority,
      baggage: "",
      forwarded: "",
      traceparent: "",
      ...given,
    };
  }

  close(ref: ConnRef, cause: CloseCause = "finished", given: Partial<Closed> = {}): void {
    const quiet = { detail: 0, message: "", sentBytes: 5, receivedBytes: 7, durationUs: 900 };
    this.engine.feed({ conn: ref.conn, generation: ref.generation, type: "closed", cause, ...quiet, ...given });
  }

  last(): { readonly record: ConnectionRecord; readonly outcome: Outcome } {
    const last = this.ended.at(-1);
    if (last === undefined) throw new Error("nothing has ended yet");
    return last;
  }

  lastAnswer(): Answer | undefined {
    return this.engine.answers.at(-1);
  }
}
