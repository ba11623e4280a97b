// bench · a request at the caller's end, on the data thread, from its two events in the arena to the answer there: route, endpoint,
// origin, answer, record. A Service with a route of one rule, whose endpoint is a pod of another node.
import { noEdits } from "../../agent/mesh/http-rule.ts";
import { MeshStore } from "../../agent/mesh/store.ts";
import { type ReadConnection, requestsOn, trafficOf } from "./judged-request.ts";
import { addressOf, service, vipOf, workload } from "./mesh.ts";

const POD = 1;
const CONN = 2;

function openConnection(): ReadConnection {
  const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  const caller = workload(10);
  const { name, namespace, from } = service(0);
  store.apply([
    { kind: "workload", op: "upsert", value: workload(0) },
    { kind: "workload", op: "upsert", value: caller },
    { kind: "service", op: "upsert", value: service(0) },
    {
      kind: "http-route",
      op: "upsert",
      value: {
        ...{
          kind: "HTTPRoute",
          name,
          namespace,
          from,
          createdMs: 0,
          parents: [{ service: `${namespace}/${name}`, port: 80, portName: null }],
        },
        rules: [
          {
            ...{
              name: "",
              redirect: null,
              cors: null,
              rewrite: null,
              from,
              timeoutMs: 0,
              tryTimeoutMs: 0,
              retry: null,
            },
            matches: [{ path: { kind: "prefix", value: "/accounts" }, method: "GET", headers: [], query: [] }],
            backends: [
              {
                ...{ service: `${namespace}/${name}`, port: 80, weight: 1 },
                ...{ requestEdits: noEdits, responseEdits: noEdits },
              },
            ],
            ...{ requestEdits: noEdits, responseEdits: noEdits },
          },
        ],
      },
    },
  ]);
  const { traffic, recorder } = trafficOf(store, caller.identity);
  traffic.addPod({ podIdx: POD, workloadUid: caller.uid, addresses: caller.addresses, preservesSource: true });
  traffic.identityInstalled(1, caller.identity.text);
  const answer = traffic.handle({
    ...{ type: "accepted", conn: CONN, generation: 1, podIdx: POD, listener: "outbound" },
    ...{ source: { address: addressOf(10), port: 40_000 }, destination: { address: vipOf(0), port: 80 } },
  });
  if (answer?.type !== "serve") throw new Error("the connection is not served request by request");
  return { traffic, recorder, conn: CONN };
}

/** One request each call. */
export const routedRequests = (): (() => void) => requestsOn(openConnection());
