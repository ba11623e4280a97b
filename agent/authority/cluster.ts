// main thread · what the authority asks of an API server and writes there: reviews of tokens, pods of a node, the Secret with the root's
// key, the ConfigMap with the roots. The server is trusted with what it says, not with its form.
import type { ApiAnswer, Ask, AskOptions } from "../control/kubernetes/api-answer.ts";
import { Refused, textOf } from "../control/kubernetes/api-refusal.ts";

type Json = Readonly<Record<string, unknown>>;

/** A pod as far as it decides whether its node's agent may have its identity. */
export type BoundPod = {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly node: string;
  readonly serviceAccount: string;
  readonly isFinished: boolean;
  /** It has the node's own network: its connections are the node's. */
  readonly isOnHostNetwork: boolean;
};

export type TokenReview = {
  readonly isAuthenticated: boolean;
  readonly audiences: readonly string[];
  readonly username: string;
  /** Of the pod that the token is bound to; empty: the token, or a server before 1.30, does not say. */
  readonly extra: { readonly podName: string; readonly podUid: string; readonly nodeName: string };
};

/** An object's `data`, and what a later write must name to be a change of this state. */
export type StoredData = {
  readonly data: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly resourceVersion: string;
};

export type Written = "written" | "somebody-else-was-first";
type StoredKind = "Secret" | "ConfigMap";

const IDLE_MS = 5_000;
/** Of one account on one node: the first that is alive decides, and deployments of an account on a node are few. */
const MAX_PODS = 200;

export class ClusterApi {
  readonly #ask: Ask;

  constructor(ask: Ask) {
    this.#ask = ask;
  }

  /** @throws Error when the server does not answer, or refuses the question */
  async review(token: string, audience: string, signal: AbortSignal): Promise<TokenReview> {
    const object = {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenReview",
      spec: { token, audiences: [audience] },
    };
    const path = "/apis/authentication.k8s.io/v1/tokenreviews";
    const answer = await this.#send(path, { signal, idleMs: IDLE_MS, write: { method: "POST", object } });
    const { status } = await successOf(answer, "TokenReview", "the review of a token");
    const { authenticated, audiences, user } = recordOf(status);
    const { username, extra } = recordOf(user);
    const said = recordOf(extra);
    return {
      isAuthenticated: authenticated === true,
      audiences: textsOf(audiences),
      username: stringOf(username),
      extra: {
        podName: onlyOf(said["authentication.kubernetes.io/pod-name"]),
        podUid: onlyOf(said["authentication.kubernetes.io/pod-uid"]),
        nodeName: onlyOf(said["authentication.kubernetes.io/node-name"]),
      },
    };
  }

  /** Pods of one account on one node, as of now: a list without a version is read where writes go. */
  async podsOf(
    namespace: string,
    serviceAccount: string,
    node: string,
    signal: AbortSignal,
  ): Promise<readonly BoundPod[]> {
    const selector = [
      `spec.nodeName=${node}`,
      `spec.serviceAccountName=${serviceAccount}`,
      "status.phase!=Succeeded,status.phase!=Failed",
    ].join(",");
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods`;
    const query = `fieldSelector=${encodeURIComponent(selector)}&limit=${MAX_PODS}`;
    const answer = await this.#send(`${path}?${query}`, { signal, idleMs: IDLE_MS });
    const { items } = await successOf(answer, "PodList", "a list of pods");
    return Array.isArray(items) ? items.map(podOf) : [];
  }

  /** undefined: there is none of this name. */
  async pod(namespace: string, name: string, signal: AbortSignal): Promise<BoundPod | undefined> {
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}`;
    const answer = await this.#send(path, { signal, idleMs: IDLE_MS });
    if (await isAbsent(answer, name)) return undefined;
    return podOf(await successOf(answer, "Pod", "a pod"));
  }

