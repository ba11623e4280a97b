// bench · instructions · the pure hot paths in TypeScript, a call at a time, between two marks. Run by instructions.ts, as
// JavaScript and under callgrind: V8 interprets, so that a count is of the work that the code asks for and the same each time.
import { getPriority } from "node:os";
import type { ConnectionFacts } from "../../agent/mesh/facts.ts";
import { MeshStore } from "../../agent/mesh/store.ts";
import { certificateFacts } from "../../agent/plan/connection-facts.ts";
import { planOutbound } from "../../agent/plan/plan.ts";
import { judgeOf } from "../../agent/policy/evaluate.ts";
import { decoders } from "./decode.ts";
import { judgedRequests } from "./judged-request.ts";
import { addressOf, identityOf, policy, service, vipOf, workload } from "./mesh.ts";
import { routedRequests } from "./routed-request.ts";
import { changer } from "./update.ts";

const WARM = 300;
const CALLS = 1_000;
const APPS = 100;
const POLICIES_PER_APP = 10;

/** callgrind writes down what it has counted whenever uv_os_getpriority is called, which nobody else does. */
const mark = (): void => void getPriority();

function count(name: string, step: (index: number) => void): void {
  for (let index = 0; index < WARM; index++) step(index);
  mark();
  for (let index = 0; index < CALLS; index++) step(index);
  mark();
  process.stdout.write(`${name} ${CALLS}\n`);
}

const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
const workloads = Array.from({ length: APPS * 10 }, (_, index) => workload(index));
store.apply([
  ...workloads.map((value) => ({ kind: "workload", op: "upsert", value }) as const),
  ...Array.from({ length: APPS }, (_, app) => ({ kind: "service", op: "upsert", value: service(app) }) as const),
  ...Array.from({ length: APPS * POLICIES_PER_APP }, (_, index) => {
    const value = policy(Math.floor(index / POLICIES_PER_APP), index % POLICIES_PER_APP);
    return { kind: "authorization-policy", op: "upsert", value } as const;
  }),
]);
const judge = judgeOf(store);

const CLIENT = { address: addressOf(0), port: 40_000 };
/** `nth`: which of an app's ten callers; ten is a stranger. */
function callOf(app: number, nth: number): ConnectionFacts {
  const destination = workloads[app * 10] ?? workload(0);
  const target = { address: destination.addresses[0] ?? "", port: 8080 };
  return certificateFacts({ client: CLIENT, target }, destination, identityOf(destination.namespace, `caller-${nth}`));
}
const callers = Array.from({ length: CALLS }, (_, index) => callOf(index % APPS, index % POLICIES_PER_APP));
const strangers = Array.from({ length: CALLS }, (_, index) => callOf(index % APPS, POLICIES_PER_APP));
const judged = (facts: readonly ConnectionFacts[], verdict: "allow" | "deny") => (index: number) => {
  const asked = facts[index];
  if (asked === undefined || judge(asked).verdict !== verdict) throw new Error(`expected ${verdict}`);
};
count("decide-allow", judged(callers, "allow"));
count("decide-deny", judged(strangers, "deny"));

const world = { mesh: store, judge, servedHere: () => false, load: () => 0, random: () => 0.5 };
const source = workload(0);
count("plan-outbound", (index) => {
  const dialled = { address: vipOf(index % APPS), port: 80 };
  if (planOutbound({ source, client: CLIENT, dialled }, world).route?.kind !== "tunnel")
    throw new Error("expected a tunnel");
});
count("update-endpoint", changer(store, workloads));
count("answer-request", judgedRequests(false));
count("answer-request-limited", judgedRequests(true));
count("route-request", routedRequests());
for (const [name, step] of Object.entries(decoders())) count(`decode-${name}`, step);
