// tests · a worker thread as a data thread is: its engine, its traffic, and what the threads of a node share. Its pod calls a Service of endpoints
// on loopback, by a route. Says its listening port.
import { parentPort, workerData } from "node:worker_threads";
import { FakeMesh, httpRoute, service, workload } from "../../agent/mesh/mesh.fake.ts";
import type { TrafficPolicy } from "../../agent/mesh/traffic-policy.ts";
import { Recorder } from "../../agent/observe/recorder.ts";
import { allow } from "../../agent/policy/policy.fake.ts";
import type { SharedState } from "../../agent/traffic/shared-state.ts";
import { createTraffic } from "../../agent/traffic/traffic.ts";
import { TestEngine } from "./test-engine.ts";

export type SharesThread = {
  readonly thread: number;
  readonly threads: number;
  readonly shared: SharedState;
  readonly endpoints: readonly { readonly address: string; readonly port: number }[];
  /** Of a DestinationRule of the Service. */
  readonly policy?: TrafficPolicy;
  /** Its connections are not read: there is no route. */
  readonly isOpaque?: boolean;
};

const options = workerData as SharesThread;
const destination = { address: "10.96.0.1", port: 80 };
const web = workload("web", { addresses: ["127.0.0.1"] });
const endpoints = options.endpoints.map(({ address, port }) => ({
  ...{ address, port, ports: { http: port }, weight: 1, healthy: true },
}));
const said = options.policy === undefined ? {} : { traffic: options.policy };
const mesh = new FakeMesh([web], [service("api", { selector: null, endpoints, ...said })]);
if (options.isOpaque !== true) mesh.routes.push(httpRoute("shop/api"));
const fault = (error: unknown): void => {
  throw error;
};
const traffic = createTraffic({
  ...{ trustDomain: "cluster.local", mesh, judge: () => allow, settle: () => "http", readsPaths: () => true },
  limits: () => ({ over: null, shadowed: [] }),
  recorder: new Recorder({
    ...{ thread: options.thread, labelSets: 100, now: Date.now },
    ...{ log: () => undefined, logRequest: () => undefined },
  }),
  answer: (answer) => under.engine.answer(answer),
  stopTaking: () => under.engine.drain(),
  origins: {
    define: (origin) => under.engine.defineOrigin(origin),
    drop: (origin) => under.engine.dropOrigin(origin),
  },
  readPeer: () => ({ reject: "not-canonical" }),
  now: () => performance.now(),
  sharedNow: () => Number(process.hrtime.bigint() / 1_000_000n),
  after: (ms, call) => {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
  among: options,
  random: Math.random,
  fillRandom: (bytes) => void bytes.fill(7),
  reports: {
    ...{ peerRejected: fault, handshakeFailed: fault, tunnelAbused: fault, fault, copyFault: fault },
    poolLow: () => undefined,
  },
});
const under = new TestEngine((event) => traffic.handle(event.type === "accepted" ? { ...event, destination } : event));
under.engine.shareConnections(options.shared.connections, options);
under.engine.setPod(1, { netnsCookie: 1n, identity: -1 });
traffic.addPod({ podIdx: 1, workloadUid: web.uid, addresses: [], preservesSource: false });
// Nothing here goes by TLS, and a pod without a certificate waits.
traffic.identityInstalled(1, web.identity.text);
parentPort?.postMessage(under.listen(1, "outbound"));
// Events are kept for tests that look at them; these look at none.
const forget = setInterval(() => under.events.splice(0), 100);
parentPort?.once("message", () => {
  clearInterval(forget);
  under.engine.close();
  parentPort?.close();
});
