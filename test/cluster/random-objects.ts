// test cluster · random changes of a cluster's objects through its API, repeatable from a seed as far as the server's answers are.
import { readFileSync } from "node:fs";
import { parseAllDocuments } from "yaml";
import type { Dice } from "../support/dice.ts";
import { type Answer, type Method, send } from "./api.ts";
import { gatewayDefinition } from "./gateway-definitions.ts";
import { POD_IMAGE } from "./plan.ts";

const ISTIO = "security.istio.io/v1";
const ORLOP = "orlop.dev/v1alpha1";
const NETWORKING = "networking.istio.io/v1";
const GATEWAY = "gateway.networking.k8s.io/v1";
const NAMESPACES = ["shop", "bank", "lab"] as const;
const NAMES = 6;
/** A node that is not there: pods that are bound to it get their addresses from here, at once. */
const NOWHERE = "nowhere";
const ambient = { "orlop.dev/dataplane-mode": "ambient" };

const collections = {
  Pod: (namespace: string) => `/api/v1/namespaces/${namespace}/pods`,
  Service: (namespace: string) => `/api/v1/namespaces/${namespace}/services`,
  EndpointSlice: (namespace: string) => `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`,
  PeerAuthentication: (namespace: string) => `/apis/${ISTIO}/namespaces/${namespace}/peerauthentications`,
  AuthorizationPolicy: (namespace: string) => `/apis/${ISTIO}/namespaces/${namespace}/authorizationpolicies`,
  HTTPRoute: (namespace: string) => `/apis/${GATEWAY}/namespaces/${namespace}/httproutes`,
  GRPCRoute: (namespace: string) => `/apis/${GATEWAY}/namespaces/${namespace}/grpcroutes`,
  TLSRoute: (namespace: string) => `/apis/${GATEWAY}/namespaces/${namespace}/tlsroutes`,
  TCPRoute: (namespace: string) => `/apis/${GATEWAY}/namespaces/${namespace}/tcproutes`,
  DestinationRule: (namespace: string) => `/apis/${NETWORKING}/namespaces/${namespace}/destinationrules`,
  LimitPolicy: (namespace: string) => `/apis/${ORLOP}/namespaces/${namespace}/limitpolicies`,
} as const;
type Kind = keyof typeof collections;
const routeKinds = ["HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute"] as const;
type RouteKind = (typeof routeKinds)[number];
const isRoute = (kind: Kind): kind is RouteKind => routeKinds.some((route) => route === kind);

/** The definitions that Orlop brings, and Gateway API's own of routes. */
export const definitions = (): readonly object[] => [
  ...["crds", "manifest"].flatMap((name) =>
    parseAllDocuments(readFileSync(new URL(`../../daemonset/${name}.yaml`, import.meta.url), "utf8"))
      .map((document) => document.toJS() as { readonly kind: string })
      .filter(({ kind }) => kind === "CustomResourceDefinition"),
  ),
  ...["httproutes", "grpcroutes", "tlsroutes", "tcproutes"].map(gatewayDefinition),
];

export class RandomObjects {
  readonly #dice: Dice;
  readonly #kubeconfig: string;
  /** How often the server has taken a change, by method. */
  readonly taken = new Map<Method, number>();

  constructor(dice: Dice, kubeconfig: string) {
    this.#dice = dice;
    this.#kubeconfig = kubeconfig;
  }

  /** The namespaces, and an object of each kind in each of them. */
  async begin(): Promise<void> {
    for (const namespace of NAMESPACES) await this.makeNamespace(namespace);
    for (const namespace of NAMESPACES) await this.oneOfEach(namespace);
  }

