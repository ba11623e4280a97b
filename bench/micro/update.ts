// bench · one endpoint of a mesh changes: the store takes it in and the service's endpoints are looked up anew.
import { MeshStore } from "../../agent/mesh/store.ts";
import type { Workload } from "../../agent/mesh/workload.ts";
import { service, workload } from "./mesh.ts";
import { randomOf, type Times, timeEach } from "./timing.ts";

const CHANGES = 5_000;

export type Updater = { measure(): Times /** Of the process that holds this store. */; readonly heapMb: number };

export function updater(workloads: number, seed: number): Updater {
  const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  const before = process.memoryUsage().heapUsed;
  const all = Array.from({ length: workloads }, (_, index) => workload(index));
  store.apply([
    ...all.map((value) => ({ kind: "workload", op: "upsert", value }) as const),
    ...Array.from({ length: Math.ceil(workloads / 10) }, (_, app) => {
      return { kind: "service", op: "upsert", value: service(app) } as const;
    }),
  ]);
  const heapMb = (process.memoryUsage().heapUsed - before) / 2 ** 20;
  const random = randomOf(seed);
  const change = changer(store, all);
  const step = (): void => change(Math.floor(random() * workloads));
  for (let index = 0; index < CHANGES; index++) step();
  return { heapMb, measure: () => timeEach(CHANGES, step) };
}

/** Turns the health of the nth workload over, and looks at its Service's endpoints. */
export function changer(store: MeshStore, all: Workload[]): (nth: number) => void {
  return (nth) => {
    const old = all[nth];
    if (old === undefined) return;
    const value: Workload = { ...old, healthy: !old.healthy };
    all[nth] = value;
    store.apply([{ kind: "workload", op: "upsert", value }]);
    const of = store.service(`${value.namespace}/${value.labels.app}`);
    if (of === undefined) throw new Error("the changed workload has no service");
    const endpoint = store.endpointsOf(of).find((each) => each.workload?.uid === value.uid);
    if (endpoint?.healthy !== value.healthy) throw new Error("the change is not in force");
  };
}
