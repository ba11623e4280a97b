// The watchdog says late and back once each, and nothing before the first agent.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Watchdog } from "./watchdog.ts";

test("late once, back once", () => {
  const said: string[] = [];
  const say = (level: string) => (message: string) => void said.push(`${level}: ${message}`);
  let now = 10_000_000_000n;
  let beatNs = 0n;
  const dog = new Watchdog({
    readGate: () => ({ beatNs, limitNs: 2_000_000_000n }),
    log: { debug: say("debug"), info: say("info"), warn: say("warn"), error: say("error") },
    now: () => now,
  });
  dog.look();
  assert.equal(dog.state, "none");
  beatNs = now;
  dog.look();
  now += 2_000_000_000n;
  dog.look();
  assert.equal(dog.state, "alive", "exactly the limit is not yet late");
  now += 1n;
  dog.look();
  dog.look();
  assert.equal(dog.state, "late");
  beatNs = now;
  dog.look();
  beatNs = 0n;
  dog.look();
  assert.equal(dog.lateCount, 2, "an agent that stopped on purpose is late as well");
  assert.deepEqual(
    said.map((line) => line.split(":")[0]),
    ["info", "warn", "info", "warn"],
  );
});
