// tests · connection records, outcomes and workloads with sensible values, any of which may be replaced.
import { workload } from "../mesh/mesh.fake.ts";
import type { Workload } from "../mesh/workload.ts";
import { type ConnectionRecord, connectionRecord, type Outcome } from "./record.ts";

export function aWorkload(values: Partial<Workload> = {}): Workload {
  const { name = "web", namespace = "shop" } = values;
  return workload(name, {
    ...{
      uid: `test//Pod/${namespace}/${name}`,
      podUid: "",
      cluster: "test",
      node: "host01",
      canonicalRevision: "latest",
    },
    ...values,
  });
}

const web = aWorkload();
const api = aWorkload({ name: "api", addresses: ["10.0.0.2"] });

export function aRecord(values: Partial<ConnectionRecord> = {}): ConnectionRecord {
  return connectionRecord({
    reporter: "source",
    podIdx: 1,
    source: { address: "10.0.0.1", port: 40000, workload: web, identity: web.identity },
    destination: { address: "10.0.0.2", port: 15008, workload: api, identity: api.identity },
    hbone: { address: "10.0.0.2", port: 8080 },
    service: { name: "api", namespace: "shop", hostname: "api.shop.svc.cluster.local" },
    security: "mtls",
    ...values,
  });
}

export function anOutcome(values: Partial<Outcome> = {}): Outcome {
  return {
    flag: "-",
    cause: "finished",
    message: "",
    sentBytes: 0,
    receivedBytes: 0,
    durationUs: 3_500,
    ...values,
  };
}
