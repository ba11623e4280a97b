// main thread · builder · the roots that peers may chain to, asked for again and again so that the engine gets a change of roots.
import { systemClock } from "../identity/clock.ts";
import type { Provider } from "../identity/provider.ts";
import { TrustBundle } from "../identity/trust-bundle.ts";
import type { Logger } from "../observe/log.ts";
import type { Built } from "./built.ts";

export type TrustRootParts = {
  readonly provider: Pick<Provider, "roots">;
  readonly trustDomain: string;
  /** How long a root that the authority no longer names is still trusted: the life of a leaf, ms. */
  readonly overlapMs: number;
  /** Takes the PEM of all roots. */
  readonly installRoots: (pem: string) => void;
  /** The roots were read; comes again after each time. */
  readonly onRead: () => void;
  readonly log: Logger;
  /** ms */
  readonly everyMs?: number;
};

const ROOTS_EVERY_MS = 30_000;

/** Resolves when the authority has answered, or failed, for the first time. */
export async function followRoots(parts: TrustRootParts): Promise<Built<TrustBundle>> {
  const { provider, trustDomain, overlapMs, installRoots, onRead, log, everyMs = ROOTS_EVERY_MS } = parts;
  const bundle = new TrustBundle({ overlapMs }, { monotonicMs: systemClock.monotonicMs, install: installRoots });
  const ended = new AbortController();
  const read = async (): Promise<void> => {
    try {
      const roots = await provider.roots(ended.signal);
      if (ended.signal.aborted) return;
      bundle.update(trustDomain, roots);
      onRead();
    } catch (error) {
      if (!ended.signal.aborted) log.error("no roots from the authority: nobody can be verified", { error });
    }
  };
  await read();
  const timer = setInterval(() => void read(), everyMs);
  return {
    thing: bundle,
    close: () => {
      clearInterval(timer);
      ended.abort();
    },
  };
}
