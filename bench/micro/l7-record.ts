// bench · the record of one request from its event to its row of numbers: what a thread pays for telemetry, beside the verdict. A few
// connections that labels tell apart, statuses as an application gives them.

import type { RequestEnded, RequestEvent } from "../../agent/engine/events.ts";
import { RequestFields } from "../../agent/engine/request-fields.ts";
import { isNotable } from "../../agent/observe/access-log.ts";
import { connectionRecord } from "../../agent/observe/record.ts";
import { Recorder } from "../../agent/observe/recorder.ts";
import type { RequestVerdict } from "../../agent/policy/judge-request.ts";
import { Connection } from "../../agent/traffic/connection.ts";
import { identityOf, workload } from "./mesh.ts";
import { randomOf, type Times, timeEach } from "./timing.ts";

const CALLS = 100_000;
const PAIRS = 200;
const statuses = [200, 200, 200, 200, 200, 200, 204, 301, 404, 500] as const;

/** Twelve fields as the engine writes them; an id is the last. */
function fieldBytes(): Buffer {
  const names = [...Array.from({ length: 11 }, (_, nth) => `x-header-${nth}`), "x-request-id"];
  const parts = names.map((name) => {
    const lengths = Buffer.alloc(4);
    const value = "7f3c2a10-5d1e-4b62-9a51-0c9d8e7f6a5b";
    lengths.writeUInt16LE(name.length, 0);
    lengths.writeUInt16LE(value.length, 2);
    return Buffer.concat([lengths, Buffer.from(name + value)]);
  });
  return Buffer.concat(parts);
}

export type RecordTimes = Times & {
  /** Of all calls in a row, without a clock between them. */ readonly meanUs: number;
};

export function recordTimes(seed: number): RecordTimes {
  const recorder = new Recorder({
    ...{ thread: 0, labelSets: 20_000, now: Date.now },
    log: () => undefined,
    logRequest: (record) => void isNotable(record),
  });
  const random = randomOf(seed);
  const rule = { kind: "AuthorizationPolicy", namespace: "ns-0", name: "p", rule: 0 } as const;
  const decidedBy = { ...rule, from: { file: "mesh.yaml", line: 1, column: 1 } };
  const verdict: RequestVerdict = {
    ...{ verdict: "allow", path: "as-sent", decidedBy, layer: "L7", audited: [], dryRunDenied: [] },
  };
  const connections = Array.from({ length: PAIRS }, (_, nth) => {
    const [source, destination] = [workload(nth), workload(PAIRS + (nth % 10))];
    const end = (of: typeof source) => ({
      ...{ address: of.addresses[0] ?? "", port: 80, workload: of, identity: identityOf(of.namespace, "caller") },
    });
    const ref = { conn: nth, generation: 1 };
    const ends = { source: end(source), destination: end(destination) };
    const draft = connectionRecord({ reporter: "destination", podIdx: 1, security: "mtls", ...ends });
    const connection = new Connection(ref, draft, recorder);
    connection.opened(null);
    return { connection, ref, requests: 0 };
  });
  const calls = Array.from({ length: CALLS }, () => ({
    of: connections[Math.floor(random() * PAIRS)],
    status: statuses[Math.floor(random() * statuses.length)] ?? 200,
    durationUs: Math.floor(random() * 100_000),
    responseBytes: Math.floor(random() * 10_000),
  }));
  const bytes = fieldBytes();
  const fields = new RequestFields(bytes, 0, bytes.length);
  const step = (index: number): void => {
    const call = calls[index % CALLS];
    if (call?.of === undefined) throw new Error("no call");
    const { of, status, durationUs, responseBytes } = call;
    of.requests += 1;
    const { conn, generation } = of.ref;
    const asked: RequestEvent = {
      ...{
        type: "request",
        conn,
        generation,
        podIdx: 1,
        request: of.requests,
        protocol: "http1",
        method: "GET",
        fields,
      },
      ...{ target: "/api/v1/items/7?page=2", authority: "api.ns-0" },
    };
    of.connection.requested(asked, verdict, "");
    const ended: RequestEnded = {
      ...{ type: "request-ended", conn, generation, podIdx: 1, request: of.requests, outcome: "answered", status },
      ...{ refusal: "none", requestBytes: 0, responseBytes, durationUs, answeredUs: 0 },
    };
    of.connection.requestEnded(ended);
    // A hand-over to the main thread comes after as many requests as in 200 ms at 50,000 a second.
    if (index % 10_000 === 9_999) recorder.takeDeltas();
  };
  for (let index = 0; index < CALLS; index++) step(index);
  const begin = performance.now();
  for (let index = 0; index < CALLS; index++) step(index);
  const meanUs = ((performance.now() - begin) * 1_000) / CALLS;
  return { meanUs, ...timeEach(CALLS, step) };
}
