// What an expected pod's application makes of being refused, or of its SYN being dropped, until its capture (root, Python): how long until its first call
// succeeds, how many first calls fail for good, and how many go around the mesh.
//   node test/kernel/pending-starts.ts [refused|dropped] [starts] [capture within ms]
import { setTimeout as sleep } from "node:timers/promises";
import { PendingNode, type PlannedPod } from "./pending-node.ts";

const [mode = "refused", starts = "100", within = "200"] = process.argv.slice(2);
/** Applications that try again wait so long between two calls. */
const AGAIN_MS = 50;
const AT_ONCE = 4;
const node = new PendingNode(Number(starts));

const times: number[] = [];
const reactions: number[] = [];
const first: Record<string, number> = {};

async function begin(pod: PlannedPod): Promise<void> {
  await node.guard(pod);
  const madeMs = performance.now();
  node.makeCgroup(pod);
  await node.until("the hooks", () => node.isPending(pod));
  reactions.push(performance.now() - madeMs);
  if (mode === "dropped") node.dropInstead(pod);
  const reporting = node.app(pod, AGAIN_MS);
  await sleep(Math.random() * Number(within));
  // A dropped SYN that is sent again may find its destination before the capture.
  let hasEnded = false;
  const captured = node.capture(pod, () => hasEnded);
  const report = await reporting;
  hasEnded = true;
  await captured;
  times.push(report.ms);
  first[report.first] = (first[report.first] ?? 0) + 1;
  await node.release(pod);
}

await node.start();
try {
  const waiting = [...node.pods];
  const worker = async (): Promise<void> => {
    for (let pod = waiting.shift(); pod !== undefined; pod = waiting.shift()) await begin(pod);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  const around = [...(await node.heard()).values()].filter((packets) => packets > 0).length;
  const rank = (values: number[], part: number): string =>
    `${(values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * part))] ?? Number.NaN).toFixed(0)} ms`;
  console.log(`${mode}, ${starts} starts, capture within ${within} ms of the first instruction: first calls`, first);
  console.log(`  until a call succeeds: p50 ${rank(times, 0.5)}, p99 ${rank(times, 0.99)}; around the mesh: ${around}`);
  console.log(`  from the cgroup to its hooks: p50 ${rank(reactions, 0.5)}, p99 ${rank(reactions, 0.99)}`);
} finally {
  await node.stop();
}