  /** undefined: there is none of this name, in the words of the server that would have it. */
  async stored(
    kind: StoredKind,
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<StoredData | undefined> {
    const answer = await this.#send(`${folderOf(kind, namespace)}/${name}`, { signal, idleMs: IDLE_MS });
    if (await isAbsent(answer, name)) return undefined;
    const { data, metadata } = await successOf(answer, kind, `the ${kind} ${namespace}/${name}`);
    const { annotations, resourceVersion } = recordOf(metadata);
    return {
      data: stringsOf(data),
      annotations: stringsOf(annotations),
      resourceVersion: stringOf(resourceVersion),
    };
  }

  /** Creates and never overwrites. */
  async create(
    kind: StoredKind,
    namespace: string,
    name: string,
    object: object,
    signal: AbortSignal,
  ): Promise<Written> {
    const whole = { apiVersion: "v1", kind, ...object, metadata: { name, namespace, ...metadataOf(object) } };
    const write = { method: "POST", object: whole } as const;
    return writtenOf(await this.#send(folderOf(kind, namespace), { signal, idleMs: IDLE_MS, write }), kind, name);
  }

  /** Replaces the state that was read, and no other. */
  async replaceConfigMap(
    namespace: string,
    name: string,
    resourceVersion: string,
    object: object,
    signal: AbortSignal,
  ): Promise<Written> {
    const metadata = { name, namespace, resourceVersion, ...metadataOf(object) };
    const write = { method: "PUT", object: { apiVersion: "v1", kind: "ConfigMap", ...object, metadata } } as const;
    const path = `${folderOf("ConfigMap", namespace)}/${name}`;
    return writtenOf(await this.#send(path, { signal, idleMs: IDLE_MS, write }), "ConfigMap", name);
  }

  #send(path: string, options: AskOptions): Promise<ApiAnswer> {
    return this.#ask(path, options);
  }
}

const folderOf = (kind: StoredKind, namespace: string): string =>
  `/api/v1/namespaces/${namespace}/${kind === "Secret" ? "secrets" : "configmaps"}`;
const metadataOf = (object: object): object => ("metadata" in object ? recordOf(object.metadata) : {});

/**
 * Reads an answer that must hold a single object of this kind. An error never quotes the answer, which may contain a token or a key.
 * @throws Refused when it is no success; Error when it is no JSON of this kind
 */
async function successOf(answer: ApiAnswer, kind: string, what: string): Promise<Json> {
  const text = await textOf(answer);
  if (answer.status !== 200 && answer.status !== 201) throw new Refused(answer, what);
  const object = answer.contentType === "application/json" ? jsonOf(text) : {};
  if (object.kind !== kind) throw new Error(`${what}: the answer is no ${kind}`);
  return object;
}

function jsonOf(text: string): Json {
  try {
    return recordOf(JSON.parse(text));
  } catch {
    return {};
  }
}

/** Only the API server's own word for it counts: a proxy's 404 is no absence. */
async function isAbsent(answer: ApiAnswer, name: string): Promise<boolean> {
  if (answer.status !== 404) return false;
  const text = await textOf(answer);
  const { kind, reason, details } = answer.contentType === "application/json" ? jsonOf(text) : {};
  if (kind === "Status" && reason === "NotFound" && recordOf(details).name === name) return true;
  throw new Refused(answer, `${name}: a 404 that is not of this object`);
}

async function writtenOf(answer: ApiAnswer, kind: string, name: string): Promise<Written> {
  // AlreadyExists of a create, Conflict of a replace.
  if (answer.status === 409) {
    await textOf(answer);
    return "somebody-else-was-first";
  }
  await successOf(answer, kind, `the ${kind} ${name}`);
  return "written";
}

function podOf(item: unknown): BoundPod {
  const { metadata, spec, status } = recordOf(item);
  const { namespace, name, uid } = recordOf(metadata);
  const { nodeName, serviceAccountName, hostNetwork } = recordOf(spec);
  const { phase } = recordOf(status);
  return {
    ...{ namespace: stringOf(namespace), name: stringOf(name), uid: stringOf(uid) },
    ...{ node: stringOf(nodeName), serviceAccount: stringOf(serviceAccountName) },
    isFinished: phase === "Succeeded" || phase === "Failed",
    isOnHostNetwork: hostNetwork !== undefined && hostNetwork !== false,
  };
}

function recordOf(value: unknown): Json {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : {};
}

function stringOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function textsOf(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
}

/** Of a list with exactly one text. */
function onlyOf(value: unknown): string {
  const texts = textsOf(value);
  return texts.length === 1 ? (texts[0] ?? "") : "";
}

function stringsOf(value: unknown): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(recordOf(value)).flatMap(([name, text]) => (typeof text === "string" ? [[name, text]] : [])),
  );
}
