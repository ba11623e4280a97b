// tests · a worker thread as a data thread is: its engine, its traffic, and what the threads of a node share. Its pod calls a Service of endpoints
// on loopback, by a route. Says its listening port; then it does what it is asked, and says "done".
import { parentPort, workerData } from "node:worker_threads";
import { FakeMesh, httpRoute, service, workload } from "../../agent/mesh/mesh.fake.ts";
import type { LoadBalancing } from "../../agent/mesh/service.ts";
import type { TrafficPolicy } from "../../agent/mesh/traffic-policy.ts";
import type { Workload } from "../../agent/mesh/workload.ts";
import { Recorder } from "../../agent/observe/recorder.ts";
import { allow } from "../../agent/policy/policy.fake.ts";
import type { SharedState } from "../../agent/traffic/shared-state.ts";
import { createTraffic } from "../../agent/traffic/traffic.ts";
import { seeded } from "../support/dice.ts";
import { TestEngine } from "./test-engine.ts";

export type Place = Workload["locality"];

/** With a place it is a workload outside the mesh; without, nobody knows whose its address is. */
export type ThreadEndpoint = {
  readonly address: string;
  readonly port: number;
  readonly place?: Place;
  readonly healthy?: boolean;
};

export type SharesThread = {
  readonly thread: number;
  readonly threads: number;
  readonly shared: SharedState;
  readonly endpoints: readonly ThreadEndpoint[];
  /** Of a DestinationRule of the Service. */
  readonly policy?: TrafficPolicy;
  /** Its connections are not read: there is no route. */
  readonly isOpaque?: boolean;
  /** Where the pod is. */
  readonly place?: Place;
  readonly loadBalancing?: LoadBalancing;
  /** The clocks of its traffic stop, and go on as it is asked to. */
  readonly hasStoppedClock?: boolean;
  /** Of what its traffic draws; absent: nobody can repeat it. */
  readonly seed?: number;
};

export type ThreadAsked =
  /** These are the Service's from now on. */
  | { readonly op: "endpoints"; readonly endpoints: readonly ThreadEndpoint[] }
  /** So many milliseconds pass. */
  | { readonly op: "later"; readonly ms: number };

const options = workerData as SharesThread;
const destination = { address: "10.96.0.1", port: 80 };
const web = workload("web", {
  addresses: ["127.0.0.1"],
  ...(options.place && { locality: options.place }),
});
const mesh = new FakeMesh([]);
believe(options.endpoints);
if (options.isOpaque !== true) mesh.routes.push(httpRoute("shop/api"));
let elapsedMs = 0;
const now = options.hasStoppedClock === true ? () => 1_000_000 + elapsedMs : () => performance.now();
const sharedNow = options.hasStoppedClock === true ? now : () => Number(process.hrtime.bigint() / 1_000_000n);
const fault = (error: unknown): void => {
  throw error;
};
const traffic = createTraffic({
  ...{
    trustDomain: "cluster.local",
    mesh,
    judge: () => allow,
    settle: () => "http",
    readsPaths: () => true,
  },
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
  ...{ now, sharedNow },
  after: (ms, call) => {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
  among: options,
  random: options.seed === undefined ? Math.random : seeded(options.seed + options.thread),
  fillRandom: (bytes) => void bytes.fill(7),
  reports: {
    ...{
      peerRejected: fault,
      handshakeFailed: fault,
      tunnelAbused: fault,
      fault,
      copyFault: fault,
    },
    poolLow: () => undefined,
  },
});
const under = new TestEngine((event) => traffic.handle(event.type === "accepted" ? { ...event, destination } : event));
under.engine.shareConnections(options.shared.connections, options);
under.engine.setPod(1, { netnsCookie: 1n, identity: -1 });
traffic.addPod({
  podIdx: 1,
  workloadUid: web.uid,
  addresses: [],
  preservesSource: false,
});
// Nothing here goes by TLS, and a pod without a certificate waits.
traffic.identityInstalled(1, web.identity.text);
parentPort?.postMessage(under.listen(1, "outbound"));
// Events are kept for tests that look at them; these look at none.
const forget = setInterval(() => under.events.splice(0), 100);
parentPort?.on("message", (asked: ThreadAsked | "close") => {
  if (asked === "close") return close();
  if (asked.op === "endpoints") believe(asked.endpoints);
  else elapsedMs += asked.ms;
  parentPort?.postMessage("done");
});

function believe(endpoints: readonly ThreadEndpoint[]): void {
  const placed = endpoints.flatMap(({ address, place }) =>
    place === undefined
      ? []
      : [
          workload(address, {
            addresses: [address],
            protocol: "none",
            locality: place,
          }),
        ],
  );
  const named = endpoints.map(({ address, port, healthy = true }) => ({
    ...{ address, port, ports: { http: port }, weight: 1, healthy },
  }));
  const { policy, loadBalancing } = options;
  mesh.list = [web, ...placed];
  mesh.serviceList = [
    service("api", {
      ...{ selector: null, endpoints: named },
      ...(policy && { traffic: policy }),
      ...(loadBalancing && { loadBalancing }),
    }),
  ];
}

function close(): void {
  clearInterval(forget);
  under.engine.close();
  parentPort?.close();
}
