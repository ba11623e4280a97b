// test peers · what the conformance suite says of each of its tests of meshes, in the text that Go's tests print. Pure.
export type Outcome = {
  readonly name: string;
  readonly outcome: "passed" | "failed" | "skipped";
  /** Cases inside it. */
  readonly cases: number;
  /** What the suite has printed of it. */
  readonly said: string;
};

const words = { PASS: "passed", FAIL: "failed", SKIP: "skipped" } as const;

/** Tests of gateways are left out: the suite skips them all. In the order in which they ended. */
export function outcomesOf(printed: string): readonly Outcome[] {
  const lines = printed.split("\n");
  const ended = lines.flatMap((line) => {
    const found = /^ *--- (PASS|FAIL|SKIP): TestConformance\/(Mesh\w+)(\/\S+)? \(/.exec(line);
    if (found === null) return [];
    const [, word, name = "", inside] = found;
    return [{ outcome: words[word as keyof typeof words], name, isCase: inside !== undefined }];
  });
  return ended
    .filter(({ isCase }) => !isCase)
    .map(({ name, outcome }) => ({
      ...{ name, outcome },
      cases: ended.filter((other) => other.isCase && other.name === name).length,
      said: saidOf(lines, name),
    }));
}

/** The lines between the marks `=== RUN`, `=== NAME` and `=== CONT` of this test and those of the next. */
function saidOf(lines: readonly string[], name: string): string {
  let isOurs = false;
  const said: string[] = [];
  for (const line of lines) {
    const mark = /^=== (?:RUN|NAME|CONT|PAUSE) +TestConformance(?:\/(\w+))?/.exec(line);
    if (mark !== null) isOurs = mark[1] === name;
    else if (isOurs) said.push(line.trim());
  }
  return said.join("\n");
}