  /** Waits for the namespace to take pods, as a new namespace does when it has its service account. */
  async oneOfEach(namespace: string, name = "fixed"): Promise<void> {
    for (const kind of Object.keys(collections) as Kind[]) {
      for (let tries = 0; ; tries++) {
        const { status, body } = await this.#create(kind, namespace, name);
        if (status === 201 || status === 409) break;
        if (tries > 900) throw new Error(`${kind} ${namespace}/${name}: ${status} ${body}`);
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    }
  }

  /** Takes a namespace away; the cluster then deletes all that is in it. */
  removeNamespace(namespace: string): Promise<Answer> {
    return this.#send("DELETE", `/api/v1/namespaces/${namespace}`);
  }

  /** A change, which the server may refuse: the object is not there, or its namespace is going. */
  async step(): Promise<void> {
    const dice = this.#dice;
    const namespace = dice.pick(NAMESPACES);
    if (dice.chance(8)) return this.#relabel(namespace);
    if (dice.chance(1)) return void (await this.removeNamespace("lab"));
    if (dice.chance(5)) return this.makeNamespace("lab");
    const kind = dice.pick([
      "Pod",
      "Pod",
      "Pod",
      "Service",
      "EndpointSlice",
      "PeerAuthentication",
      "AuthorizationPolicy",
      "AuthorizationPolicy",
      "HTTPRoute",
      "GRPCRoute",
      "TLSRoute",
      "TCPRoute",
      "DestinationRule",
      "LimitPolicy",
    ] as const);
    const name = `x${dice.roll(NAMES)}`;
    const url = `${collections[kind](namespace)}/${name}`;
    if (dice.chance(30)) await this.#send("DELETE", `${url}?gracePeriodSeconds=0`);
    else if (kind === "Pod" && dice.chance(60)) await this.#send("PATCH", `${url}/status`, this.#podStatus());
    else if (dice.chance(50)) await this.#send("PATCH", url, this.#change(kind));
    else await this.#create(kind, namespace, name);
  }

  async #create(kind: Kind, namespace: string, name: string): Promise<Answer> {
    const object = { metadata: { name, labels: this.#labels(kind) }, ...this.#bodyOf(kind, namespace) };
    const answer = await this.#send("POST", collections[kind](namespace), object);
    if (kind === "Pod" && answer.status === 201)
      await this.#send("PATCH", `${collections.Pod(namespace)}/${name}/status`, this.#podStatus());
    return answer;
  }

  async makeNamespace(name: string): Promise<void> {
    await this.#send("POST", "/api/v1/namespaces", { metadata: { name, labels: ambient } });
  }

  async #relabel(namespace: string): Promise<void> {
    const labels = { "orlop.dev/dataplane-mode": this.#dice.pick(["ambient", "none", null]) };
    await this.#send("PATCH", `/api/v1/namespaces/${namespace}`, { metadata: { labels } });
  }

  #labels(kind: Kind): Readonly<Record<string, string>> {
    const app = { app: this.#dice.pick(["web", "api"]) };
    return kind === "EndpointSlice" ? { ...app, "kubernetes.io/service-name": `x${this.#dice.roll(NAMES)}` } : app;
  }

  #change(kind: Kind): object {
    if (kind === "PeerAuthentication" || kind === "AuthorizationPolicy") return { spec: this.#specOf(kind) };
    if (isRoute(kind)) return { spec: this.#routeSpec(kind) };
    if (kind === "DestinationRule") return { spec: this.#ruleSpec() };
    if (kind === "LimitPolicy") return { spec: this.#limitSpec() };
    if (kind === "EndpointSlice") return this.#endpoints();
    return { metadata: { labels: this.#labels(kind) } };
  }

  #bodyOf(kind: Kind, namespace: string): object {
    switch (kind) {
      case "Pod":
        return { apiVersion: "v1", kind, spec: this.#podSpec(namespace) };
      case "Service": {
        const selector = this.#dice.chance(50) ? { selector: { app: this.#dice.pick(["web", "api"]) } } : {};
        return { apiVersion: "v1", kind, spec: { ...selector, ports: [{ port: 80, targetPort: 8_080 }] } };
      }
      case "EndpointSlice":
        return { apiVersion: "discovery.k8s.io/v1", kind, addressType: "IPv4", ...this.#endpoints() };
      case "HTTPRoute":
      case "GRPCRoute":
      case "TLSRoute":
      case "TCPRoute":
        return { apiVersion: GATEWAY, kind, spec: this.#routeSpec(kind) };
      case "DestinationRule":
        return { apiVersion: NETWORKING, kind, spec: this.#ruleSpec() };
      case "LimitPolicy":
        return { apiVersion: ORLOP, kind, spec: this.#limitSpec() };
      default:
        return { apiVersion: ISTIO, kind, spec: this.#specOf(kind) };
    }
  }

  #specOf(kind: "PeerAuthentication" | "AuthorizationPolicy"): object {
    const dice = this.#dice;
    if (kind === "PeerAuthentication") return { mtls: { mode: dice.pick(["STRICT", "PERMISSIVE", "LOOSE"]) } };
    const from = { source: { namespaces: [dice.pick(NAMESPACES)] } };
    // An action and a field that the agent does not know: such a policy is in force in its closed form.
    const rule = dice.chance(15) ? { newer: true } : { from: [from] };
    return { action: dice.pick(["ALLOW", "DENY", "NONE"]), rules: [rule] };
  }

  #ruleSpec(): object {
    const outlierDetection = { consecutive5xxErrors: 1 + this.#dice.roll(9) };
    return { host: `x${this.#dice.roll(NAMES)}`, trafficPolicy: { outlierDetection } };
  }

  #routeSpec(kind: RouteKind): object {
    const parent = { group: "", kind: "Service", name: `x${this.#dice.roll(NAMES)}`, port: 80 };
    const target = (): object => ({ name: `x${this.#dice.roll(NAMES)}`, port: 80 });
    const isOfRequests = kind === "HTTPRoute" || kind === "GRPCRoute";
    const copied = { type: "RequestMirror", requestMirror: { backendRef: target(), percent: this.#dice.roll(101) } };
    const filters = isOfRequests && this.#dice.chance(25) ? { filters: [copied] } : {};
    const rules = [{ ...filters, backendRefs: [target()] }];
    return { parentRefs: [parent], ...(kind === "TLSRoute" && { hostnames: ["a.example"] }), rules };
  }

  #limitSpec(): object {
    const selector = { matchLabels: { app: this.#dice.pick(["web", "api"]) } };
    return { selector, local: { requests: 1 + this.#dice.roll(100), per: "second" } };
  }

  #endpoints(): object {
    const endpoints = [{ addresses: [this.#address()], conditions: { ready: this.#dice.chance(80) } }];
    return { endpoints, ports: [{ name: "", port: 8_080, protocol: "TCP" }] };
  }

  /** Most pods are on no node. Some are real, and then scheduler and kubelet change them too. */
  #podSpec(namespace: string): object {
    const isReal = namespace === "shop" && this.#dice.chance(30);
    const container = { name: "pod", image: POD_IMAGE, imagePullPolicy: "Never", command: ["/pod", "pause"] };
    const common = { terminationGracePeriodSeconds: 0, automountServiceAccountToken: false, containers: [container] };
    return isReal ? common : { ...common, nodeName: NOWHERE };
  }

  #podStatus(): object {
    const ip = this.#address();
    const phase = this.#dice.chance(92) ? "Running" : "Succeeded";
    const ready = this.#dice.chance(80) ? "True" : "False";
    return { status: { phase, podIP: ip, podIPs: [{ ip }], conditions: [{ type: "Ready", status: ready }] } };
  }

  /** Now and then two pods claim an address. */
  #address(): string {
    return `10.50.0.${1 + this.#dice.roll(200)}`;
  }

  async #send(method: Method, url: string, object?: object): Promise<Answer> {
    const answer = await send(this.#kubeconfig, method, url, object);
    if (answer.status >= 200 && answer.status < 300) this.taken.set(method, (this.taken.get(method) ?? 0) + 1);
    return answer;
  }
}
