// 8, 18 · any thread · which of several shares a connection or a request falls to. Pure.

/**
 * By weight.
 * @param random uniform in [0, 1)
 * @returns undefined: there is none, or none with a weight.
 */
export function drawn<Share extends { readonly weight: number }>(
  shares: readonly Share[],
  random: () => number,
): Share | undefined {
  const total = shares.reduce((sum, { weight }) => sum + weight, 0);
  if (total === 0) return undefined;
  let point = random() * total;
  for (const share of shares) {
    point -= share.weight;
    if (point < 0) return share;
  }
  // Only rounding leads here.
  return shares.findLast(({ weight }) => weight > 0);
}
