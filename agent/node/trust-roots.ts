// main thread · builder · the roots that peers may chain to, asked for again and again so that the engine gets a change of roots.
import type { Provider } from "../identity/provider.ts";
import { TrustBundle } from "../identity/trust-bundle.ts";
import type { Logger } from "../observe/log.ts";
import type { Built } from "./built.ts";

export type TrustRootParts = {
  readonly provider: Pick<Provider, "roots">;
  readonly trustDomain: string;
  /** Takes the PEM of all roots. */
  readonly installRoots: (pem: string) => void;
  /** The roots were read; comes again after each time. */
  readonly onRead: () => void;
  /** Why the roots could not be read; empty again when they were. */
  readonly onTrouble: (why: string) => void;
  readonly log: Logger;
  /** ms */
  readonly everyMs?: number;
};

/** A root that was removed is trusted this long at most. A look costs the embedded authority three system calls. */
const ROOTS_EVERY_MS = 1_000;

/** Resolves when the authority has answered, or failed, for the first time. */
export async function followRoots(parts: TrustRootParts): Promise<Built<TrustBundle>> {
  const { provider, trustDomain, installRoots, onRead, onTrouble, log, everyMs = ROOTS_EVERY_MS } = parts;
  let known = false;
  const install = (pem: string): void => {
    installRoots(pem);
    // Who changes a root goes on once every agent has said so (docs/upgrade.md).
    if (known) log.info("the trusted roots changed", { roots: pem.match(/BEGIN CERTIFICATE/g)?.length ?? 0 });
  };
  const bundle = new TrustBundle({ install });
  const ended = new AbortController();
  let trouble = "";
  const failed = (error: unknown): void => {
    const why = error instanceof Error ? error.message : String(error);
    if (why === trouble) return;
    trouble = why;
    onTrouble(why);
    if (known) log.error("the roots could not be read: those that were known stay trusted", { error });
    else log.error("no roots from the authority: nobody can be verified", { error });
  };
  const read = async (): Promise<void> => {
    try {
      const roots = await provider.roots(ended.signal);
      if (ended.signal.aborted) return;
      bundle.update(trustDomain, roots);
      known = true;
      if (trouble !== "") onTrouble("");
      trouble = "";
      onRead();
    } catch (error) {
      if (!ended.signal.aborted) failed(error);
    }
  };
  await read();
  let reading = false;
  const timer = setInterval(() => {
    if (reading) return;
    reading = true;
    void read().then(() => {
      reading = false;
    });
  }, everyMs);
  return {
    thing: bundle,
    close: () => {
      clearInterval(timer);
      ended.abort();
    },
  };
}
