// bench · a directory of mesh files for one node with two pods that exist, and any number of workloads that do not.
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import type { Cluster, Pod } from "../../test/box/cluster.ts";
import { randomOf } from "../micro/timing.ts";

const PER_FILE = 100;
const NODES = 1_000;
export const VIP = "10.96.200.1";
export const VIP_PORT = 80;

export type LargeMesh = {
  readonly folder: string;
  /** The one endpoint of the Service at VIP, among 99 other workloads of its file; put into place by rename. Returns when
   * it was (CLOCK_MONOTONIC, ns). */
  setHealthy(healthy: boolean): bigint;
  /** Whether a policy lets the client call. */
  setAllowed(allowed: boolean): bigint;
};

/** `workloads` in files of a hundred, a Service to each file. */
export function writeLargeMesh(cluster: Cluster, target: number, workloads: number, seed: number): LargeMesh {
  const folder = path.join(cluster.dir, "mesh");
  mkdirSync(folder, { mode: 0o755 });
  const write = (name: string, text: string): bigint => {
    // Not *.yaml until it is whole.
    const draft = path.join(folder, `${name}.draft`);
    writeFileSync(draft, text);
    renameSync(draft, path.join(folder, name));
    return process.hrtime.bigint();
  };
  const random = randomOf(seed);
  const files = Math.ceil(workloads / PER_FILE);
  for (let file = 0; file < files; file++) {
    const count = Math.min(PER_FILE, workloads - file * PER_FILE);
    const some = Array.from({ length: count }, (_, at) => absent(file * PER_FILE + at, Math.floor(random() * NODES)));
    write(`some-${file}.yaml`, [...some, serviceOf(file)].join("---\n"));
  }
  const [node] = cluster.nodes;
  const [client, server] = node?.pods ?? [];
  if (client === undefined || server === undefined) throw new Error("a large mesh has two pods that exist");
  const beside = Array.from({ length: Math.min(PER_FILE, workloads) - 1 }, (_, at) => absent(workloads + at, 1));
  const setHealthy = (healthy: boolean): bigint =>
    write("server.yaml", [present(server, healthy), ...beside].join("---\n"));
  const setAllowed = (allowed: boolean): bigint => write("policy.yaml", policyText(allowed ? client : server));
  write("base.yaml", [namespace, present(client, true), vipService(target)].join("---\n"));
  setHealthy(true);
  setAllowed(true);
  return { folder, setHealthy, setAllowed };
}

const namespace = `apiVersion: v1
kind: Namespace
metadata: {name: bench, labels: {orlop.dev/dataplane-mode: ambient}}
`;

const present = ({ name, uid, ip4, node, serviceAccount }: Pod, healthy: boolean): string =>
  `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: ${name}, namespace: bench, uid: ${uid}, labels: {app: ${name}}}
spec: {addresses: ["${ip4}"], node: ${node}, serviceAccount: ${serviceAccount}, healthy: ${healthy}}
`;

/** The nth of those that nobody reaches: 11.0.0.0/8 is no address of the cluster in a box. */
const absent = (nth: number, node: number): string =>
  `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: pod-${nth}, namespace: ns-${nth % 100}, labels: {app: app-${Math.floor(nth / PER_FILE)}}}
spec: {addresses: ["11.${(nth >> 16) & 255}.${(nth >> 8) & 255}.${nth & 255}"], node: far-${node}, serviceAccount: app-${nth % 1000}}
`;

const serviceOf = (file: number): string =>
  `apiVersion: v1
kind: Service
metadata: {name: app-${file}, namespace: ns-${file % 100}}
spec: {clusterIP: "10.97.${(file >> 8) & 255}.${file & 255}", selector: {app: app-${file}}, ports: [{port: 80, targetPort: 8080}]}
`;

const vipService = (targetPort: number): string =>
  `apiVersion: v1
kind: Service
metadata: {name: neighbour, namespace: bench}
spec: {clusterIP: "${VIP}", selector: {app: neighbour}, ports: [{port: ${VIP_PORT}, targetPort: ${targetPort}}]}
`;

const policyText = ({ serviceAccount }: Pod): string =>
  `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: callers, namespace: bench}
spec:
  action: ALLOW
  rules:
    - from: [{source: {principals: ["cluster.local/ns/bench/sa/${serviceAccount}"]}}]
`;
