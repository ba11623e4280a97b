// main thread · the roots that peers may chain to, per trust domain. An old root stays while certificates of it may live
// (docs/reference/failures.md, row D6).
import { X509Certificate } from "node:crypto";

export type TrustBundleOptions = {
  /** How long a root that its authority no longer names is still trusted, ms: the life of a leaf. */
  readonly overlapMs: number;
};
export type TrustBundleDependencies = {
  readonly monotonicMs: () => number;
  /** Called with the PEM of all roots whenever the set changes. */
  readonly install: (pem: string) => void;
};

type Root = {
  readonly pem: string;
  readonly fingerprint: string /** Monotonic; null: named by its authority. */;
  retiredAtMs: number | null;
};

export type RootView = {
  readonly trustDomain: string;
  readonly subject: string;
  readonly sha256: string;
  readonly notAfter: string;
  readonly retiring: boolean;
};

export class TrustBundle {
  readonly #options: TrustBundleOptions;
  readonly #dependencies: TrustBundleDependencies;
  readonly #roots = new Map<string, Root[]>();
  #installed = "";

  constructor(options: TrustBundleOptions, dependencies: TrustBundleDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
  }

  /**
   * What the authority of `trustDomain` says its roots are, now. New ones are trusted at once, missing ones after the overlap.
   * @throws Error when one is not a certificate of an authority, or when there is none; nothing changes then.
   */
  update(trustDomain: string, pems: readonly string[]): void {
    if (pems.length === 0) throw new Error(`the authority of ${trustDomain} names no root`);
    const named = pems.map((pem) => {
      const parsed = new X509Certificate(pem);
      if (!parsed.ca) throw new Error(`a root of ${trustDomain} may not sign certificates: ${parsed.subject}`);
      return { pem: parsed.toString(), fingerprint: parsed.fingerprint256 };
    });
    const now = this.#dependencies.monotonicMs();
    const kept: Root[] = [];
    for (const old of this.#roots.get(trustDomain) ?? []) {
      if (named.some((root) => root.fingerprint === old.fingerprint)) continue;
      old.retiredAtMs ??= now;
      if (now - old.retiredAtMs < this.#options.overlapMs) kept.push(old);
    }
    this.#roots.set(trustDomain, [...named.map((root) => ({ ...root, retiredAtMs: null })), ...kept]);
    this.#installIfChanged();
  }

  /** Every root, for the engine; one PEM text. */
  pem(): string {
    const all = [...this.#roots.values()].flat().map((root) => root.pem.trim());
    return [...new Set(all)].sort().join("\n");
  }

  view(): RootView[] {
    return [...this.#roots].flatMap(([trustDomain, roots]) =>
      roots.map((root) => {
        const parsed = new X509Certificate(root.pem);
        return {
          trustDomain,
          subject: parsed.subject,
          sha256: root.fingerprint,
          notAfter: parsed.validToDate.toISOString(),
          retiring: root.retiredAtMs !== null,
        };
      }),
    );
  }

  #installIfChanged(): void {
    const pem = this.pem();
    if (pem === this.#installed) return;
    this.#dependencies.install(pem);
    this.#installed = pem;
  }
}
