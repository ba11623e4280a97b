// main thread · keeps what signs in step with the cluster: the Secret with the root's key, made once and never overwritten, and the
// ConfigMap with the roots that nodes trust. Without the Secret nothing is signed.
import { X509Certificate } from "node:crypto";
import { rootsIn } from "../identity/root-bundle.ts";
import { nextBundle, type PublishedRoot, timesText, waitFor, withLost, withTimes } from "./bundle.ts";
import type { ClusterApi, StoredData } from "./cluster.ts";
import { NotIssued } from "./not-issued.ts";
import { newRootData, readRoot, type SigningRoot } from "./root.ts";

export type RootKeeperOptions = {
  readonly namespace: string;
  readonly secret: string;
  readonly configMap: string;
  readonly trustDomain: string;
  /** How long a new root is published before certificates come from it, ms. */
  readonly spreadMs: number;
  /** How long a root stays published that the Secret names no more, ms. */
  readonly keepMs: number;
};
export type RootKeeperDependencies = {
  readonly api: Pick<ClusterApi, "stored" | "create" | "replaceConfigMap">;
  readonly wallMs: () => number;
};

/** Between two requests of a replica that makes the root and then publishes it. */
const PUBLISHED_WITHIN_MS = 10_000;

/** In the ConfigMap. */
export const BUNDLE = "root-cert.pem";
const TIMES = "orlop.dev/roots";

export class RootKeeper {
  readonly #options: RootKeeperOptions;
  readonly #dependencies: RootKeeperDependencies;
  #read: { readonly resourceVersion: string; readonly root: SigningRoot } | undefined;
  #signing: SigningRoot | undefined;
  /** At the last look. */
  #published: readonly PublishedRoot[] = [];
  /** The fingerprint of the root that this replica has made: until that is published no node has any. */
  #made: string | undefined;
  /** Since when the Secret of another replica's root is there without the ConfigMap, ms. */
  #bundleAwaitedMs: number | undefined;
  #refused = "the root's Secret was not read yet";

  constructor(options: RootKeeperOptions, dependencies: RootKeeperDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
  }

