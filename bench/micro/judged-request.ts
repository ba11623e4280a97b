// bench · a judged request on the data thread from its two events in the arena to the answer there: read, facts, verdict, answer,
// record. One rule with a method and a path, twelve fields, an id.
import * as abi from "../../agent/abi.ts";
import { AnswerWriter } from "../../agent/engine/answer-writer.ts";
import { EventReader } from "../../agent/engine/event-reader.ts";
import type { LimitPolicy } from "../../agent/mesh/limit-policy.ts";
import { emptyOperation, emptySource } from "../../agent/mesh/policies.ts";
import type { SpiffeId } from "../../agent/mesh/spiffe-id.ts";
import { MeshStore } from "../../agent/mesh/store.ts";
import { isNotable } from "../../agent/observe/access-log.ts";
import { Recorder } from "../../agent/observe/recorder.ts";
import { evaluatorOf } from "../../agent/policy/evaluate.ts";
import { RequestLimits } from "../../agent/policy/limits.ts";
import { createTraffic, type Traffic } from "../../agent/traffic/traffic.ts";
import { arenaWith } from "./decode.ts";
import { identityOf, policy, workload } from "./mesh.ts";

const CALLER = "caller-0";
const POD = 1;
const PORT = 8080;
const record = abi.orlopEngineEvent;

