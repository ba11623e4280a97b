// any thread · the roots that are published, and since when: a new root is known everywhere before certificates come from it, and an old
// root goes when its last certificate has ended. Pure.

export type PublishedRoot = {
  readonly pem: string;
  /** SHA-256 of the certificate, as node:crypto writes it. */
  readonly fingerprint: string;
  readonly publishedMs: number;
  /** The Secret has not named it since; null: it does. */
  readonly leftMs: number | null;
  /** It was published by a replica that could not know which roots nodes had before. */
  readonly afterUnknown: boolean;
};
export type NamedRoot = Pick<PublishedRoot, "pem" | "fingerprint">;

/**
 * What is to be published now. A time that lies ahead was written by a clock that was wrong: it counts from now on.
 * @param named the roots that the Secret names
 * @param keepMs how long a root stays that the Secret names no more: longer than any of its certificates is valid
 * @param isFirst nothing is published, because the mesh begins; false: because what was published is not known
 */
export function nextBundle(
  published: readonly PublishedRoot[],
  named: readonly NamedRoot[],
  nowMs: number,
  keepMs: number,
  isFirst: boolean,
): readonly PublishedRoot[] {
  const isNamed = (root: NamedRoot): boolean => named.some(({ fingerprint }) => fingerprint === root.fingerprint);
  const first = Math.min(...published.map(({ publishedMs }) => publishedMs));
  const past = published.map((root) => ({
    ...root,
    publishedMs: Math.min(root.publishedMs, nowMs),
    // Several that count from now on would all be the first.
    afterUnknown: root.afterUnknown || (root.publishedMs > nowMs && root.publishedMs > first),
    leftMs: root.leftMs === null ? null : Math.min(root.leftMs, nowMs),
  }));
  const known = new Map(past.map((root) => [root.fingerprint, root]));
  const present = named.map(({ pem, fingerprint }) => ({
    ...{ pem, fingerprint, leftMs: null },
    publishedMs: known.get(fingerprint)?.publishedMs ?? nowMs,
    afterUnknown: known.get(fingerprint)?.afterUnknown ?? (published.length === 0 && !isFirst),
  }));
  const leaving = past
    .filter((root) => !isNamed(root))
    .map((root) => ({ ...root, leftMs: root.leftMs ?? nowMs }))
    .filter(({ leftMs }) => nowMs - leftMs < keepMs);
  return [...present, ...leaving];
}

/**
 * What is published, with what the ConfigMap has lost: somebody may delete it, or write it again without the times. Then all that was
 * published comes back. The root that signs comes back in any case: while it signs, nodes have to trust it.
 * @param published of the ConfigMap, the roots with times
 * @param before what was published at the last look
 * @param signing the fingerprint of the root that signs now
 */
export function withLost(
  published: readonly PublishedRoot[],
  before: readonly PublishedRoot[],
  signing: string | undefined,
): readonly PublishedRoot[] {
  const lost = before
    .filter(({ fingerprint }) => published.length === 0 || fingerprint === signing)
    .filter((root) => !published.some(({ fingerprint }) => fingerprint === root.fingerprint));
  return [...published, ...lost];
}

/**
 * How long certificates may not come from a root yet, ms; 0: they may. With the roots that the mesh began with there is nothing to wait
 * for, since no node has an older root.
 * @param spreadMs how long it takes until every node has what is published
 */
export function waitFor(
  published: readonly PublishedRoot[],
  fingerprint: string,
  nowMs: number,
  spreadMs: number,
): number {
  const root = published.find((each) => each.fingerprint === fingerprint);
  if (root === undefined) return Number.POSITIVE_INFINITY;
  const first = Math.min(...published.map(({ publishedMs }) => publishedMs));
  return root.publishedMs === first && !root.afterUnknown ? 0 : Math.max(0, root.publishedMs + spreadMs - nowMs);
}

type Times = { readonly published: string; readonly left?: string; readonly afterUnknown?: true };

/** The times of the roots, for an annotation beside them. */
export function timesText(roots: readonly PublishedRoot[]): string {
  const times = roots.map(({ fingerprint, publishedMs, leftMs, afterUnknown }) => {
    const said: Times = {
      published: new Date(publishedMs).toISOString(),
      ...(leftMs !== null && { left: new Date(leftMs).toISOString() }),
      ...(afterUnknown && { afterUnknown }),
    };
    return [fingerprint, said];
  });
  return JSON.stringify(Object.fromEntries(times));
}

/** Of the roots that are published, those with their times: a root without times was put there by somebody else, and is dropped. */
export function withTimes(roots: readonly NamedRoot[], text: string): readonly PublishedRoot[] {
  let times: Readonly<Record<string, unknown>> = {};
  try {
    times = Object(JSON.parse(text));
  } catch {
    // Nobody's times: every root counts as new.
  }
  return roots.flatMap(({ pem, fingerprint }) => {
    const said = Object(Object.hasOwn(times, fingerprint) ? times[fingerprint] : {});
    const publishedMs = Date.parse(said.published);
    const leftMs = said.left === undefined ? null : Date.parse(said.left);
    if (Number.isNaN(publishedMs) || Number.isNaN(leftMs)) return [];
    return [{ pem, fingerprint, publishedMs, leftMs, afterUnknown: said.afterUnknown === true }];
  });
}
