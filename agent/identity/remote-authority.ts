// main thread · an authority that other machines run: `orlop control`, or Istio's. The agent proves itself by a token that is bound to
// its own pod, and asks for a certificate of each pod of its node; keys are made here and stay here.

import { Backoff } from "../attempts/backoff.ts";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import { CREATE_CERTIFICATE, decodeCertificateAnswer, encodeCertificateRequest } from "./certificate-messages.ts";
import { GrpcClient, GrpcRefusal } from "./grpc-client.ts";
import { checkChain } from "./issued-chain.ts";
import type { IssuedCertificate, Provider } from "./provider.ts";
import { readBoundedFile, readRootBundle } from "./root-bundle.ts";

export type RemoteAuthorityOptions = {
  /** `https://host:port`. */
  readonly address: string;
  /** A service account's token, projected for the authority's audience. Read for each question: the kubelet renews it. */
  readonly tokenFile: string;
  /** PEM of the roots of the mesh. */
  readonly rootsFile: string;
  /** PEM of the roots of the authority's own certificate; empty: those of the mesh. */
  readonly serverRootsFile: string;
  /** Istio's authority looks for the token's cluster by it. */
  readonly cluster: string;
  readonly trustDomain: string;
  readonly leafTtlSeconds: number;
};
export type RemoteAuthorityDependencies = {
  readonly wallMs: () => number;
  /** In [0, 1). */
  readonly random?: () => number;
};

const MAX_TOKEN_BYTES = 16 * 1024;
/** Shorter than what the caller waits for (`issueTimeoutMs` of certificates.ts), so that the error says who was waited for. */
const DEADLINE_MS = 8_000;
/** Tries for one certificate while nobody answers; later tries are the caller's. */
const TRIES = 3;
const RETRY = { baseMs: 200, capMs: 1_000 };

export class RemoteAuthority implements Provider {
  readonly name = "service";
  readonly #options: RemoteAuthorityOptions;
  readonly #dependencies: RemoteAuthorityDependencies;
  readonly #client: GrpcClient;

  constructor(options: RemoteAuthorityOptions, dependencies: RemoteAuthorityDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
    const { address, serverRootsFile, rootsFile } = options;
    const file = serverRootsFile === "" ? rootsFile : serverRootsFile;
    this.#client = new GrpcClient({ address, roots: () => readRootBundle(file).join("\n") });
  }

  /** Loads the code that `issue` needs, while the program can still read where it lies. */
  async prepare(): Promise<void> {
    await import("./csr.ts");
  }

  /** @throws Error: the authority is away, refuses (GrpcRefusal), or has answered with something else than was asked for */
  async issue(identity: SpiffeId, signal: AbortSignal): Promise<IssuedCertificate> {
    const { trustDomain, leafTtlSeconds, rootsFile } = this.#options;
    if (identity.trustDomain !== trustDomain) {
      throw new Error(`this authority is of ${trustDomain}, not of ${identity.trustDomain}`);
    }
    const { newRequest } = await import("./csr.ts");
    const { key, csrPem, publicKey } = await newRequest(identity.text);
    try {
      const asked = { csrPem, validitySeconds: leafTtlSeconds, impersonatedIdentity: identity.text };
      const answer = decodeCertificateAnswer(await this.#ask(encodeCertificateRequest(asked), signal));
      if (answer === undefined) throw new Error("the authority's answer is no IstioCertificateResponse");
      const expected = { identity, publicKey, validitySeconds: leafTtlSeconds };
      const checked = checkChain(answer, expected, readRootBundle(rootsFile), this.#dependencies.wallMs());
      return { key, ...checked };
    } catch (error) {
      key.wipe();
      throw error;
    }
  }

  async roots(): Promise<readonly string[]> {
    return readRootBundle(this.#options.rootsFile);
  }

  close(): void {
    this.#client.close();
  }

  async #ask(message: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const backoff = new Backoff(RETRY, this.#dependencies.random);
    const endsAtMs = performance.now() + DEADLINE_MS;
    for (;;) {
      signal.throwIfAborted();
      const deadlineMs = Math.floor(endsAtMs - performance.now());
      const headers = { authorization: `Bearer ${this.#token()}`, clusterid: this.#options.cluster };
      try {
        return await this.#client.ask({ path: CREATE_CERTIFICATE, message, headers, deadlineMs, signal });
      } catch (error) {
        const isOver = backoff.failures + 1 >= TRIES || performance.now() + RETRY.capMs >= endsAtMs;
        if (isOver || signal.aborted || !mayPass(error)) throw error;
      }
      await backoff.wait(signal);
    }
  }

  /** @throws Error that names the file and shows nothing of it */
  #token(): string {
    const { tokenFile } = this.#options;
    const token = readBoundedFile(tokenFile, MAX_TOKEN_BYTES).trim();
    if (!/^[A-Za-z0-9._~+/-]+=*$/.test(token)) throw new Error(`${tokenFile} holds no token`);
    return token;
  }
}

/** What a moment later may be otherwise: nobody answered, or a server says so of itself. Asking again changes no refusal. */
function mayPass(error: unknown): boolean {
  return !(error instanceof GrpcRefusal) || error.code === "UNAVAILABLE";
}
