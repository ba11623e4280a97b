// main thread · one request for a certificate, from the token to the signature: who asks, from which node, whether that node has a pod of
// the asked account, and how long the certificate may live. Whatever is missing refuses.
import type { CertificateRequest } from "../identity/certificate-messages.ts";
import { readRequest, signLeaf } from "../identity/csr.ts";
import { parseSpiffeId } from "../mesh/spiffe-id.ts";
import { callerOf, nodeOf, podFor } from "./caller.ts";
import type { ClusterApi } from "./cluster.ts";
import { NotIssued } from "./not-issued.ts";
import type { RateLimit } from "./rate-limit.ts";
import type { SigningRoot } from "./root.ts";

export type CertificateServiceOptions = {
  readonly trustDomain: string;
  readonly audience: string;
  readonly agentAccounts: readonly string[];
  readonly leafTtlSeconds: number;
};
export type CertificateServiceDependencies = {
  readonly api: Pick<ClusterApi, "review" | "podsOf" | "pod">;
  /** @throws NotIssued */
  readonly signing: () => SigningRoot;
  readonly perNode: RateLimit;
  readonly wallMs: () => number;
  readonly monotonicMs: () => number;
};

/** What is known of a request so far, for its one line in the log. */
export type AuditFacts = {
  identity?: string;
  account?: string;
  node?: string;
  agentPod?: string;
  pod?: string;
  notAfter?: string;
};

/** A request of P-256 is 500 bytes, of RSA 4096 1,800. */
const MAX_REQUEST_CHARS = 8_192;
const MIN_LIFE_SECONDS = 60;
/** Peers' clocks may be this far behind ours (docs/reference/failures.md, row D7). */
const BACKDATE_MS = 5 * 60_000;
const requestForm = /^\s*-----BEGIN CERTIFICATE REQUEST-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE REQUEST-----\s*$/;
const keys: readonly string[] = ["ECDSA P-256", "ECDSA P-384"];

export class CertificateService {
  readonly #options: CertificateServiceOptions;
  readonly #dependencies: CertificateServiceDependencies;

  constructor(options: CertificateServiceOptions, dependencies: CertificateServiceDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
  }

  /**
   * The chain, PEM: the leaf, what is above it, and the root.
   * @param facts filled in as they become known
   * @throws NotIssued; Error when the API server does not answer
   */
  async issue(
    request: CertificateRequest,
    token: string,
    facts: AuditFacts,
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    const { api, perNode, monotonicMs, wallMs, signing } = this.#dependencies;
    const { trustDomain, audience, agentAccounts } = this.#options;
    const identity = parseSpiffeId(request.impersonatedIdentity);
    if (identity === undefined) throw new NotIssued("INVALID_ARGUMENT", "ImpersonatedIdentity is no identity of a pod");
    facts.identity = identity.text;
    if (identity.trustDomain !== trustDomain) {
      throw new NotIssued("PERMISSION_DENIED", `this authority is of ${trustDomain}`);
    }
    const caller = callerOf(await api.review(token, audience, signal), audience, agentAccounts);
    facts.account = caller.account;
    facts.agentPod = `${caller.namespace}/${caller.podName}`;
    const node =
      caller.node === "" ? nodeOf(caller, await api.pod(caller.namespace, caller.podName, signal)) : caller.node;
    facts.node = node;
    if (!perNode.take(node, monotonicMs())) {
      throw new NotIssued("RESOURCE_EXHAUSTED", `the node ${node} asks for too many certificates`);
    }
    const pods = await api.podsOf(identity.namespace, identity.serviceAccount, node, signal);
    const pod = podFor(identity, node, pods);
    facts.pod = `${pod.namespace}/${pod.name}`;
    this.#checkRequest(request.csrPem, identity.text);
    const root = signing();
    const nowMs = wallMs();
    const notAfterMs = Math.floor(Math.min(nowMs + 1_000 * this.#lifeSeconds(request), root.endsMs) / 1_000) * 1_000;
    if (notAfterMs <= nowMs) throw new NotIssued("FAILED_PRECONDITION", "the root or its intermediate ends now");
    const leaf = await this.#sign(root, request.csrPem, identity.text, nowMs, notAfterMs);
    facts.notAfter = new Date(notAfterMs).toISOString();
    const rootPem = root.named.find(({ fingerprint }) => fingerprint === root.fingerprint)?.pem ?? "";
    return [leaf.trim(), root.intermediatesPem, rootPem].filter((pem) => pem !== "").map((pem) => `${pem}\n`);
  }

  /** The life that the request asks for, at most `leafTtlSeconds`; 0 asks for that. @throws NotIssued when it is too short */
  #lifeSeconds({ validitySeconds }: CertificateRequest): number {
    const { leafTtlSeconds } = this.#options;
    const asked = validitySeconds === 0 ? leafTtlSeconds : validitySeconds;
    if (asked < MIN_LIFE_SECONDS) throw new NotIssued("INVALID_ARGUMENT", `a life of under ${MIN_LIFE_SECONDS} s`);
    return Math.min(asked, leafTtlSeconds);
  }

  /** @throws NotIssued */
  #checkRequest(csrPem: string, identity: string): void {
    if (csrPem.length > MAX_REQUEST_CHARS) throw new NotIssued("INVALID_ARGUMENT", "the request is too long");
    if (!requestForm.test(csrPem)) throw new NotIssued("INVALID_ARGUMENT", "the request is no PEM of PKCS#10");
    let read: ReturnType<typeof readRequest>;
    try {
      read = readRequest(csrPem);
    } catch {
      throw new NotIssued("INVALID_ARGUMENT", "the request cannot be read");
    }
    if (!keys.includes(read.key))
      throw new NotIssued("INVALID_ARGUMENT", `a key of a kind that is not signed: ${read.key}`);
    if (read.names.length !== 1 || read.names[0] !== identity) {
      throw new NotIssued("INVALID_ARGUMENT", "the request does not name the identity, and that alone");
    }
  }

  async #sign(
    { issuer }: SigningRoot,
    csrPem: string,
    spiffeText: string,
    nowMs: number,
    notAfterMs: number,
  ): Promise<string> {
    const life = { notBefore: new Date(nowMs - BACKDATE_MS), notAfter: new Date(notAfterMs) };
    try {
      return await signLeaf(issuer, { csrPem, spiffeText, ...life });
    } catch {
      throw new NotIssued("INVALID_ARGUMENT", "the request is not signed by its own key");
    }
  }
}
