// test peers · cases of a judge: what must hold, and what differs for good.
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";

export type Body = (context: TestContext) => Promise<void> | void;

/** A case that has to hold. */
export function peerCase(part: string, name: string, body: Body): void {
  test(`${part}: ${name}`, body);
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
