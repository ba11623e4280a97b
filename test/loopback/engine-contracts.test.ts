// tests · the contracts between the engine's parts, in native programs with AddressSanitizer and UBSan (test/fuzz/native/contracts):
// a relay between any two ends of bytes, the HTTP/2 session under a handler that is not HBONE, the shares of pods, deadlines, and the record layer.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomInt } from "node:crypto";
import { availableParallelism } from "node:os";
import { before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const root = fileURLToPath(new URL("../..", import.meta.url));

/** Of the compiler, which has all to do on a clean clone. In milliseconds. */
const BUILD_MS = 900_000;

before(
  async () => {
    await run("make", ["-s", "-j", `${availableParallelism()}`, "-C", `${root}/test/fuzz`, "contracts", "threads"]);
  },
  { timeout: BUILD_MS },
);

/** What the program prints. Its own message says what it expected, and the seed. */
async function says(name: string, rounds: number): Promise<string> {
  const seed = randomInt(1, 2 ** 31);
  console.log(`again: build/fuzz/${name} ${seed} ${rounds}`);
  const { stdout } = await run(`${root}/build/fuzz/${name}`, [`${seed}`, `${rounds}`]);
  return stdout;
}

test("one relay carries bytes, ends and resets between memory, sockets and streams of either side", async () => {
  assert.equal(await says("relays", 3), "96 relays\n");
});

test("what our record layer seals arrives once and in order, however little the socket takes; no nonce comes twice", async () => {
  assert.equal(await says("record-writes", 20), "20 rounds\n");
});

test("our record layer opens and seals the application data of RFC 8448, with AES-128, and of a trace with AES-256", async () => {
  assert.equal(await says("record-traces", 1), "as in both traces\n");
});

test("our record layer refuses a tunnel without room for its secrets, and updates keys as RFC 8446 has it", async () => {
  assert.equal(await says("record-limits", 1), "within the limits\n");
});

test("tunnels of our record layer in several threads race for nothing, by ThreadSanitizer, with AES-128 and AES-256", async () => {
  const { stdout } = await run(`${root}/build/fuzz/record-threads`, ["4", "20"]);
  assert.equal(stdout, "80 tunnels in 4 threads\n");
});

test("our record layer gives every misuse the alert of docs/reference/records.md, in either suite and role", async () => {
  assert.match(await says("record-refusals", 1), /^\d+ cases, judged as the page has them\n$/);
});

test("a pod has its turns, open requests and memory, however much another asks for", async () => {
  assert.equal(await says("pod-shares", 20), "20 rounds\n");
});

test("a deadline that is put off and called off fires once, at its last time, within a tick", async () => {
  assert.equal(await says("lazy-timers", 300), "300 rounds\n");
});

test("an HTTP/2 session serves requests that are no CONNECT, refuses, resets and holds its limits; budgets are of peers", async () => {
  assert.equal(await says("second-handler", 10), "10 rounds\n");
});
