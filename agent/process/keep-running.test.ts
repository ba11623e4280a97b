// keep-running.ts with real processes: deaths, handovers, wrong files, and the order to stop.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { describe, test } from "node:test";
import { until } from "../../test/support/until.ts";
import { BAD_FILE_STATUS, keepRunning } from "./keep-running.ts";

/** Announces a handover and goes on until it is asked to end. */
const handsOver = "echo relief >&3; exec sleep 60";
const runsOn = "exec sleep 60";

/** Runs the scripts one after the other, the last of them again and again. */
function setUp(scripts: readonly string[]) {
  const stop = new AbortController();
  const children: ChildProcess[] = [];
  const said: string[] = [];
  const start = (): ChildProcess => {
    const script = scripts[Math.min(children.length, scripts.length - 1)] ?? "";
    const child = spawn("/bin/sh", ["-c", script], { stdio: ["ignore", "inherit", "inherit", "pipe"] });
    children.push(child);
    return child;
  };
  const say = (message: string): void => void said.push(message);
  const status = keepRunning({ name: "agent", start }, { signal: stop.signal, say });
  const started = (count: number): Promise<void> =>
    until(() => children.length >= count, { what: `${count} processes were started`, seen: () => said });
  return { stop, children, said, status, started };
}

const runs = (child: ChildProcess | undefined): boolean => child?.exitCode === null && child.signalCode === null;

describe("keeping a program running", () => {
  test("it starts again whatever it died of, and ends with the order to stop", async () => {
    const { stop, children, said, status, started } = setUp(["exit 3", "kill -9 $$", runsOn]);
    await started(3);
    assert.deepEqual(said, [
      "the agent ended (status 3); starting it again",
      "the agent ended (status 128); starting it again",
    ]);
    assert.equal(runs(children[2]), true);
    stop.abort();
    assert.equal(await status, 128);
    assert.equal(children.length, 3);
  });

  test("a wrong file does not end it: it is started again until the file is right", async () => {
    const wrong = `exit ${BAD_FILE_STATUS}`;
    const { stop, children, said, status, started } = setUp([wrong, wrong, runsOn]);
    await started(3);
    const line =
      "the agent ended (status 65); starting it again: its configuration is wrong, see above; what is captured stays captured";
    assert.deepEqual(said, [line, line]);
    assert.equal(runs(children[2]), true);
    stop.abort();
    await status;
  });

  test("a successor whose file is wrong ends no predecessor", async () => {
    const { stop, children, status, started } = setUp([handsOver, `exit ${BAD_FILE_STATUS}`, runsOn]);
    await started(3);
    assert.deepEqual(children.map(runs), [true, false, true]);
    stop.abort();
    await status;
    assert.deepEqual(children.map(runs), [false, false, false]);
  });

  test("a successor starts while its predecessor runs on, and the order to stop reaches both", async () => {
    const { stop, children, said, status, started } = setUp([handsOver, runsOn]);
    await started(2);
    assert.deepEqual(said, ["starting the next agent, to which this one hands over"]);
    assert.deepEqual(children.map(runs), [true, true]);
    stop.abort();
    await status;
    assert.deepEqual(children.map(runs), [false, false]);
  });

  test("the order to stop is said on the pipe as well: a predecessor then waits for no successor", async () => {
    const reads = "trap '' TERM; echo relief >&3; read line <&3; [ \"$line\" = stop ] && exit 7; exec sleep 60";
    const { stop, children, status, started } = setUp([reads, runsOn]);
    await started(2);
    stop.abort();
    await status;
    assert.equal(children[0]?.exitCode, 7);
  });

  test("of three predecessors the oldest is killed", async () => {
    const { stop, children, status, started } = setUp([handsOver, handsOver, handsOver, runsOn]);
    await started(4);
    if (runs(children[0])) await once(children[0] ?? assert.fail(), "exit");
    assert.equal(children[0]?.signalCode, "SIGKILL");
    assert.deepEqual(children.slice(1).map(runs), [true, true, true]);
    stop.abort();
    await status;
  });

  test("the order to stop during the pause before a new start starts nothing", async () => {
    const { stop, children, said, status } = setUp(["exit 1"]);
    await until(() => said.length >= 4, { seen: () => said });
    stop.abort();
    const started = children.length;
    await status;
    assert.equal(children.length, started);
  });

  test("a program that cannot be started is an error", async () => {
    const start = (): ChildProcess => spawn("/nonexistent", { stdio: ["ignore", "ignore", "ignore", "pipe"] });
    const signal = new AbortController().signal;
    await assert.rejects(keepRunning({ name: "agent", start }, { signal, say: () => {} }), /ENOENT/);
  });
});
