// tests · bodies that come in pieces: the engine's C++ finds the end, the payload and the trailers that the grammar finds on all the
// bytes at once; Node's own parser (llhttp) finds the same. ORLOP_HTTP1_SEED draws the same bodies again.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { before, test } from "node:test";
import { type Random, seeded } from "../fuzz/mutate.ts";
import { type Body, bodyQuestion, bodyWords, readBody } from "./body-grammar.ts";
import { bodyByLlhttp } from "./llhttp.ts";
import { randomBody, randomPieces } from "./random-bodies.ts";
import { askReader, buildReader } from "./read-native.ts";

const COUNT = 40_000;
const SEED = Number(process.env.ORLOP_HTTP1_SEED ?? randomInt(1, 2 ** 31));
const BATCH = 5_000;
/** Of each word at least so many, or the bodies are too tame to show anything. */
const LEAST = 10;

before(buildReader);

/** What is said of the bodies, each in other pieces; C++ and grammar must say it. */
function agreed(bodies: readonly Body[], random: Random): string[] {
  const said = askReader(
    bodies.map((body) => ({
      kind: "body",
      bytes: bodyQuestion(body, randomPieces(body.bytes.length, random)),
    })),
  );
  for (const [index, body] of bodies.entries()) {
    const ours = readBody(body);
    if (said[index] === ours) continue;
    const shown = `${body.framing} ${body.length} ${JSON.stringify(body.bytes.toString("latin1").slice(0, 2_000))}`;
    assert.equal(said[index], ours, `C++ and grammar differ: ${shown}`);
  }
  return said;
}

const latin1 = (text: string): Buffer => Buffer.from(text, "latin1");
const hex = (text: string): string => latin1(text).toString("hex");

test("a message ends where its framing says, and what follows is the next message", () => {
  const next = "GET / HTTP/1.1\r\n";
  const cases: readonly (readonly [what: string, body: Body, said: string])[] = [
    ["no body", { framing: "none", length: 0, bytes: latin1(next), closes: false }, "body end 0 "],
    ["a length of 0", { framing: "length", length: 0, bytes: latin1(next), closes: false }, "body end 0 "],
    [
      "a length",
      { framing: "length", length: 5, bytes: latin1(`hello${next}`), closes: false },
      `body end 5 ${hex("hello")}`,
    ],
    [
      "a length that is not reached",
      { framing: "length", length: 5, bytes: latin1("hell"), closes: false },
      `body wait 4 ${hex("hell")}`,
    ],
    [
      "a length cut short",
      { framing: "length", length: 5, bytes: latin1("hell"), closes: true },
      `body body-cut 4 ${hex("hell")}`,
    ],
    [
      "until close",
      { framing: "until-close", length: 0, bytes: latin1(next), closes: true },
      `body end ${next.length} ${hex(next)}`,
    ],
    [
      "until close, open",
      { framing: "until-close", length: 0, bytes: latin1("a"), closes: false },
      `body wait 1 ${hex("a")}`,
    ],
    [
      "chunks",
      { framing: "chunked", length: 0, bytes: latin1(`2\r\nab\r\n3;x\r\ncde\r\n0\r\n\r\n${next}`), closes: false },
      `body end 22 ${hex("abcde")}`,
    ],
    [
      "chunks without the last",
      { framing: "chunked", length: 0, bytes: latin1("2\r\nab\r\n"), closes: true },
      `body body-cut 7 ${hex("ab")}`,
    ],
    [
      "chunks without the empty line",
      { framing: "chunked", length: 0, bytes: latin1("0\r\n"), closes: true },
      "body body-cut 3 ",
    ],
    [
      "chunks with a trailer",
      { framing: "chunked", length: 0, bytes: latin1(`0\r\na: b\r\n\r\n${next}`), closes: true },
      "body end 11  0,1,3,1,0,0",
    ],
    [
      "chunks with a trailer that frames",
      { framing: "chunked", length: 0, bytes: latin1("0\r\nContent-Length: 9\r\n\r\n"), closes: false },
      "body trailer-field 3 ",
    ],
    [
      "data behind a chunk",
      { framing: "chunked", length: 0, bytes: latin1("2\r\nabc\r\n"), closes: false },
      `body chunk-end 5 ${hex("ab")}`,
    ],
  ];
  const random = seeded(1);
  const said = agreed(
    cases.map(([, body]) => body),
    random,
  );
  assert.deepEqual(
    cases.map(([what], index) => `${what}: ${said[index]}`),
    cases.map(([what, , answer]) => `${what}: ${answer}`),
  );
});

test("extensions are counted over all lines of a body", () => {
  const line = `1;${"x".repeat(252)}\r\nx\r\n`;
  const bodyOf = (count: number): Body => ({
    framing: "chunked",
    length: 0,
    bytes: latin1(`${line.repeat(count)}0\r\n\r\n`),
    closes: false,
  });
  const said = agreed([bodyOf(64), bodyOf(65)], seeded(2));
  assert.match(said[0] ?? "", /^body end /);
  assert.match(said[1] ?? "", /^body extensions-too-large /);
});

test("C++ and grammar say the same of random bodies in random pieces; llhttp ends them at the same byte", () => {
  console.log(`again: ORLOP_HTTP1_SEED=${SEED} node --test test/http/bodies.test.ts`);
  const random = seeded(SEED);
  const outcomes = new Map<string, number>();
  let compared = 0;
  for (let done = 0; done < COUNT; done += BATCH) {
    const bodies = Array.from({ length: BATCH }, () => randomBody(random));
    for (const [index, line] of agreed(bodies, random).entries()) {
      const [, word = "", used = "0", payload = ""] = line.split(" ");
      outcomes.set(word, (outcomes.get(word) ?? 0) + 1);
      const body = bodies[index];
      if (word !== "end" || body === undefined || body.framing === "until-close") continue;
      const message = body.bytes.subarray(0, Number(used));
      const theirs = bodyByLlhttp(body.framing, body.length, message);
      if (theirs === undefined) continue;
      assert.deepEqual(theirs, { payload, whole: true }, line);
      const cut = message.length === 0 ? undefined : bodyByLlhttp(body.framing, body.length, message.subarray(0, -1));
      assert.ok(cut?.whole !== true, `llhttp ends it before: ${line}`);
      compared++;
    }
  }
  console.log([...outcomes].map(([outcome, count]) => `${outcome} ${count}`).join(", "));
  const rare = bodyWords.filter((word) => (outcomes.get(word) ?? 0) < LEAST);
  assert.deepEqual(rare, [], "each end is reached");
  assert.ok(compared >= 0.3 * COUNT, "three of ten are compared with llhttp");
});
