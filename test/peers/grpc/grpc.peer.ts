// test peers · grpcio for Python judges routed calls: its client and its servers, with an engine between them that sends each call where
// the case says. What a call brings without an agent is what it brings here.
import assert from "node:assert/strict";
import { type ChildProcessByStdio, spawn } from "node:child_process";
import path from "node:path";
import { createInterface, type Interface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import { endedOf, serves, to, ways } from "../../loopback/origin-engine.ts";
import { CLOSED_PORT } from "../../loopback/support.ts";
import { peerCase } from "../support/cases.ts";
import { built } from "../support/projects.ts";
import { soak } from "../support/soak.ts";

const ROUNDS = soak(1, 50);
const python = path.join(built("authority"), "bin/python");
const program = fileURLToPath(new URL("./calls.py", import.meta.url));

type Program = { readonly child: ChildProcessByStdio<Writable, Readable, null>; readonly lines: Interface };
type Call = {
  readonly kind: "Echo" | "Count" | "Sum" | "Chat";
  readonly text?: string;
  readonly size?: number;
  readonly count?: number;
  readonly timeout?: number;
  readonly method?: string;
  readonly metadata?: Readonly<Record<string, string>>;
};
type CameOf = {
  readonly code: string;
  readonly answer?: unknown;
  readonly details?: string;
  readonly trailers: Readonly<Record<string, string>>;
};

const started: Program[] = [];
after(() => {
  for (const { child } of started) child.kill("SIGKILL");
});

function start(...words: readonly string[]): Program {
  // Without a cache beside the source: it is a checkout.
  const child = spawn(python, ["-B", program, ...words], { stdio: ["pipe", "pipe", "inherit"] });
  const made = { child, lines: createInterface({ input: child.stdout }) };
  started.push(made);
  return made;
}

async function nextLine<T>({ lines }: Program): Promise<T> {
  const { value, done } = await lines[Symbol.asyncIterator]().next();
  if (done) throw new Error("the program ended");
  return JSON.parse(value) as T;
}

async function ask<Asked extends Call | readonly Call[]>(
  client: Program,
  asked: Asked,
): Promise<Asked extends Call ? CameOf : readonly CameOf[]> {
  client.child.stdin.write(`${JSON.stringify(asked)}\n`);
  return nextLine(client);
}

const servers = [start("serve", "one"), start("serve", "two")];
const ports = await Promise.all(servers.map(async (server) => (await nextLine<{ port: number }>(server)).port));
const nobody = CLOSED_PORT;

const calls: readonly Call[] = [
  { kind: "Echo", text: "hello" },
  { kind: "Echo", size: 3_000_000 },
  { kind: "Echo", text: "abort" },
  { kind: "Echo", text: "x", method: "Unknown" },
  { kind: "Count", size: 2_000 },
  { kind: "Sum", count: 500, size: 1_000 },
  { kind: "Chat", count: 200, size: 10_000 },
  { kind: "Echo", text: "slow", timeout: 0.3 },
];

/** The words of a deadline are the client's own: they say whether its own clock or the server was first. */
const meant = (came: CameOf): CameOf => (came.code === "DEADLINE_EXCEEDED" ? { ...came, details: "" } : came);

for (const way of ways) {
  peerCase(
    "grpc",
    `${way}: calls of every kind bring what they bring without an agent, one by one and all at once`,
    async () => {
      using under = serves(way, [...ports, nobody], (event) =>
        to(event, { two: 2, nobody: 3 }[event.fields.first("x-to", 9)] ?? 1),
      );
      const direct = start("ask", `127.0.0.1:${ports[0]}`);
      const routed = start("ask", `127.0.0.1:${under.port}`);
      for (const call of calls)
        assert.deepEqual(meant(await ask(routed, call)), meant(await ask(direct, call)), JSON.stringify(call));
      for (let round = 0; round < ROUNDS; round++) {
        const many = Array.from({ length: 96 }, (_, index): Call => {
          const call = calls[index % 7] ?? assert.fail();
          return { ...call, metadata: { "x-to": index % 3 === 0 ? "two" : "one" } };
        });
        const heard = await ask(routed, many);
        const alone = await ask(direct, many);
        for (const [index, came] of heard.entries()) {
          const name = index % 3 === 0 ? "two" : "one";
          const { trailers, ...rest } = alone[index] ?? assert.fail();
          const there = "x-name" in trailers ? { ...trailers, "x-name": name } : trailers;
          assert.deepEqual(came, { ...rest, trailers: there }, JSON.stringify(many[index]));
        }
      }
      assert.ok(endedOf(under).length >= 104);
      assert.deepEqual(under.errors(), []);
    },
  );

  peerCase("grpc", `${way}: what is answered in a server's place has the code that gRPC has for it`, async () => {
    using under = serves(way, [...ports, nobody], (event) => {
      const { conn, generation, request } = event;
      const where = event.fields.first("x-to", 9);
      if (where === "denied")
        return { type: "reply", conn, generation, request, status: 403, body: "RBAC: access denied" };
      if (where === "limited") return { type: "reply", conn, generation, request, status: 429, body: "too many" };
      const ms = /^short ([0-9]+)$/.exec(where)?.[1];
      if (ms !== undefined) return to(event, 1, { timeoutMs: Number(ms) });
      const limits = { five: { timeoutMs: 60_000, tryTimeoutMs: 5_000 } }[where] ?? {};
      return to(event, where === "nobody" ? 3 : 1, limits);
    });
    const routed = start("ask", `127.0.0.1:${under.port}`);
    const codeOf = async (where: string, call: Call = { kind: "Echo", text: "hello" }): Promise<string> =>
      (await ask(routed, { ...call, metadata: { "x-to": where } })).code;
    assert.equal(await codeOf("denied"), "PERMISSION_DENIED");
    assert.equal(await codeOf("denied", { kind: "Chat", count: 3, size: 10 }), "PERMISSION_DENIED");
    assert.equal(await codeOf("limited"), "RESOURCE_EXHAUSTED");
    assert.equal(await codeOf("nobody"), "UNAVAILABLE");
    // The server has the same deadline. Its status and the agent's timer come in either order, or in one turn.
    for (let round = 0; round < ROUNDS; round++) {
      const slow = Array.from(
        { length: 60 },
        (_, nth): Call => ({ kind: "Echo", text: "slow", metadata: { "x-to": `short ${100 + ((nth * 37) % 400)}` } }),
      );
      for (const { code } of await ask(routed, slow)) assert.equal(code, "DEADLINE_EXCEEDED");
    }
    // A server of grpcio reads its own deadline there: what the route leaves of the caller's 20 s.
    const leftOf = async (where: string): Promise<number> =>
      Number((await ask(routed, { kind: "Echo", text: "left", metadata: { "x-to": where } })).answer);
    const [whole, shortened] = [await leftOf("one"), await leftOf("five")];
    // A client of grpcio rounds what it writes up.
    assert.ok(whole > 10 && whole <= 21 && shortened > 0 && shortened <= 5, `${whole} s, ${shortened} s`);
    // The channel goes on.
    assert.equal(await codeOf("one"), "OK");
    assert.deepEqual(under.errors(), []);
  });
}
