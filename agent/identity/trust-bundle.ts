// main thread · the roots that peers may chain to, per trust domain: exactly those that its authority names now. To change a root
// without an outage, the operator names old and new together for a while (docs/upgrade.md, docs/reference/failures.md, row D6).
import { X509Certificate } from "node:crypto";

export type TrustBundleDependencies = {
  /** Called with the PEM of all roots whenever the set changes. */
  readonly install: (pem: string) => void;
};

type Root = { readonly pem: string; readonly fingerprint: string };

export type RootView = {
  readonly trustDomain: string;
  readonly subject: string;
  readonly sha256: string;
  readonly notAfter: string;
};

export class TrustBundle {
  readonly #dependencies: TrustBundleDependencies;
  readonly #roots = new Map<string, readonly Root[]>();
  #installed = "";

  constructor(dependencies: TrustBundleDependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * What the authority of `trustDomain` says its roots are, now. New roots are trusted at once, and missing ones no longer.
   * @throws Error when one is not a certificate of an authority, or when there is none; nothing changes then.
   */
  update(trustDomain: string, pems: readonly string[]): void {
    if (pems.length === 0) throw new Error(`the authority of ${trustDomain} names no root`);
    const named = pems.map((pem) => {
      const parsed = new X509Certificate(pem);
      if (!parsed.ca) throw new Error(`a root of ${trustDomain} may not sign certificates: ${parsed.subject}`);
      return { pem: parsed.toString(), fingerprint: parsed.fingerprint256 };
    });
    this.#roots.set(trustDomain, named);
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
