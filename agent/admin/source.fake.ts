// tests · an AdminSource over a small mesh: two pods, a service, two policies, one connection.

import type { AuthorizationPolicy, PeerAuthentication } from "../mesh/policies.ts";
import type { Service } from "../mesh/service.ts";
import { nowhere } from "../mesh/source-ref.ts";
import { MeshStore } from "../mesh/store.ts";
import type { Workload } from "../mesh/workload.ts";
import { anOutcome, aRecord, aWorkload } from "../observe/record.fake.ts";
import { Recorder } from "../observe/recorder.ts";
import type { AskedRequest } from "../plan/explain-request.ts";
import { explainView } from "./api.ts";
import type { AdminSource } from "./source.ts";

export const fakeNow = Date.UTC(2026, 10, 21, 10, 0, 0);

const apiService: Service = {
  name: "api",
  namespace: "shop",
  hostname: "api.shop.svc.cluster.local",
  vips: ["10.96.0.7"],
  ports: [{ name: "http", port: 8080, targetPort: "web", appProtocol: "" }],
  selector: { app: "api" },
  endpoints: [],
  subjectAltNames: [],
  loadBalancing: { preference: [], mode: "unspecified", health: "only-healthy" },
  from: { file: "mesh.yaml", line: 20, column: 1 },
};
const callers: AuthorizationPolicy = {
  name: "callers",
  namespace: "shop",
  selector: { app: "api" },
  action: "ALLOW",
  dryRun: false,
  rules: [{ sources: [], operations: [], when: [], unreadable: [], from: nowhere }],
  from: { file: "mesh.yaml", line: 31, column: 1 },
};
const strict: PeerAuthentication = {
  name: "default",
  namespace: "istio-system",
  selector: null,
  mode: "STRICT",
  portLevel: {},
  from: nowhere,
};

/** A store that holds these workloads, beside the service and the policies of every fake. */
export function aMesh(workloads: readonly Workload[]): MeshStore {
  const mesh = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  mesh.apply([
    ...workloads.map((value) => ({ kind: "workload", op: "upsert", value }) as const),
    { kind: "service", op: "upsert", value: apiService },
    { kind: "authorization-policy", op: "upsert", value: callers },
    { kind: "peer-authentication", op: "upsert", value: strict },
  ]);
  return mesh;
}

export function aSource(values: Partial<AdminSource> = {}): AdminSource {
  const web = aWorkload({ from: { file: "mesh.yaml", line: 4, column: 1 } });
  const api = aWorkload({ name: "api", addresses: ["10.0.1.2"], node: "host02" });
  const recorder = new Recorder({ thread: 0, labelSets: 10, now: () => fakeNow - 242_000, log: () => undefined });
  recorder.opened(
    aRecord({
      decision: {
        verdict: "allow",
        layer: "L4",
        reason: null,
        policy: "shop/callers[0]",
        at: "mesh.yaml:31",
        nearestMiss: "",
        audited: [],
        dryRunDenied: [],
      },
    }),
  );
  recorder.opened(aRecord()).closed(anOutcome());
  const levels = new Map([["policy", { level: "info", until: null as number | null }]]);
  return {
    node: "host01",
    version: "0.1.0",
    abi: 1,
    startedAtMs: fakeNow - 273_600_000,
    threads: 2,
    now: () => fakeNow,
    mesh: aMesh([web, api]),
    mode: () => "STRICT",
    portNeeds: () => [{ port: null, isRead: false, reasons: [{ why: "no-request-rule", rule: null }], declared: [] }],
    requestWarnings: () => [],
    requestChanges: () => [],
    limitState: () => undefined,
    pods: () => [{ workloadUid: web.uid, podIdx: 3, state: "captured", note: "" }],
    certs: () => [
      {
        identity: web.identity.text,
        state: "ready",
        serial: "c198d859aa00",
        notBeforeMs: fakeNow - 3_600_000,
        notAfterMs: fakeNow + 82_800_000,
        rotatesAtMs: fakeNow + 2_460_000,
        message: "",
      },
    ],
    rootsTrouble: () => "",
    connections: async (limit) =>
      recorder.connections(limit).map((one) => ({ ...one, transport: { rttUs: 412.4, retransmits: 2 } })),
    ejected: async () => [
      {
        ...{
          caller: web.identity.text,
          service: "shop/api:8080",
          rule: "shop/api[0]",
          address: "10.0.1.2",
          port: 8080,
        },
        ...{ reason: "consecutive-5xx", times: 2, leftMs: 42_000 },
      },
    ],
    openConnections: () => 1,
    denied: () => 3,
    bpf: async () => ({
      programs: [
        {
          name: "orlop_connect4",
          attach: "cgroup pods",
          pin: "/sys/fs/bpf/orlop/v1/c4",
          tag: "aa",
          runs: 1_100,
          runNs: 990_000,
        },
      ],
      maps: [{ name: "dst_of_flow", entries: 1_940, maxEntries: 65_536 }],
      pods: [
        {
          podIdx: 1,
          uid: "pod-web",
          flows: 3,
          joined: 2,
          dials: 1,
          nodeDials: 0,
          traffic: 12,
          refused: 0,
          eventsLost: 4,
        },
      ],
    }),
    counters: () => ({ connect_captured: 12_345 }),
    configuration: () => ({
      kind: "static-file",
      acceptance: "all",
      from: "mesh.yaml",
      state: "synced",
      fromLastGood: false,
      appliedAt: "2026-11-21T09:00:00.000Z",
      objects: 5,
      problems: [],
      findings: [],
      leftOut: [],
      kinds: [],
    }),
    keeper: () => ({ connected: true, message: "" }),
    nodeAccess: async () => ({
      mode: "kubelet",
      programs: [{ role: "kubelet", name: "kubelet", pid: 812, cgroup: "/sys/fs/cgroup/system.slice/kubelet.service" }],
      problem: "",
    }),
    heartbeatAgeMs: () => 42.4,
    pending: () => [],
    notes: () => [],
    explain: async (src, dst, request) =>
      request.method?.includes(" ")
        ? { unusable: `"${request.method}" is no method of a request` }
        : src === "shop/web"
          ? explainView({
              verdict: "deny",
              layer: "L4",
              reason: "no-allow-matched",
              decidedBy: null,
              nearestMiss: [
                {
                  rule: {
                    kind: "AuthorizationPolicy",
                    namespace: "shop",
                    name: "callers",
                    rule: 0,
                    from: { file: "mesh.yaml", line: 33, column: 9 },
                  },
                  field: "source.principal",
                  want: "[a]",
                  got: "b",
                },
              ],
              src,
              dst,
              steps: [
                ...(request.method === undefined ? [] : [asked(request)]),
                { id: "source", status: "ok", summary: "shop/web on host01" },
                { id: "policies", status: "decides", summary: "no ALLOW rule matched" },
              ],
            })
          : { error: `no workload ${src}` },
    logLevels: () => [...levels].map(([room, { level, until }]) => ({ room, level, until })),
    setLog: ({ room, level, forSeconds }) => {
      if (!levels.has(room)) return `there is no room ${room}`;
      levels.set(room, { level, until: forSeconds === null ? null : fakeNow + forSeconds * 1000 });
      return undefined;
    },
    ...values,
  };
}

function asked({ method, path, header = [] }: AskedRequest): {
  readonly id: string;
  readonly status: "ok";
  readonly summary: string;
} {
  return { id: "request", status: "ok", summary: `${method} ${path} ${header}` };
}
