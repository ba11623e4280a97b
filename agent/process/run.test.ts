// run.ts as a process of its own, with a program in place of keeper and agent that writes down what happens to it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { until as waitUntil } from "../../test/support/until.ts";

const module = new URL("run.ts", import.meta.url).href;

/** `ends`: how each program ends; it runs until SIGTERM where nothing is said. */
function startRun(t: TestContext, ends: { readonly keeper?: string; readonly agent?: string } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "orlop-run-"));
  const events = join(folder, "events");
  const main = join(folder, "main.mjs");
  writeFileSync(
    main,
    `import { appendFileSync } from "node:fs";
     const [, , name, ...rest] = process.argv;
     const say = (what) => appendFileSync(${JSON.stringify(events)}, name + " " + what + "\\n");
     const timer = setInterval(() => {}, 1000);
     process.on("SIGTERM", () => { say("stops"); clearInterval(timer); });
     say("starts " + rest.join(" ") + " " + process.env.ORLOP_RELIEF);
     ({ keeper: () => { ${ends.keeper ?? ""} }, agent: () => { ${ends.agent ?? ""} } })[name]();`,
  );
  const options = JSON.stringify({ config: "orlop.yaml", main });
  const script = `import { run } from ${JSON.stringify(module)}; process.exitCode = await run(${options});`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "inherit", "pipe"],
  });
  t.after(() => {
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true });
  });
  const happened = (): string[] => (existsSync(events) ? readFileSync(events, "utf8").split("\n").filter(Boolean) : []);
  const until = async (event: RegExp, times = 1): Promise<void> => {
    const hasHappened = (): boolean => happened().filter((line) => event.test(line)).length >= times;
    await waitUntil(hasHappened, { what: `${times} × ${event}`, seen: happened });
  };
  const exit = once(child, "exit").then(([status]) => Number(status));
  return { child, happened, until, exit };
}

describe("orlop run", () => {
  test("starts keeper and agent with their file and the pipe's variable; stops the agent first", async (t) => {
    const { child, happened, until, exit } = startRun(t);
    await until(/ starts /, 2);
    assert.deepEqual(happened().toSorted(), [
      "agent starts -c orlop.yaml 3",
      "keeper starts -c orlop.yaml --remove-on-exit 3",
    ]);
    child.kill("SIGTERM");
    assert.equal(await exit, 0);
    assert.deepEqual(happened().slice(2), ["agent stops", "keeper stops"]);
  });

  test("an agent that dies starts again, and the keeper notices nothing", async (t) => {
    const { child, happened, until, exit } = startRun(t, { agent: "process.exit(1);" });
    await until(/^agent starts/, 3);
    await until(/^keeper starts/);
    child.kill("SIGTERM");
    assert.equal(await exit, 0);
    assert.equal(happened().filter((line) => line.startsWith("keeper starts")).length, 1);
  });

  test("SIGHUP replaces the agent alone: it is asked to end, as by SIGTERM to itself", async (t) => {
    const { child, happened, until, exit } = startRun(t);
    await until(/ starts /, 2);
    child.kill("SIGHUP");
    await until(/^agent starts/, 2);
    child.kill("SIGTERM");
    assert.equal(await exit, 0);
    assert.deepEqual(
      happened().filter((line) => line.startsWith("keeper")),
      ["keeper starts -c orlop.yaml --remove-on-exit 3", "keeper stops"],
    );
  });

  for (const name of ["agent", "keeper"] as const) {
    test(`a file that the ${name} finds wrong stops nobody: it is started again`, async (t) => {
      const { child, happened, until, exit } = startRun(t, { [name]: "process.exit(65);" });
      await until(new RegExp(`^${name} starts`), 4);
      const other = name === "agent" ? "keeper" : "agent";
      await until(new RegExp(`^${other} starts`));
      assert.deepEqual(
        happened().filter((line) => line.endsWith("stops")),
        [],
      );
      child.kill("SIGTERM");
      await exit;
      assert.equal(happened().filter((line) => line.startsWith(`${other} starts`)).length, 1);
    });
  }
});
