// test model · cuts a failing trace down: parts of it are left out as long as it still fails (delta debugging). Minutes, so
// only where somebody waits for it.

/** @param fails whether these steps, in a new world, still end in a violation. */
export async function shrunk<T>(
  trace: readonly T[],
  fails: (steps: readonly T[]) => Promise<boolean>,
): Promise<readonly T[]> {
  let shortest = trace;
  for (let size = Math.ceil(trace.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < shortest.length; ) {
      const without = [...shortest.slice(0, at), ...shortest.slice(at + size)];
      if (without.length > 0 && (await fails(without))) shortest = without;
      else at += size;
    }
  }
  return shortest;
}
