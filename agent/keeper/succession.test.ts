// succession.ts: each step of a replacement, and the death of either agent at each of them.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { AgentRole } from "./protocol.ts";
import { decide, type Happening, mayChange, nobody, type Succession, type SuccessionAct } from "./succession.ts";

/** What happens, in words: "1 comes new", "2 asks", "1 gone", "time". */
function happen(now: Succession, text: string): { readonly next: Succession; readonly effects: readonly string[] } {
  const step = decide(now, happeningOf(now, text));
  return { next: step.next, effects: step.effects.map(effectText) };
}

function happeningOf(now: Succession, text: string): Happening {
  const [who = "", what = "", role = ""] = text.split(" ");
  const agent = Number(who);
  switch (who === "time" ? "time" : what) {
    case "time":
      return { type: "time", timer: now.timer };
    case "comes":
      return { type: "came", agent, role: role as AgentRole };
    case "asks":
    case "yielded":
    case "serves":
    case "gone":
      return { type: what as "asks" | "yielded" | "serves" | "gone", agent };
    default:
      return assert.fail(text);
  }
}

function effectText(effect: SuccessionAct): string {
  switch (effect.do) {
    case "welcome":
      return `${effect.agent} is ${effect.role}`;
    case "notify":
      return `${effect.agent} hears ${effect.notice}`;
    case "wait":
      return "timer";
    default:
      return `${effect.do} ${effect.agent}`;
  }
}

/** Each line: what happens → what the keeper does about it. */
function play(lines: readonly (readonly [happening: string, ...effects: string[]])[], from = nobody): Succession {
  let now = from;
  for (const [text, ...expected] of lines) {
    const { next, effects } = happen(now, text);
    assert.deepEqual(effects, expected, text);
    now = next;
  }
  return now;
}

const holderIs = (now: Succession, agent: number | null): void => {
  assert.deepEqual([mayChange(now, 1), mayChange(now, 2), mayChange(now, 3)], [agent === 1, agent === 2, agent === 3]);
};

/** 1 serves, 2 waits. */
const waiting = play([["1 comes new", "1 is holding"], ["1 serves"], ["2 comes new", "2 is waiting"]]);
const yielding = play([["2 asks", "1 hears yield", "timer"]], waiting);
const proving = play([["1 yielded", "grant 2", "timer"]], yielding);

describe("a planned replacement", () => {
  test("the next agent has the node when the agent before it has yielded, and is settled once it serves and has lived", () => {
    holderIs(waiting, 1);
    holderIs(yielding, 1);
    holderIs(proving, 2);
    holderIs(play([["2 serves"], ["time", "1 hears settled"]], proving), 2);
    holderIs(
      play(
        [
          ["time", "timer"],
          ["2 serves", "1 hears settled"],
        ],
        proving,
      ),
      2,
    );
  });

  test("an agent that does not answer has yielded", () => {
    const late = play([["time", "grant 2", "timer"]], yielding);
    holderIs(play([["1 yielded", "2 hears reread"], ["2 serves"]], late), 2);
    holderIs(play([["1 gone", "2 hears reread"], ["1 gone"]], late), 2);
    holderIs(play([["2 serves"], ["time", "1 hears settled"], ["1 yielded", "2 hears reread"]], late), 2);
  });

  test("an agent that hung and has the node again needs no word that it stopped", () => {
    const again = play(
      [["time", "grant 2", "timer"], ["2 gone", "1 hears vacant", "timer"], ["1 asks", "grant 1"], ["1 yielded"]],
      yielding,
    );
    holderIs(again, 1);
  });

  test("an agent that took the node and never serves makes way for the next", () => {
    const third = play([["3 comes new", "3 is waiting"], ["time", "timer"], ["3 asks", "refuse 3"], ["time"]], proving);
    const next = play([["3 asks", "2 hears yield", "2 hears settled", "grant 3", "timer"]], third);
    holderIs(next, 3);
    play([["2 yielded", "3 hears reread"], ["3 serves"], ["time", "1 hears settled"]], next);
    play(
      [
        ["2 gone", "3 hears reread"],
        ["3 gone", "1 hears vacant", "timer"],
      ],
      next,
    );
  });

  test("meanwhile nobody else gets the node; a timer of before has no effect", () => {
    play(
      [
        ["3 comes new", "3 is waiting"],
        ["3 asks", "refuse 3"],
        ["1 asks", "refuse 1"],
      ],
      yielding,
    );
    play(
      [
        ["3 comes new", "3 is waiting"],
        ["3 asks", "refuse 3"],
        ["1 asks", "refuse 1"],
        ["2 asks", "grant 2"],
      ],
      proving,
    );
    assert.deepEqual(decide(proving, { type: "time", timer: yielding.timer }), { next: proving, effects: [] });
  });

  test("what an agent may not say has no effect", () => {
    for (const line of ["2 yielded", "2 serves", "3 serves", "3 gone"]) play([[line]], waiting);
    play([["3 asks", "refuse 3"], ["3 yielded"], ["4 comes leaving", "4 is leaving"], ["4 asks", "refuse 4"]], waiting);
  });
});

