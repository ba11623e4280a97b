// keeper · carries out what succession.ts decides: answers, notices, a timer. Knows each connected agent by its number.
import type { KeeperLog } from "./lend.ts";
import type { AgentRole, HolderNotice, WelcomedRole } from "./protocol.ts";
import {
  type AgentId,
  decide,
  type Happening,
  mayChange,
  nobody,
  type Seat,
  type Succession,
  type SuccessionAct,
} from "./succession.ts";

export type HoldersOptions = {
  readonly notify: (agent: AgentId, notice: HolderNotice) => void;
  /** Calls once, after `ms`; the answer cancels it. */
  readonly after: (ms: number, call: () => void) => () => void;
  readonly log: KeeperLog;
};

const words: Readonly<Record<Seat["state"], string>> = {
  vacant: "no agent holds the node",
  held: "an agent holds the node",
  yielding: "the agent is asked to yield the node to the next agent",
  proving: "the next agent has the node; the agent before it goes on accepting until that is settled",
};

export class Holders {
  readonly #options: HoldersOptions;
  #now: Succession = nobody;
  #cancelTimer: () => void = () => {};
  /** Agents whose `take` is not answered yet. */
  readonly #asking = new Map<AgentId, (granted: boolean) => void>();
  #welcome: WelcomedRole = "leaving";

  constructor(options: HoldersOptions) {
    this.#options = options;
  }

  /** An agent said hello: what it is from here on. */
  came(agent: AgentId, role: AgentRole): WelcomedRole {
    this.#happened({ type: "came", agent, role });
    return this.#welcome;
  }

  /** Its connection has ended, or it leaves. An agent that did not come is not missed. */
  gone(agent: AgentId): void {
    this.#asking.get(agent)?.(false);
    this.#asking.delete(agent);
    this.#happened({ type: "gone", agent });
  }

  /** Resolves to true when the agent holds the node, to false when it may not, or not now. */
  take(agent: AgentId): Promise<boolean> {
    return new Promise((resolve) => {
      // An agent asks once at a time; what it asked before is answered with a no.
      this.#asking.get(agent)?.(false);
      this.#asking.set(agent, resolve);
      this.#happened({ type: "asks", agent });
    });
  }

  yielded(agent: AgentId): void {
    this.#happened({ type: "yielded", agent });
  }

  serves(agent: AgentId): void {
    this.#happened({ type: "serves", agent });
  }

  /** An agent holds the node, or one is just taking it from another. */
  get isHeld(): boolean {
    return this.#now.seat.state !== "vacant";
  }

  mayChange(agent: AgentId): boolean {
    return mayChange(this.#now, agent);
  }

  close(): void {
    this.#cancelTimer();
    for (const answer of this.#asking.values()) answer(false);
    this.#asking.clear();
  }

  #happened(happening: Happening): void {
    const before = this.#now.seat;
    const { next, effects } = decide(this.#now, happening);
    this.#now = next;
    if (next.seat.state !== before.state) {
      this.#options.log.info(words[next.seat.state], { after: happening.type });
    }
    for (const effect of effects) this.#carryOut(effect);
  }

  #carryOut(effect: SuccessionAct): void {
    switch (effect.do) {
      case "welcome":
        this.#welcome = effect.role;
        return;
      case "grant":
      case "refuse": {
        const answer = this.#asking.get(effect.agent);
        this.#asking.delete(effect.agent);
        answer?.(effect.do === "grant");
        return;
      }
      case "notify":
        this.#options.notify(effect.agent, { id: 0, op: effect.notice });
        return;
      case "wait": {
        const { timer } = effect;
        this.#cancelTimer();
        this.#cancelTimer = this.#options.after(effect.ms, () => this.#happened({ type: "time", timer }));
        return;
      }
    }
  }
}
