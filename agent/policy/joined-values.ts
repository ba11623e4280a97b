// any thread · a field that was sent several times as a single text (RFC 9110 section 5.3). State: what was joined, as long as its values live.

/** The facts of a request give the same values each time, and conditions may ask for them thousands of times: a join copies them all. */
const known = new WeakMap<readonly string[], string>();

/** All values of a field in one text, joined by commas as RFC 9110 section 5.3 allows. */
export function joinedValues(sent: readonly string[]): string {
  const before = known.get(sent);
  if (before !== undefined) return before;
  const joined = sent.join(",");
  known.set(sent, joined);
  return joined;
}