describe("the death of", () => {
  test("the agent that holds the node: the next is asked to take it, again and again", () => {
    const vacant = play(
      [
        ["1 gone", "2 hears vacant", "timer"],
        ["time", "2 hears vacant", "timer"],
      ],
      waiting,
    );
    holderIs(vacant, null);
    holderIs(play([["2 asks", "grant 2"]], vacant), 2);
  });
  test("the same while it is to yield: the next has the node", () => {
    holderIs(play([["1 gone", "grant 2"], ["2 serves"]], yielding), 2);
  });
  test("the same after it has yielded: nothing", () => {
    holderIs(play([["1 gone"], ["time"], ["2 serves"]], proving), 2);
  });
  test("the waiting agent: nothing", () => {
    holderIs(play([["2 gone"]], waiting), 1);
  });
  test("the next agent while the other is to yield: the other takes the node again", () => {
    const alone = play([["2 gone"]], yielding);
    holderIs(alone, 1);
    const again = play([["1 yielded", "1 hears vacant", "timer"]], alone);
    holderIs(again, null);
    holderIs(play([["1 asks", "grant 1"]], again), 1);
  });
  test("the same, and another asks before the answer: it has the node once the answer is there", () => {
    const third = play([["3 comes new", "3 is waiting"], ["2 gone"], ["3 asks"]], yielding);
    holderIs(third, 1);
    holderIs(play([["1 yielded", "grant 3", "timer"]], third), 3);
    play([["2 gone"], ["1 gone"]], yielding);
    play([["2 gone"], ["time", "1 hears vacant", "timer"]], yielding);
  });
  test("the next agent within a second, or before it serves: the other takes the node again", () => {
    for (const before of [[], [["2 serves"]], [["time", "timer"]]] as const) {
      const lived = play(before, proving);
      holderIs(
        play(
          [
            ["2 gone", "1 hears vacant", "timer"],
            ["1 asks", "grant 1"],
          ],
          lived,
        ),
        1,
      );
    }
  });
  test("both, in turn: the agent that waits takes the node", () => {
    const third = play([["3 comes new", "3 is waiting"]], proving);
    play(
      [
        ["2 gone", "1 hears vacant", "timer"],
        ["1 gone", "3 hears vacant", "timer"],
        ["3 asks", "grant 3"],
      ],
      third,
    );
    play(
      [
        ["2 gone", "1 hears vacant", "timer"],
        ["time", "1 hears vacant", "3 hears vacant", "timer"],
      ],
      third,
    );
  });
});

describe("a keeper that comes again", () => {
  test("the agent that held the node holds it", () => {
    holderIs(
      play([
        ["1 comes holding", "1 is holding"],
        ["2 comes waiting", "2 is waiting"],
      ]),
      1,
    );
    holderIs(play([["2 comes waiting", "2 is waiting", "timer"], ["1 comes holding", "1 is holding"], ["time"]]), 1);
  });
  test("an agent that yielded takes the node when no other says in time that it has it", () => {
    const vacant = play([
      ["1 comes yielded", "1 is yielded", "timer"],
      ["time", "1 hears vacant", "timer"],
    ]);
    holderIs(play([["1 asks", "grant 1"]], vacant), 1);
  });
  test("the replacement goes on, in whatever order the two come", () => {
    const first = play([
      ["1 comes yielded", "1 is yielded", "timer"],
      ["2 comes holding", "2 is holding", "timer"],
    ]);
    const second = play([
      ["2 comes holding", "2 is holding"],
      ["1 comes yielded", "1 is yielded", "timer"],
    ]);
    for (const now of [first, second]) {
      play([["2 serves"], ["time", "1 hears settled"]], now);
      play([["2 gone", "1 hears vacant", "timer"]], now);
    }
  });
  test("the next agent was faster: the agent before it yields", () => {
    const faster = play([
      ["2 comes waiting", "2 is waiting", "timer"],
      ["2 asks", "grant 2"],
    ]);
    holderIs(
      play(
        [
          ["1 comes holding", "1 is yielded", "timer"],
          ["2 serves"],
          ["1 yielded", "2 hears reread"],
          ["time", "1 hears settled"],
        ],
        faster,
      ),
      2,
    );
  });
  test("an agent that leaves stays so, and a third that claims the node leaves", () => {
    play([
      ["1 comes leaving", "1 is leaving"],
      ["2 comes new", "2 is holding"],
    ]);
    play(
      [
        ["3 comes holding", "3 is leaving"],
        ["4 comes yielded", "4 is leaving"],
      ],
      proving,
    );
  });
});
