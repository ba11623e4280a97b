// 20,000 pods: the agent reads them, keeps them, reads them again after a restart, and follows a change. Times are printed; memory is held.
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { memoryEnvironment } from "../../process/memory-environment.ts";
import { agentFlags } from "../../process/run.ts";
import type { Measured } from "./many-pods-agent.fake.ts";
import { manyPodsAgent } from "./many-pods-program.fake.ts";

const PODS = 20_000;
/** The most resident memory of an agent's main thread and one data thread until all pods are in force. */
const MOST_BYTES = 200e6;
const FIRST_READ_MS = 5_000;
const serverProgram = fileURLToPath(new URL("many-pods.fake.ts", import.meta.url));

function start(
  t: TestContext,
  program: string,
  argv: readonly string[],
  execArgv: readonly string[] = [],
): ChildProcess {
  const env = { ...process.env, ...memoryEnvironment };
  const child = fork(program, [...argv], { execArgv: [...execArgv], env });
  t.after(() => child.kill("SIGKILL"));
  return child;
}

test("20,000 pods are read, kept, read again after a restart, and followed", { timeout: 600_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "orlop-many-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const [key, cert, lastGood] = ["key", "cert", "last-good.jsonl"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const subject = ["-subj", "/CN=api", "-addext", "subjectAltName=IP:127.0.0.1"];
  const argv = [
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-days",
    "1",
    ...subject,
  ];
  execFileSync("openssl", [...argv, "-keyout", key, "-out", cert], { stdio: "ignore" });
  const server = start(t, serverProgram, [String(PODS), "stream", key, cert]);
  const [port] = (await once(server, "message")) as [number];
  const agentProgram = manyPodsAgent();
  const live = async (): Promise<{ readonly agent: ChildProcess; readonly first: Measured }> => {
    const agent = start(t, agentProgram, [String(port), cert, lastGood], agentFlags);
    const [first] = (await once(agent, "message")) as [Measured];
    return { agent, first };
  };
  const say = (what: string, { afterMs, peakBytes, longestTurnMs }: Measured): void => {
    const [ms, mb, turnMs] = [afterMs, peakBytes / 1e6, longestTurnMs].map(Math.round);
    t.diagnostic(
      `${what}: ${ms} ms (${FIRST_READ_MS} wanted), ${mb} MB (${MOST_BYTES / 1e6}), longest turn ${turnMs} ms`,
    );
  };

  const { agent, first } = await live();
  say("first read", first);
  assert.deepEqual([first.workloads, first.fromLastGood], [PODS, false]);
  // Of the 100 MB that the server sends, next to nothing may stay.
  assert.ok(first.peakBytes < MOST_BYTES, `${first.peakBytes} bytes`);
  assert.equal(statSync(lastGood).mode & 0o777, 0o600);
  server.send(17);
  const [changed] = (await once(agent, "message")) as [Measured];
  assert.equal(changed.workloads, PODS);
  agent.disconnect();
  await once(agent, "exit");

  const again = await live();
  say("after a restart", again.first);
  assert.deepEqual([again.first.workloads, again.first.fromLastGood], [PODS, true]);
  assert.ok(again.first.peakBytes < MOST_BYTES, `${again.first.peakBytes} bytes`);
  again.agent.disconnect();
  await once(again.agent, "exit");
  server.disconnect();
  await once(server, "exit");
});