const fields = [
  ["host", "api.bank.example"],
  ["user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"],
  ["accept", "application/json, text/plain;q=0.9, */*;q=0.8"],
  ["accept-language", "en-GB,en;q=0.5"],
  ["accept-encoding", "gzip, deflate, br"],
  ["authorization", "Bearer 0123456789abcdef0123456789abcdef0123456789abcdef"],
  ["cookie", "session=7c9e6679f7424de58b3e0a3b0c1d2e3f; theme=dark"],
  ["referer", "https://bank.example/accounts"],
  ["x-request-id", "7c9e6679-7424-4de5-8b3e-0a3b0c1d2e3f"],
  ["traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
  ["cache-control", "no-cache"],
  ["priority", "u=1, i"],
] as const;

/** As native/engine/http/request_event.cc writes them. */
export function writtenFields(): string {
  const lengths = (name: string, value: string): string =>
    Buffer.from(Uint16Array.of(name.length, value.length).buffer).toString("latin1");
  return fields.map(([name, value]) => lengths(name, value) + name + value).join("");
}

const ignored = (): void => undefined;

/** A data thread's traffic that answers nobody by itself. `peer`: whom each tunnel proves. */
export function trafficOf(store: MeshStore, peer: SpiffeId): Pick<ReadConnection, "traffic" | "recorder"> {
  const recorder = new Recorder({
    ...{ thread: 0, labelSets: 20_000, now: Date.now },
    log: () => undefined,
    logRequest: (each) => void isNotable(each),
  });
  const evaluator = evaluatorOf(store);
  const traffic = createTraffic({
    ...{ trustDomain: "cluster.local", mesh: store, ...evaluator, recorder },
    ...{ answer: ignored, stopTaking: ignored, now: Date.now, after: () => ignored },
    limits: new RequestLimits(process.hrtime.bigint).judgeBy(evaluator.limitsOf),
    origins: { define: ignored, drop: ignored },
    ...{ random: () => 0.5, fillRandom: ignored },
    readPeer: () => ({ spiffeId: peer }),
    reports: {
      ...{ peerRejected: ignored, handshakeFailed: ignored, tunnelAbused: ignored, poolLow: ignored },
      copyFault: ignored,
      fault: (error) => {
        throw error;
      },
    },
  });
  return { traffic, recorder };
}

/** Serves a workload whose rule has a method and a path, and lets one caller's connection in. Returns its number. */
function openConnection(limits: readonly LimitPolicy[]): ReadConnection {
  const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  const destination = workload(0);
  const general = policy(0, 0);
  const paths = [{ kind: "prefix", value: "/accounts/" }] as const;
  const methods = [{ kind: "exact", value: "GET" }] as const;
  const principals = [{ kind: "exact", value: `cluster.local/ns/${destination.namespace}/sa/${CALLER}` }] as const;
  const rule = {
    ...{ sources: [{ ...emptySource, principals }], operations: [{ ...emptyOperation, methods, paths }] },
    ...{ when: [], unreadable: [], from: general.from },
  };
  store.apply([
    { kind: "workload", op: "upsert", value: destination },
    { kind: "authorization-policy", op: "upsert", value: { ...general, rules: [rule] } },
    ...limits.map((value) => ({ kind: "limit-policy", op: "upsert", value }) as const),
  ]);
  const { traffic, recorder } = trafficOf(store, identityOf(destination.namespace, CALLER));
  traffic.addPod({
    podIdx: POD,
    workloadUid: destination.uid,
    addresses: destination.addresses,
    preservesSource: true,
  });
  const [address = ""] = destination.addresses;
  const peer = { address: "10.200.0.1", port: 41_000 };
  const began = { generation: 1, podIdx: POD, peer } as const;
  const verified = traffic.handle({
    ...{
      ...began,
      type: "peer-certificate",
      conn: 1,
      role: "server",
      leaf: new Uint8Array(1),
      identity: 1,
      expect: -1,
    },
  });
  if (verified?.type !== "peer") throw new Error("the caller is not let in");
  const answer = traffic.handle({
    ...{ ...began, type: "connect-request", conn: 2, local: { address, port: 15_008 } },
    ...{ peerIdentity: verified.peerIdentity, authority: `${address}:${PORT}` },
    ...{ baggage: "", forwarded: "", traceparent: "" },
  });
  if (answer?.type !== "dial" || answer.reading !== "or-end") throw new Error("the connection is not read");
  return { traffic, recorder, conn: answer.conn };
}

/** It counts by caller, and admits all that comes. */
function limitPerCaller(): LimitPolicy {
  const { from } = policy(0, 0);
  return {
    ...{ name: "callers", namespace: workload(0).namespace, selector: null, mode: "enforce", priority: 0, from },
    match: { sources: [], operations: [], when: [], unreadable: [], from },
    ...{ requests: 1_000_000, unitMs: 1_000, burst: 1_000_000, per: [{ by: "source" }] },
  };
}

/** One request each call; with `isLimited` a limit counts it, too. */
export function judgedRequests(isLimited: boolean): () => void {
  return requestsOn(openConnection(isLimited ? [limitPerCaller()] : []));
}

export type ReadConnection = { readonly traffic: Traffic; readonly recorder: Recorder; readonly conn: number };

/** One request each call: it begins, it is answered, it ends. */
export function requestsOn({ traffic, recorder, conn }: ReadConnection): () => void {
  const ofConnection = (arena: ArrayBuffer): { readonly view: DataView; readonly events: EventReader } => {
    const view = new DataView(arena);
    view.setUint32(abi.ORLOP_ARENA_EVENTS + record.conn, conn, true);
    view.setUint32(abi.ORLOP_ARENA_EVENTS + record.generation, 1, true);
    return { view, events: new EventReader(arena) };
  };
  const texts = ["GET", "/accounts/7/statement?page=2", "api.bank.example", writtenFields()];
  const arena = arenaWith(abi.eventTypes.request, texts);
  const began = ofConnection(arena);
  const ended = ofConnection(arenaWith(abi.eventTypes["request-ended"], []));
  ended.view.setInt32(abi.ORLOP_ARENA_EVENTS + record.detail, 200, true);
  const answers = new AnswerWriter(arena, {
    records: abi.ORLOP_ARENA_ANSWERS,
    text: abi.ORLOP_ARENA_ANSWER_TEXT,
    textSize: abi.ORLOP_ARENA_ANSWER_TEXT_SIZE,
  });
  let request = 0;
  return () => {
    request += 1;
    answers.restart();
    for (const { view, events } of [began, ended]) {
      view.setInt32(abi.ORLOP_ARENA_EVENTS + record.expect, request, true);
      const answer = traffic.handle(events.read(0));
      if (answer !== undefined) answers.write(answer);
    }
    const type = began.view.getUint32(abi.ORLOP_ARENA_ANSWERS + abi.orlopEngineAnswer.type, true);
    if (answers.count !== 1 || type !== abi.answerTypes.forward) throw new Error("the request does not go on");
    // A hand-over to the main thread comes after as many requests as in 200 ms at 50,000 a second.
    if (request % 10_000 === 0) recorder.takeDeltas();
  };
}
