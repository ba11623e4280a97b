// test support · a mesh with a route for journeys: curl in a pod of `node-a` calls the Service `api`, and servers on both nodes answer.
import assert from "node:assert/strict";
import type { Cluster, Host, NodeSpec } from "../box/cluster.ts";
import { serviceAddresses } from "../box/network.ts";
import { tail } from "../box/process.ts";
import { rewriteMesh, serve, supportProgram } from "./journey-acts.ts";
import { type Journey, startJourney } from "./journey-box.ts";
import { ambientNamespace, meshOf, servicesOf, workloadsOf } from "./mesh-documents.ts";

/** Where the servers of `near`, `far` and `guarded` listen. */
export const HTTP = 9080;
const nodes: readonly NodeSpec[] = [
  { name: "node-a", pods: [{ name: "client" }, { name: "near" }, { name: "deaf" }] },
  { name: "node-b", pods: [{ name: "far" }, { name: "guarded" }, { name: "mute" }] },
];
/** The Service `api`, to which the route belongs. */
export const called = serviceAddresses(1);
const services = ["api", "near", "far", "guarded", "empty", "some"];
/** Of a Service of this mesh. */
export const addressesOf = (service: string) => serviceAddresses(services.indexOf(service) + 1);
/** Endpoints of `some`: two of them serve nothing. */
const some = ["far", "deaf", "mute"];

/** `failsDirect`: the Service with the route may be reached past it while no agent lives. */
export type RouteState = {
  /** The entries of `rules` of the HTTPRoute, in YAML; empty: there is no route. */
  readonly rules: string;
  readonly policies?: string;
  readonly failsDirect?: boolean;
  readonly fault?: object;
};

function meshText(cluster: Cluster, { rules, policies = "", failsDirect = false, fault }: RouteState): string {
  const specs = services.map((name) => ({
    name,
    // The Service that is called has no endpoints of its own when no route is about it.
    selector: name === "some" ? { some: "true" } : { app: name === "api" ? "far" : name },
    annotations: { "orlop.dev/fail-direct": `${failsDirect && name === "api"}` },
  }));
  const route = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: api, namespace: demo, annotations: {${fault === undefined ? "" : `orlop.dev/fault: '${JSON.stringify(fault)}'`}}}
spec:
  parentRefs: [{group: "", kind: Service, name: api, port: 80}]
  rules:
${rules}`;
  return meshOf([
    ambientNamespace(),
    ...workloadsOf(cluster, ({ name }) => ({ app: name, some: `${some.includes(name)}` })),
    ...servicesOf(specs, [{ name: "http", port: 80, targetPort: HTTP }]),
    policies,
    rules === "" ? "" : route,
  ]);
}

export type Said = {
  readonly name: string;
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly peer: string;
  readonly port: number;
  readonly bytes: number;
};
export type Answered = {
  readonly status: number;
  readonly said: Said | null;
  readonly body: string;
  readonly headers: ReadonlyMap<string, string>;
};

const MARK = "-- end of an answer --";

function answerOf(text: string): Answered {
  const end = text.indexOf("\r\n\r\n");
  const [first = "", ...lines] = text.slice(0, end).split("\r\n");
  const body = text.slice(end + 4).trim();
  const headers = new Map(
    lines.map((each) => [each.slice(0, each.indexOf(":")).toLowerCase(), each.slice(each.indexOf(":") + 1).trim()]),
  );
  const said = body.startsWith("{") ? (JSON.parse(body) as Said) : null;
  return { status: Number(first.split(" ")[1]), said, body, headers };
}

export class RoutedJourney {
  readonly #journey: Journey;
  readonly #given: RouteState;

  private constructor(journey: Journey, given: RouteState) {
    this.#journey = journey;
    this.#given = given;
  }

  /** With servers in `near`, `far` and `guarded` that say what has reached them (echo-http.ts). */
  static async start(given: RouteState): Promise<RoutedJourney> {
    const journey = await startJourney({ nodes, loggedRequests: "all" }, (cluster) => meshText(cluster, given));
    const names = ["near", "far", "guarded"];
    await Promise.all(names.map((name) => serve(journey.cluster.pod(name), supportProgram("echo-http"), HTTP, name)));
    return new RoutedJourney(journey, given);
  }

  get cluster(): Cluster {
    return this.#journey.cluster;
  }

  pod(name: string): Host {
    return this.cluster.pod(name);
  }

  /** Resolves when both nodes have applied what it began with, but for these changes. */
  write(changes: Partial<RouteState> = {}): Promise<void> {
    return rewriteMesh(this.cluster, meshText(this.cluster, { ...this.#given, ...changes }));
  }

  /** curl, which keeps its connection for all of the targets. */
  async curl(
    targets: readonly string[],
    args: readonly string[] = [],
    host = called.ip4,
    from = this.pod("client"),
  ): Promise<Answered[]> {
    const at = host.includes(":") ? `[${host}]` : host;
    const urls = targets.flatMap((target) => [`http://${at}${target}`]);
    const ask = ["curl", "-sS", "-i", "-m", "20", "--path-as-is", "-w", `\n${MARK}\n`, ...args, ...urls];
    const done = await from.run(ask, 60_000);
    assert.equal(done.status, 0, `curl ended with ${done.status}: ${tail(done.stderr)}`);
    return done.stdout
      .split(`${MARK}\n`)
      .filter((text) => text.trim() !== "")
      .map(answerOf);
  }

  async one(
    target: string,
    args: readonly string[] = [],
    host = called.ip4,
    from = this.pod("client"),
  ): Promise<Answered> {
    const [answer] = await this.curl([target], args, host, from);
    assert.ok(answer);
    return answer;
  }

  close(): Promise<void> {
    return this.#journey.close();
  }
}