  /**
   * What certificates are signed by now.
   * @throws NotIssued that says why there is nothing, and what the operator can do
   */
  get signing(): SigningRoot {
    if (this.#signing === undefined) throw new NotIssued("FAILED_PRECONDITION", this.#refused);
    if (this.#signing.endsMs <= this.#dependencies.wallMs()) {
      throw new NotIssued(
        "FAILED_PRECONDITION",
        "the root or its intermediate has expired: put new certificates into its Secret",
      );
    }
    return this.#signing;
  }

  /**
   * Reads both objects, makes or changes what must be, and decides by what is signed from now on. After an error everything is as before,
   * but for a Secret that is gone: then nothing is signed.
   * @throws Error that says what is wrong
   */
  async look(signal: AbortSignal): Promise<void> {
    const { namespace, secret, configMap, spreadMs, keepMs } = this.#options;
    const { api, wallMs } = this.#dependencies;
    // In this order: a ConfigMap with roots is only ever made after its Secret.
    const bundle = await api.stored("ConfigMap", namespace, configMap, signal);
    const found = await api.stored("Secret", namespace, secret, signal);
    const root = await this.#rootOf(found ?? (await this.#make(bundle, signal)));
    const published = withLost(publishedIn(bundle), this.#published, this.#signing?.fingerprint);
    const isFirst = root.fingerprint === this.#made;
    if (bundle === undefined && published.length === 0 && !isFirst) this.#awaitBundle();
    const next = nextBundle(published, root.named, wallMs(), keepMs, isFirst);
    await this.#publish(bundle, next, signal);
    this.#published = next;
    const waitMs = waitFor(next, root.fingerprint, wallMs(), spreadMs);
    if (waitMs === 0) this.#signing = root;
    else if (!next.some(({ fingerprint }) => fingerprint === this.#signing?.fingerprint)) this.#signing = undefined;
    this.#refused = `a new root is being published: certificates come from it in ${Math.ceil(waitMs / 1_000)} s`;
  }

  /** @throws Error for as long as the replica that made the root may still be about to publish it */
  #awaitBundle(): void {
    const { namespace, configMap } = this.#options;
    const nowMs = this.#dependencies.wallMs();
    this.#bundleAwaitedMs = Math.min(this.#bundleAwaitedMs ?? nowMs, nowMs);
    if (nowMs - this.#bundleAwaitedMs >= PUBLISHED_WITHIN_MS) return;
    this.#refused = `there is no ConfigMap ${namespace}/${configMap} yet: the replica that made the root publishes it`;
    throw new Error(this.#refused);
  }

  /** @throws Error when a root was there before */
  async #make(bundle: StoredData | undefined, signal: AbortSignal): Promise<StoredData> {
    const { namespace, secret, configMap, trustDomain } = this.#options;
    const { api, wallMs } = this.#dependencies;
    if (this.#read !== undefined || bundle?.data[BUNDLE] !== undefined) {
      this.#signing = undefined;
      // Both gone: the operator may be beginning with a new root, beside which the old roots must not come back.
      if (bundle === undefined) this.#published = [];
      this.#refused =
        `the Secret ${namespace}/${secret} with the root's key is gone: restore it from a backup; ` +
        `or, to begin with a new root, which every node must learn before it reaches others, delete the ConfigMap ${configMap} ` +
        "as well and restart orlop control";
      throw new Error(this.#refused);
    }
    const data = await newRootData(trustDomain, wallMs());
    // Another replica may be first: its root is the mesh's.
    const done = await api.create("Secret", namespace, secret, { type: "kubernetes.io/tls", data }, signal);
    const stored = await api.stored("Secret", namespace, secret, signal);
    if (stored === undefined) throw new Error(`the Secret ${namespace}/${secret} was gone right after it was made`);
    if (done === "written") this.#made = (await this.#rootOf(stored)).fingerprint;
    return stored;
  }

  async #rootOf({ data, resourceVersion }: StoredData): Promise<SigningRoot> {
    const { namespace, secret, trustDomain } = this.#options;
    if (this.#read === undefined || this.#read.resourceVersion !== resourceVersion || resourceVersion === "") {
      const root = await readRoot(data, `the Secret ${namespace}/${secret}`, trustDomain, this.#dependencies.wallMs());
      this.#read = { resourceVersion, root };
    }
    return this.#read.root;
  }

  /** @throws Error when it could not: certificates of a root that nobody has been given would be refused */
  async #publish(bundle: StoredData | undefined, roots: readonly PublishedRoot[], signal: AbortSignal): Promise<void> {
    const { namespace, configMap } = this.#options;
    const { api } = this.#dependencies;
    const text = `${roots.map(({ pem }) => pem).join("\n")}\n`;
    const times = timesText(roots);
    if (bundle?.data[BUNDLE] === text && bundle.annotations[TIMES] === times) return;
    const object = {
      metadata: { annotations: { ...bundle?.annotations, [TIMES]: times } },
      data: { ...bundle?.data, [BUNDLE]: text },
    };
    const done =
      bundle === undefined
        ? await api.create("ConfigMap", namespace, configMap, object, signal)
        : await api.replaceConfigMap(namespace, configMap, bundle.resourceVersion, object, signal);
    if (done !== "written") throw new Error(`the ConfigMap ${namespace}/${configMap} was changed meanwhile`);
  }
}

/** Roots that somebody else has put there count for nothing. */
function publishedIn(bundle: StoredData | undefined): readonly PublishedRoot[] {
  const text = bundle?.data[BUNDLE] ?? "";
  try {
    const roots = rootsIn(text, BUNDLE).map((pem) => {
      const parsed = new X509Certificate(pem);
      return { pem: parsed.toString().trim(), fingerprint: parsed.fingerprint256 };
    });
    return withTimes(roots, bundle?.annotations[TIMES] ?? "");
  } catch {
    return [];
  }
}
