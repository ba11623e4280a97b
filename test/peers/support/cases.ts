// test peers · cases of a judge: what must hold, what an open fault breaks today, and what differs for good.
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { knownFaults } from "../known-faults.ts";

export type Body = (context: TestContext) => Promise<void> | void;

/**
 * A case with the right expectation. While known-faults.ts names it (`<part>: <name>`), it must fail: once it passes, the
 * entry has to go.
 */
export function peerCase(part: string, name: string, body: Body): void {
  const full = `${part}: ${name}`;
  const known = knownFaults[full];
  test(full, async (context) => {
    if (known === undefined) return body(context);
    const failure = await failureOf(body, context);
    if (failure === undefined && known.sometimes) return;
    assert.ok(failure !== undefined, `passes now: take it out of known-faults.ts (fault ${known.fault})`);
    context.diagnostic(`fails as known, fault ${known.fault}: ${failure.split("\n")[0]}`);
  });
}

export type Difference = {
  /** What Orlop does instead. */
  readonly differs: string;
  /** The sentence that allows it, with its source: "RFC 9113 6.9.1: …". */
  readonly sentence: string;
  /** What another implementation does in the same case: "Node 24's http2 server: …". Run, not remembered, where it can be. */
  readonly control: string;
};

/** A case that is expected to fail for good. It fails when it passes, so that the list of differences stays true. */
export function differentCase(part: string, name: string, difference: Difference, body: Body): void {
  test(`${part}: ${name}`, async (context) => {
    const failure = await failureOf(body, context);
    assert.ok(failure !== undefined, "passes now: it is no difference any more");
    context.diagnostic(`differs: ${difference.differs}. ${difference.sentence}. Control: ${difference.control}`);
  });
}

async function failureOf(body: Body, context: TestContext): Promise<string | undefined> {
  try {
    await body(context);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
