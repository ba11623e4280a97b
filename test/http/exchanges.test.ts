// tests · exchanges of HTTP/1 between a client and a server whose bytes come in random pieces: what each hears of the other, and
// when the connection ends. ORLOP_HTTP1_SEED draws the same talks again.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { before, test } from "node:test";
import { seeded } from "../fuzz/mutate.ts";
import { askReader, buildReader } from "./read-native.ts";
import { type Answer, type Heard, heardOf, randomTalk, type Talk, talkQuestion } from "./talks.ts";

const COUNT = 12_000;
const SEED = Number(process.env.ORLOP_HTTP1_SEED ?? randomInt(1, 2 ** 31));
const BATCH = 4_000;

before(buildReader);

const hear = (talks: readonly Talk[], seed: number): Heard[] =>
  askReader(talks.map((talk, index) => ({ kind: "talk", bytes: talkQuestion(talk, seed + index) }))).map(heardOf);

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const answered = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok|";
const websocket = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const post = (framing: string, body = ""): string => `POST / HTTP/1.1\r\nHost: a\r\n${framing}\r\n\r\n${body}`;
const says = (text: string, ends = false): Answer => ({ text, ends });

type Expected = Partial<Heard>;
const talks: readonly (readonly [
  what: string,
  client: string,
  answers: readonly Answer[],
  expected: Expected,
  more?: Partial<Talk>,
])[] = [
  ["two requests in order", get + get, [says(ok), says(ok)], { end: "open", byClient: answered + answered }],
  [
    "a refused request between others",
    get + get + get,
    [says(ok), says(ok)],
    { byClient: `${answered}refused|${answered}` },
    { verdicts: "101" },
  ],
  [
    "a refused body is read and dropped",
    post("Content-Length: 5", "hello") + get,
    [says(ok)],
    { end: "open", byClient: `refused|${answered}` },
    { verdicts: "01" },
  ],
  [
    "a refused body that may not come",
    post("Content-Length: 5\r\nExpect: 100-continue") + get,
    [],
    { end: "closes", byClient: "refused, closes|", byServer: "" },
    { verdicts: "0" },
  ],
  [
    "a refused body that is too long",
    post("Content-Length: 65537"),
    [],
    { end: "closes", byClient: "refused, closes|" },
    { verdicts: "0" },
  ],
  [
    "a refused body of unknown length",
    post("Transfer-Encoding: chunked", "0\r\n\r\n") + get,
    [],
    { end: "closes", byClient: "refused, closes|", byServer: "" },
    { verdicts: "0" },
  ],
  [
    "what smuggles",
    post("Content-Length: 5\r\nTransfer-Encoding: chunked", get),
    [],
    { end: "closes", byClient: "400 length-and-encoding|", byServer: "" },
  ],
  [
    "a wrong chunk",
    post("Transfer-Encoding: chunked", `g\r\n${get}`),
    [],
    { end: "closes", byClient: "400 chunk-line|" },
  ],
  ["a request cut short", post("Content-Length: 5", "hell"), [], { end: "abort" }, { clientEnds: true }],
  ["a head cut short", "GET / HT", [], { end: "closes", byClient: "400 head-end|" }, { clientEnds: true }],
  ["an empty line, and no more", `${get}\r\n`, [says(ok)], { end: "finish", byClient: answered }, { clientEnds: true }],
  [
    "a client that has ended its side hears the answer",
    get,
    [says(ok)],
    { end: "finish", byClient: answered },
    { clientEnds: true },
  ],
  [
    "a response that is refused",
    get,
    [says("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")],
    { end: "closes", byClient: "502 length-twice|" },
  ],
  ["a response cut short", get, [says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no", true)], { end: "abort" }],
  ["no response", get, [says("", true)], { end: "closes", byClient: "502 head-end|" }],
  ["no response to a later request", get + get, [says(ok), says("", true)], { end: "finish", byClient: answered }],
  ["more than a response", get, [says(ok + ok)], { end: "finish", byClient: answered }],
  ["a server that ends an idle connection", get, [says(ok, true)], { end: "finish", byClient: answered }],
  [
    "a switch that nobody asked for",
    get,
    [says("HTTP/1.1 101 A\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")],
    { end: "closes", byClient: "502 upgrade|" },
  ],
  [
    "a switch to another protocol",
    websocket,
    [says("HTTP/1.1 101 A\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n")],
    { end: "closes", byClient: "502 upgrade|" },
  ],
  [
    "a websocket that the server does not take: what follows is judged",
    websocket + get,
    [says(ok)],
    { end: "open", byClient: `${answered}refused|` },
    { verdicts: "10" },
  ],
];

test("each talk is heard as it must be, in whatever pieces it comes", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const heard = hear(
      talks.map(([, client, answers, , more]) => ({ verdicts: "1111", client, clientEnds: false, answers, ...more })),
      seed * 1_000,
    );
    for (const [index, [what, , , expected]] of talks.entries()) {
      assert.deepEqual({ ...heard[index], ...expected }, heard[index], `${what}, seed ${seed}`);
    }
  }
});

test("random talks are heard as they were made up", () => {
  console.log(`again: ORLOP_HTTP1_SEED=${SEED} node --test test/http/exchanges.test.ts`);
  const random = seeded(SEED);
  const ends = new Map<string, number>();
  for (let done = 0; done < COUNT; done += BATCH) {
    const made = Array.from({ length: BATCH }, () => randomTalk(random));
    const heard = hear(
      made.map(({ talk }) => talk),
      random(2 ** 31),
    );
    for (const [index, { talk, heard: expected }] of made.entries()) {
      ends.set(expected.end, (ends.get(expected.end) ?? 0) + 1);
      assert.deepEqual(heard[index], expected, JSON.stringify(talk));
    }
  }
  console.log([...ends].map(([end, count]) => `${end} ${count}`).join(", "));
  for (const end of ["open", "closes", "finish"]) assert.ok((ends.get(end) ?? 0) > COUNT / 100, `some end so: ${end}`);
});
