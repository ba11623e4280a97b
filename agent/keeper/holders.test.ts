// holders.ts: each `take` has its answer, whatever happens meanwhile; timers are those of the last decision.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Holders } from "./holders.ts";

function setUp() {
  const notices: string[] = [];
  const said: string[] = [];
  const timers: (() => void)[] = [];
  const say = (message: string): void => void said.push(message);
  const holders = new Holders({
    notify: (agent, { op }) => void notices.push(`${agent} ${op}`),
    after: (_ms, call) => {
      timers.push(call);
      return () => void timers.splice(timers.indexOf(call), 1);
    },
    log: { debug: say, info: say, warn: say, error: say },
  });
  const fire = (): void => {
    for (const call of timers.splice(0)) call();
  };
  return { holders, notices, said, timers, fire };
}

test("the node is handed over, and only its holder may change pods", async () => {
  const { holders, notices, said, fire } = setUp();
  assert.equal(holders.came(1, "new"), "holding");
  holders.serves(1);
  assert.equal(holders.came(2, "new"), "waiting");
  const taken = holders.take(2);
  assert.deepEqual([holders.mayChange(1), holders.mayChange(2)], [true, false]);
  holders.yielded(1);
  assert.equal(await taken, true);
  assert.deepEqual([holders.mayChange(1), holders.mayChange(2)], [false, true]);
  holders.serves(2);
  fire();
  assert.deepEqual(notices, ["1 yield", "1 settled"]);
  assert.deepEqual(said, [
    "an agent holds the node",
    "the agent is asked to yield the node to the next agent",
    "the next agent has the node; the agent before it goes on accepting until that is settled",
    "an agent holds the node",
  ]);
});

test("an agent that goes while it waits for the node has its answer, and the agent before it takes the node again", async () => {
  const { holders, notices } = setUp();
  holders.came(1, "new");
  holders.came(2, "new");
  const taken = holders.take(2);
  holders.gone(2);
  assert.equal(await taken, false);
  holders.yielded(1);
  assert.equal(await holders.take(1), true);
  assert.deepEqual(notices, ["1 yield", "1 vacant"]);
});

test("of two agents that ask, one waits and the other hears no; a second question of the same agent answers the first", async () => {
  const { holders } = setUp();
  holders.came(1, "new");
  for (const agent of [2, 3]) holders.came(agent, "new");
  const first = holders.take(2);
  assert.equal(await holders.take(3), false);
  assert.equal(await holders.take(4), false, "an agent that never came");
  const second = holders.take(2);
  assert.equal(await first, false);
  assert.equal(await second, false);
  holders.yielded(1);
  assert.equal(await holders.take(2), true, "it has the node");
});

test("a keeper that ends answers all, and no timer is left", async () => {
  const { holders, timers } = setUp();
  holders.came(1, "new");
  holders.came(2, "new");
  const taken = holders.take(2);
  assert.equal(timers.length, 1);
  holders.close();
  assert.equal(await taken, false);
  assert.equal(timers.length, 0);
});
