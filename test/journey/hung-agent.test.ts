// An agent hangs, another takes the node, and the first wakes up: what it may have written meanwhile is mended.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";
import { call } from "../../demo/app/roles.ts";
import { demoNodes, initialState, meshText } from "../../demo/mesh/mesh-file.ts";
import { until } from "../../demo/mesh/mesh-run.ts";
import type { Node } from "../box/cluster.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";

const DEADLINE_MS = 60_000;
/** ORLOP_IN_REFUSE and ORLOP_IN_PASS of bpf/orlop_abi.h, as the map's bytes. */
const [REFUSE, PASS] = ["01000000", "02000000"];

let journey: Journey;
before(async () => {
  journey = await startJourney({ nodes: demoNodes }, (cluster) => meshText(cluster, initialState));
});
after(() => journey?.close());

const holderOf = (node: Node): number => Number(readFileSync(path.join(node.runDir, "agent.pid"), "utf8"));

async function bpftool(node: Node, ...args: readonly string[]): Promise<string> {
  const { status, stdout, stderr } = await node.run(["/usr/sbin/bpftool", "-j", "map", ...args]);
  assert.equal(status, 0, stderr);
  return stdout;
}

/** Writes the verdict PASS where the kernel has REFUSE, as an agent might that read the mesh before a pod became STRICT. */
async function passPlaintext(node: Node): Promise<void> {
  const pinned = (await node.run(["find", node.bpffs, "-name", "in_by_port"])).stdout.trim();
  const bytes = (words: readonly string[]): string => words.map((word) => word.slice(2)).join("");
  type Entry = { readonly key: readonly string[]; readonly value: readonly string[] };
  const entries = JSON.parse(await bpftool(node, "dump", "pinned", pinned)) as readonly Entry[];
  const refused = entries.filter(({ value }) => bytes(value) === REFUSE);
  assert.ok(refused.length > 0, "the node has a STRICT pod");
  const hex = (text: string): string[] => text.match(/../g) ?? [];
  for (const { key } of refused) {
    await bpftool(node, "update", "pinned", pinned, "key", "hex", ...hex(bytes(key)), "value", "hex", ...hex(PASS));
  }
}

test("what an agent wrote after it had lost the node, the agent that holds it mends", async () => {
  const { cluster } = journey;
  const node = cluster.node("node-b");
  const vault = { host: cluster.pod("vault").ip4, port: 8080 };
  const plaintext = async (): Promise<boolean> => (await call(cluster.outside, vault)).reply !== undefined;
  assert.equal(await plaintext(), false);
  const old = holderOf(node);
  process.kill(old, "SIGSTOP");
  const next = node.orlop(["agent", "-c", node.configFile]);
  try {
    // The ports of readiness and admin are still the old agent's, which does not answer.
    await until("the next agent", DEADLINE_MS, () => (holderOf(node) === next.pid ? true : undefined));
    await until("an answer by the next agent", DEADLINE_MS, async () =>
      (await call(cluster.pod("web"), vault)).reply === undefined ? undefined : true,
    );
    assert.equal(await plaintext(), false);
    await passPlaintext(node);
    assert.equal(await plaintext(), true, "nobody knows yet that the old agent wrote");
  } finally {
    process.kill(old, "SIGCONT");
  }
  await until("the old agent has stopped, and plaintext is refused", DEADLINE_MS, async () =>
    (await plaintext()) ? undefined : true,
  );
  // `orlop run` starts another agent when the old one ends. That agent would read the tables, too.
  assert.equal(holderOf(node), next.pid);
});
