// HTTP/2 attacks at :15008 by a peer whose certificate is in order: its connection ends, what it held is freed, and a
// bystander goes on (docs/reference/failures.md, A1 to A8).
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { startPing } from "../../demo/app/roles.ts";
import { demoNodes, identityOf, initialState, meshText } from "../../demo/mesh/mesh-file.ts";
import { pidOf, until } from "../../demo/mesh/mesh-run.ts";
import { tail } from "../box/process.ts";
import type { AttackRequest, AttackResult } from "../support/h2-attacker.ts";
import { floods, harmless, malformed, passedOver } from "../support/h2-attacks.ts";
import { uri } from "../support/hostile-certificates.ts";
import { type Journey, keyPem, startJourney } from "../support/journey-box.ts";

const program = fileURLToPath(new URL("../support/h2-attacker.ts", import.meta.url));
let journey: Journey;
before(async () => {
  journey = await startJourney({ nodes: demoNodes }, (cluster) => meshText(cluster, initialState));
});
after(() => journey?.close());

const agentPid = (): number => {
  const pid = pidOf(journey.cluster.node("node-b"), "agent");
  assert.ok(pid !== undefined, "no agent on node-b");
  return pid;
};
/** Of the process, as the kernel counts it (proc_pid_statm(5)). */
function residentBytes(pid: number): number {
  const pages = Number(readFileSync(`/proc/${pid}/statm`, "utf8").split(" ")[1]);
  return pages * 4096;
}
/** V8's heap alone breathes by tens of MiB. What the floods send is hundreds. */
const MOST_GROWTH_BYTES = 64 << 20;
/** Sockets of the agent in vault's namespace: tunnels and dials. (Its descriptors also hold a pool that fills as it likes.) */
async function socketsOf(pid: number): Promise<number> {
  const { stdout } = await journey.cluster.pod("vault").run(["ss", "-Htnp"]);
  return stdout.split("\n").filter((line) => line.includes(`pid=${pid},`)).length;
}

async function attack(
  attacks: readonly { readonly name: string }[],
  parallel: number,
  deadlineMs: number,
): Promise<AttackResult[]> {
  const { cluster, trusted } = journey;
  const made = trusted.named(uri(identityOf("web")));
  const vault = cluster.pod("vault");
  const request: AttackRequest = {
    host: vault.ip4,
    port: 15_008,
    cert: made.pem,
    key: keyPem(made.pkcs8),
    authority: `${vault.ip4}:8080`,
    attacks: attacks.map(({ name }) => name),
    parallel,
    deadlineMs,
  };
  const running = cluster.outside.start([process.execPath, program]);
  running.write(JSON.stringify(request));
  running.endInput();
  const done = await running.wait(attacks.length * deadlineMs + 30_000);
  assert.equal(done.status, 0, tail(done.stderr));
  return JSON.parse(done.stdout) as AttackResult[];
}

/** Runs `during` beside a polite connection; that one must live, the agent stay the same, and its sockets go. */
async function withBystander(tell: (text: string) => void, during: () => Promise<void>): Promise<void> {
  const { cluster } = journey;
  const pid = agentPid();
  const pinger = await startPing(cluster.pod("web"), { host: cluster.pod("vault").ip4, port: 8080 }, 10);
  const before = await socketsOf(pid);
  assert.ok(before >= 2, `the bystander's tunnel and dial, saw ${before}`);
  await during();
  await until("what the attacks held is freed", 60_000, async () =>
    (await socketsOf(pid)) <= before ? true : undefined,
  );
  const { replies, longestGapMs } = await pinger.finish();
  tell(`bystander: ${replies} answers, longest gap ${longestGapMs} ms`);
  assert.equal(agentPid(), pid, "the agent is another one now");
}

describe("HTTP/2 at 15008", () => {
  test("what is odd but allowed costs nothing", (t) =>
    withBystander(
      (text) => t.diagnostic(text),
      async () => {
        for (const result of await attack(harmless, 1, 700)) assert.equal(result.ended, false, JSON.stringify(result));
      },
    ));
  test("each malformed frame ends its connection", (t) =>
    withBystander(
      (text) => t.diagnostic(text),
      async () => {
        for (const result of await attack(malformed, 3, 30_000))
          assert.equal(result.ended, true, JSON.stringify(result));
      },
    ));
  test("what may be passed over disturbs nobody", (t) =>
    withBystander(
      (text) => t.diagnostic(text),
      async () => void (await attack(passedOver, 3, 700)),
    ));
  // Slowed for 10 s, and where a stream is open served for 30 s more; some end at once. All together, so that it takes that once.
  test("each flood ends its connections when it goes on, and the agent's memory is as it was", (t) =>
    withBystander(
      (text) => t.diagnostic(text),
      async () => {
        const before = residentBytes(agentPid());
        const results = await Promise.all(floods.map((flood) => attack([flood], 2, 60_000)));
        for (const [result] of results) {
          t.diagnostic(JSON.stringify(result));
          assert.equal(result?.ended, true, JSON.stringify(result));
        }
        // What was freed goes back to the kernel when V8 has had the time to collect it.
        await until(`the agent has grown by ${MOST_GROWTH_BYTES} bytes at most`, 60_000, () =>
          residentBytes(agentPid()) - before <= MOST_GROWTH_BYTES ? true : undefined,
        );
      },
    ));
});
