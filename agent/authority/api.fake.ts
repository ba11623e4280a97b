// test double · as much of an API server as the authority asks: reviews of tokens, pods, Secrets and ConfigMaps with their versions.
import type { ApiAnswer, Ask, AskOptions } from "../control/kubernetes/api-answer.ts";

export type FakePod = {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly node: string;
  readonly account: string;
  readonly phase?: string;
  readonly hostNetwork?: boolean;
};
/** What a token is good for. */
export type FakeToken = {
  readonly username: string;
  readonly audiences: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
};
type Stored = { readonly object: Readonly<Record<string, unknown>>; readonly version: number };

export class FakeApi {
  readonly tokens = new Map<string, FakeToken>();
  readonly pods: FakePod[] = [];
  /** By path. */
  readonly stored = new Map<string, Stored>();
  readonly asked: string[] = [];
  /** Each answer in place of the usual; undefined: the usual. */
  fault: ((path: string, options: AskOptions) => ApiAnswer | undefined) | null = null;
  /** Each answer comes when this has resolved. */
  hold: () => Promise<void> = async () => {};
  #version = 0;

  /** A token as the kubelet projects it into a pod. */
  issueToken(token: string, pod: FakePod, { audience = "orlop-ca", namesNode = true } = {}): void {
    const said = {
      "authentication.kubernetes.io/pod-name": [pod.name],
      "authentication.kubernetes.io/pod-uid": [pod.uid],
      ...(namesNode ? { "authentication.kubernetes.io/node-name": [pod.node] } : {}),
    };
    const username = `system:serviceaccount:${pod.namespace}:${pod.account}`;
    this.tokens.set(token, { username, audiences: [audience], extra: said });
  }

  readonly ask: Ask = async (path, options) => {
    options.signal.throwIfAborted();
    // Two replicas take turns at every question.
    await new Promise((resolve) => setImmediate(resolve));
    await this.hold();
    this.asked.push(`${options.write?.method ?? "GET"} ${path}`);
    const [status, body] = this.handle(options.write?.method ?? "GET", path, options.write?.object ?? null);
    return this.fault?.(path, options) ?? jsonAnswer(status, body);
  };

  handle(method: string, path: string, object: object | null): readonly [number, object] {
    const { pathname, searchParams: query } = new URL(path, "https://api");
    if (pathname === "/apis/authentication.k8s.io/v1/tokenreviews") return [201, this.#review(object)];
    const [, namespace = "", resource = "", name = ""] =
      /^\/api\/v1\/namespaces\/([^/]+)\/([^/]+)\/?([^/]*)$/.exec(pathname) ?? [];
    if (resource === "pods") return name === "" ? [200, this.#podList(namespace, query)] : this.#pod(namespace, name);
    if (resource === "secrets" || resource === "configmaps") return this.#object(method, pathname, name, object);
    return [404, { kind: "Status", reason: "NotFound" }];
  }

  #review(object: object | null): object {
    const { spec } = object as { readonly spec: { readonly token: string; readonly audiences: readonly string[] } };
    const token = this.tokens.get(spec.token);
    const audiences = spec.audiences.filter((audience) => token?.audiences.includes(audience));
    const isGood = token !== undefined && audiences.length > 0;
    const user = token && { username: token.username, extra: token.extra };
    return {
      kind: "TokenReview",
      status: isGood ? { authenticated: true, audiences, user } : { authenticated: false, user: {} },
    };
  }

  #podList(namespace: string, query: URLSearchParams): object {
    const wanted = (query.get("fieldSelector") ?? "").split(",").map((each) => /^([^=!]+)(!?=)(.*)$/.exec(each) ?? []);
    const items = this.pods
      .filter((pod) => pod.namespace === namespace)
      .map(podObject)
      .filter(({ spec, status }) => {
        const fields: Readonly<Record<string, string>> = {
          "spec.nodeName": spec.nodeName,
          "spec.serviceAccountName": spec.serviceAccountName,
          "status.phase": status.phase,
        };
        return wanted.every(([, field = "", sign, value]) => (fields[field] === value) === (sign === "="));
      });
    return { kind: "PodList", items };
  }

  #pod(namespace: string, name: string): readonly [number, object] {
    const found = this.pods.find((pod) => pod.namespace === namespace && pod.name === name);
    return found ? [200, { kind: "Pod", ...podObject(found) }] : notFound(name);
  }

  #object(method: string, path: string, name: string, given: object | null): readonly [number, object] {
    const kind = path.includes("/secrets") ? "Secret" : "ConfigMap";
    const object = (given ?? {}) as { readonly metadata?: Readonly<Record<string, unknown>> };
    const key = method === "POST" ? `${path}/${object.metadata?.name}` : path;
    const found = this.stored.get(key);
    if (method === "GET") return found ? [200, { ...found.object, kind }] : notFound(name);
    if (method === "POST" && found) return [409, { kind: "Status", reason: "AlreadyExists" }];
    if (method === "PUT" && !found) return notFound(name);
    if (method === "PUT" && object.metadata?.resourceVersion !== String(found?.version))
      return [409, { kind: "Status", reason: "Conflict" }];
    this.put(key, object);
    return [method === "POST" ? 201 : 200, { kind, ...this.stored.get(key)?.object }];
  }

  /** Somebody writes an object. */
  put(path: string, object: { readonly metadata?: object; readonly data?: object }): void {
    this.#version += 1;
    const metadata = { ...object.metadata, resourceVersion: String(this.#version) };
    this.stored.set(path, { object: { ...object, metadata }, version: this.#version });
  }

  dataOf(path: string): Readonly<Record<string, string>> {
    return (this.stored.get(path)?.object.data ?? {}) as Readonly<Record<string, string>>;
  }
}

const notFound = (name: string): readonly [number, object] => [
  404,
  { kind: "Status", reason: "NotFound", details: { name } },
];

const podObject = ({ namespace, name, uid, node, account, phase = "Running", hostNetwork }: FakePod) => ({
  metadata: { namespace, name, uid },
  spec: { nodeName: node, serviceAccountName: account, ...(hostNetwork === undefined ? {} : { hostNetwork }) },
  status: { phase },
});

export function jsonAnswer(status: number, body: object): ApiAnswer {
  const bytes = [Buffer.from(JSON.stringify(body))];
  return {
    status,
    contentType: "application/json",
    retryAfterMs: null,
    body: (async function* () {
      yield* bytes;
    })(),
  };
}
