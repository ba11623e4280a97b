// handover.ts in a process of its own, as `orlop run` starts it: the pipe survives the start, and its end is noticed.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, type TestContext, test } from "node:test";
import { handoverEnv, STOPS, takeHandover } from "./handover.ts";

const module = new URL("handover.ts", import.meta.url).href;

function startAgent(t: TestContext) {
  const script = `
    import { takeHandover } from ${JSON.stringify(module)};
    const handover = takeHandover();
    handover.onAlone((stops) => { process.stdout.write("alone " + stops + "\\n"); clearInterval(timer); });
    const timer = setInterval(() => {}, 1000);
    handover.announce();
    handover.announce();`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit", "pipe"],
    env: { ...process.env, ...handoverEnv },
  });
  t.after(() => child.kill("SIGKILL"));
  const pipe = child.stdio[3] ?? assert.fail("no pipe");
  let said = "";
  child.stdout?.on("data", (bytes) => {
    said += bytes;
  });
  const asked = once(pipe, "data").then(([bytes]) => String(bytes));
  return { child, pipe, asked, said: () => said, end: once(child, "close") };
}

describe("the pipe to `orlop run`", () => {
  test("the agent asks once; that `orlop run` stops is not the same as its death", async (t) => {
    for (const [end, expected] of [
      [STOPS, "alone true\n"],
      ["", "alone false\n"],
    ] as const) {
      const { pipe, asked, said, end: ended } = startAgent(t);
      assert.equal(await asked, "relief\n");
      if (end === "") pipe.destroy();
      else if ("end" in pipe) pipe.end(end);
      await ended;
      assert.equal(said(), expected);
    }
  });

  test("without the variable, or without a pipe there, nobody is asked", () => {
    assert.equal(takeHandover({}), null);
    assert.equal(takeHandover({ ORLOP_RELIEF: "7" }), null);
  });
});
