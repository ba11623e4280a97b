// tests · what the grammar and Node's own parser (llhttp) say of inputs of the fuzzers, beside what the engine's C++ says.
import { readFileSync } from "node:fs";
import type { Random } from "../fuzz/mutate.ts";
import { type Body, bodyQuestion, readBody } from "./body-grammar.ts";
import { readHead } from "./grammar.ts";
import { framings, type HeadKind, lineOf } from "./head.ts";
import { bodyByLlhttp, requestByLlhttp, whyRefusedByLlhttp } from "./llhttp.ts";
import { type Message, messageAt } from "./messages.ts";
import { randomPieces } from "./random-bodies.ts";
import { askReader } from "./read-native.ts";
import { heardOf, talkQuestion } from "./talks.ts";
import { unchanged, writeHead } from "./write-grammar.ts";

const shown = (bytes: Buffer): string => JSON.stringify(bytes.toString("latin1").slice(0, 2_000));

export type Sample = { readonly kind: HeadKind; readonly bytes: Buffer };

/** Sentences, each about a head of which C++ and grammar differ, or that llhttp alone refuses. */
export function headOpinions(samples: readonly Sample[]): string[] {
  return askReader(samples).flatMap((said, index) => {
    const { kind, bytes } = samples[index] ?? { kind: "request", bytes: Buffer.alloc(0) };
    const ours = lineOf(readHead(kind, bytes));
    if (said !== ours) return [`C++ says ${said}, the grammar ${ours}: ${kind} ${shown(bytes)}`];
    const why = said.startsWith("head ") ? whyRefusedByLlhttp(kind, bytes) : undefined;
    return why === undefined ? [] : [`llhttp says ${why}: ${kind} ${shown(bytes)}`];
  });
}

/** The same of bodies; each comes in other pieces. */
export function bodyOpinions(bodies: readonly Body[], random: Random): string[] {
  const questions = bodies.map((body) => bodyQuestion(body, randomPieces(body.bytes.length, random)));
  return askReader(questions.map((bytes) => ({ kind: "body", bytes }))).flatMap((said, index) => {
    const body = bodies[index];
    if (body === undefined) return [];
    const ours = readBody(body);
    if (said !== ours) return [`C++ says ${said}, the grammar ${ours}: ${body.framing} ${shown(body.bytes)}`];
    const [, word, used = "0", payload] = said.split(" ");
    if (word !== "end" || body.framing === "until-close") return [];
    const theirs = bodyByLlhttp(body.framing, body.length, body.bytes.subarray(0, Number(used)));
    const agrees = theirs === undefined || (theirs.whole && theirs.payload === payload);
    return agrees ? [] : [`llhttp says ${JSON.stringify(theirs)} of ${said}: ${shown(body.bytes)}`];
  });
}

/** What the server hears of a message, as test/fuzz/native/http1_talk.cc writes it. */
function heardAs(message: Message): string {
  const { head, text, body } = message;
  const written = writeHead(head, text, unchanged(head)).replace("written ", "");
  const trailers = body.trailers.map((name) => `+${name}`).join("");
  return `${Buffer.from(written, "hex").toString("latin1")}${body.payload.toString("latin1")}${trailers}|`;
}

/** The messages that reach the server, and what it hears of them; `whole`: none behind them begins and is cut or refused. */
function callerOf(bytes: Buffer): {
  readonly heard: string;
  readonly messages: readonly Buffer[];
  readonly whole: boolean;
} {
  const messages: Buffer[] = [];
  let heard = "";
  for (let at = 0; ; ) {
    const message = messageAt(bytes, at);
    if (typeof message === "string") return { heard, messages, whole: true };
    if (message.body.word !== "end") return { heard, messages, whole: false };
    messages.push(bytes.subarray(at, message.next));
    heard += heardAs(message);
    if (!message.head.persistent) return { heard, messages, whole: true };
    at = message.next;
  }
}

/** More than an input of a fuzzer has requests: 4,096 bytes of at least 23 each. */
const MOST_REQUESTS = 200;
const answer = { text: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ends: false };

/**
 * The same of all that a caller says on a connection: the server hears the messages that the grammar finds, and llhttp ends each of
 * them at its last byte, with the same payload.
 */
export function talkOpinions(callers: readonly Buffer[], random: Random): string[] {
  const talks = callers.map((bytes) => {
    const client = bytes.toString("latin1");
    const asked = {
      verdicts: "1".repeat(MOST_REQUESTS),
      client,
      clientEnds: false,
      answers: Array(MOST_REQUESTS).fill(answer),
    };
    return talkQuestion(asked, random(2 ** 31));
  });
  return askReader(talks.map((bytes) => ({ kind: "talk", bytes }))).flatMap((line, index) => {
    const bytes = callers[index] ?? Buffer.alloc(0);
    const { heard, messages, whole } = callerOf(bytes);
    const { byServer } = heardOf(line);
    const same = whole ? byServer === heard : byServer.startsWith(heard);
    if (!same) return [`the server hears ${JSON.stringify(byServer)}, not ${JSON.stringify(heard)}: ${shown(bytes)}`];
    return messages.flatMap((message) => {
      const found = messageAt(message, 0);
      const theirs = requestByLlhttp(message);
      if (typeof found === "string" || theirs === undefined) return [];
      const agrees = "whole" in theirs && theirs.whole && theirs.payload === found.body.payload.toString("hex");
      return agrees ? [] : [`llhttp says ${JSON.stringify(theirs)}: ${shown(message)}`];
    });
  });
}

/** By the first byte of a fuzzer's input (test/fuzz/native/http1_head.cc, http1_body.cc). */
const kinds = ["request", "response to HEAD", "response"] as const;
const headOf = (input: Buffer): Sample => ({ kind: kinds[(input[0] ?? 0) % 3] ?? "request", bytes: input.subarray(1) });
const bodyOf = (input: Buffer): Body => ({
  ...{ framing: framings[(input[0] ?? 0) % 4] ?? "none", length: input[2] ?? 0 },
  ...{ bytes: input.subarray(3), closes: (input[1] ?? 0) % 2 === 0 },
});

/** Of the inputs of a fuzzer of that name, which may be files; undefined: there are no other opinions on them. */
export function opinionsOn(target: string, files: readonly string[], random: Random): readonly string[] | undefined {
  const inputs = (): readonly Buffer[] => files.map((file) => readFileSync(file));
  if (target === "http1-head") return headOpinions(inputs().map(headOf));
  if (target === "http1-body") return bodyOpinions(inputs().map(bodyOf), random);
  // test/fuzz/native/http1_exchange.cc: three bytes, then what the caller says.
  if (target === "http1-exchange")
    return talkOpinions(
      inputs().map((input) => input.subarray(3)),
      random,
    );
  return undefined;
}
