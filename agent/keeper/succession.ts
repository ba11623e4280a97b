// keeper · which of the connected agents holds the node, and how it passes from the one to the next: a state and what happens →
// the next state and what to do. Pure; holders.ts carries it out.
import type { AgentRole, HolderNotice, WelcomedRole } from "./protocol.ts";

/** A connection of an agent; the number is never used again. */
export type AgentId = number;

/** An agent that yielded may take the node again as long as it is `previous`: it still accepts and beats. */
export type Seat =
  | { readonly state: "vacant"; readonly previous: AgentId | null }
  /** `serving`: the holder has said so. */
  | { readonly state: "held"; readonly holder: AgentId; readonly serving: boolean }
  /** The holder was asked to yield for `next`; null: that agent has gone meanwhile. */
  | { readonly state: "yielding"; readonly holder: AgentId; readonly serving: boolean; readonly next: AgentId | null }
  /** The holder has taken the node. It is settled when it serves and has lived for a second. */
  | {
      readonly state: "proving";
      readonly holder: AgentId;
      readonly serving: boolean;
      readonly previous: AgentId;
      /** Since it took the node: less than a second, more, or so long that it hangs unless it serves. */
      readonly lived: "short" | "long" | "too-long";
    };

export type Succession = {
  readonly seat: Seat;
  /** Agents that may ask for the node, the first that came first. */
  readonly waiting: readonly AgentId[];
  /**
   * How many answers `yielded` each agent owes; without an entry none. An agent that owes one and does not hold the node may still write
   * tables beside the holder, for instance when it wakes up. When it has answered, the holder reads the tables again.
   */
  readonly owed: ReadonlyMap<AgentId, number>;
  /** Of the timer that counts. Earlier timers have no effect. */
  readonly timer: number;
};

export type Happening =
  /** An agent said hello. */
  | { readonly type: "came"; readonly agent: AgentId; readonly role: AgentRole }
  /** Its connection has ended, or it said `leave`. */
  | { readonly type: "gone"; readonly agent: AgentId }
  | { readonly type: "asks"; readonly agent: AgentId }
  | { readonly type: "yielded"; readonly agent: AgentId }
  | { readonly type: "serves"; readonly agent: AgentId }
  | { readonly type: "time"; readonly timer: number };

export type SuccessionAct =
  /** The answer to the agent's hello. Exactly one for each `came`. */
  | { readonly do: "welcome"; readonly agent: AgentId; readonly role: WelcomedRole }
  /** The answers to `take`; each `asks` gets either, now or later, unless the agent goes first. */
  | { readonly do: "grant" | "refuse"; readonly agent: AgentId }
  | { readonly do: "notify"; readonly agent: AgentId; readonly notice: HolderNotice["op"] }
  | { readonly do: "wait"; readonly timer: number; readonly ms: number };

export type SuccessionStep = { readonly next: Succession; readonly effects: readonly SuccessionAct[] };

export const nobody: Succession = { seat: { state: "vacant", previous: null }, waiting: [], owed: new Map(), timer: 0 };

export const times = {
  /** An agent that does not answer `yield` for this long hangs, and the next agent takes the node all the same. */
  yieldMs: 2_000,
  /** An agent that took the node, and ends within this time, is followed by the agent that yielded to it. */
  proofMs: 1_000,
  /** An agent that took the node, and does not serve its pods for this long after that, makes way for the next. */
  serveMs: 60_000,
  /** After a keeper came, the agent that held the node may need this long to connect again. */
  returnMs: 1_500,
} as const;

/** Pure. The step's acts are to be carried out in their order, before the next happening is decided. */
export function decide(now: Succession, happening: Happening): SuccessionStep {
  switch (happening.type) {
    case "came":
      return came(now, happening.agent, happening.role);
    case "gone":
      return stopped(now, gone(now, happening.agent), happening.agent);
    case "asks":
      return asks(now, happening.agent);
    case "yielded":
      return yielded(now, happening.agent);
    case "serves":
      return serves(now, happening.agent);
    case "time":
      return happening.timer === now.timer ? timeIsUp(now) : unchanged(now);
  }
}

/** May this agent change pods? */
export function mayChange({ seat }: Succession, agent: AgentId): boolean {
  return seat.state !== "vacant" && seat.holder === agent;
}

const unchanged = (next: Succession): SuccessionStep => ({ next, effects: [] });
const settled = (agent: AgentId): SuccessionAct => ({ do: "notify", agent, notice: "settled" });
const without = (agents: readonly AgentId[], agent: AgentId): readonly AgentId[] =>
  agents.filter((other) => other !== agent);

const holderOf = ({ seat }: Succession): AgentId | null => (seat.state === "vacant" ? null : seat.holder);

/** It will answer `yielded` to what it is sent now. */
function owing(now: Succession, agent: AgentId): Succession {
  return { ...now, owed: new Map(now.owed).set(agent, (now.owed.get(agent) ?? 0) + 1) };
}

function yielded(before: Succession, agent: AgentId): SuccessionStep {
  const owes = before.owed.get(agent) ?? 0;
  if (owes === 0) return unchanged(before);
  // The answer to an earlier request: it has held the node again meanwhile.
  if (owes > 1) return unchanged({ ...before, owed: new Map(before.owed).set(agent, owes - 1) });
  const now = owingNothing(before, agent);
  const { seat } = now;
  const isAsked = seat.state === "yielding" && seat.holder === agent;
  return isAsked ? passOn(now, seat) : stopped(before, unchanged(now), agent);
}

function owingNothing(now: Succession, agent: AgentId): Succession {
  const owed = new Map(now.owed);
  owed.delete(agent);
  return { ...now, owed };
}

/** The agent writes nothing from here on. What it wrote after the holder had read the tables is mended by the holder. */
function stopped(before: Succession, { next, effects }: SuccessionStep, agent: AgentId): SuccessionStep {
  const now = owingNothing(next, agent);
  const holder = holderOf(now);
  if (!before.owed.has(agent) || holderOf(before) === agent || holder === null) return { next: now, effects };
  return { next: now, effects: [...effects, { do: "notify", agent: holder, notice: "reread" }] };
}

/** Starts the timer that counts from here on. */
function withTimer(next: Succession, ms: number, effects: readonly SuccessionAct[]): SuccessionStep {
  const timer = next.timer + 1;
  return { next: { ...next, timer }, effects: [...effects, { do: "wait", timer, ms }] };
}

function came(now: Succession, agent: AgentId, role: AgentRole): SuccessionStep {
  switch (role) {
    case "new":
    case "waiting":
      return cameToWait(now, agent, role);
    case "holding":
      return cameHolding(now, agent);
    case "yielded":
      return cameYielded(now, agent);
    case "leaving":
      return welcomed(now, agent, "leaving");
  }
}

const welcomed = (next: Succession, agent: AgentId, role: WelcomedRole): SuccessionStep => ({
  next,
  effects: [{ do: "welcome", agent, role }],
});

function cameToWait(now: Succession, agent: AgentId, role: "new" | "waiting"): SuccessionStep {
  const { seat } = now;
  const isFree = seat.state === "vacant" && seat.previous === null;
  if (isFree && role === "new") {
    return welcomed({ ...now, seat: { state: "held", holder: agent, serving: false } }, agent, "holding");
  }
  const next = { ...now, waiting: [...now.waiting, agent] };
  const { effects } = welcomed(next, agent, "waiting");
  // The keeper has come again: the agent that held the node may be about to say so.
  return isFree ? withTimer(next, times.returnMs, effects) : { next, effects };
}

function cameHolding(now: Succession, agent: AgentId): SuccessionStep {
  const { seat } = now;
  switch (seat.state) {
    case "vacant": {
      const held = { holder: agent, serving: false };
      if (seat.previous === null) return welcomed({ ...now, seat: { state: "held", ...held } }, agent, "holding");
      const next = { ...now, seat: proving(held, seat.previous) };
      return withTimer(next, times.proofMs, welcomed(next, agent, "holding").effects);
    }
    case "held":
      // A waiting agent was faster than this agent, after the keeper had come again.
      return behind(owing(now, agent), seat, agent);
    default:
      return welcomed(owing(now, agent), agent, "leaving");
  }
}

function cameYielded(now: Succession, agent: AgentId): SuccessionStep {
  const { seat } = now;
  if (seat.state === "held") return behind(now, seat, agent);
  if (seat.state !== "vacant" || seat.previous !== null) return welcomed(now, agent, "leaving");
  const next: Succession = { ...now, seat: { state: "vacant", previous: agent } };
  return withTimer(next, times.returnMs, welcomed(next, agent, "yielded").effects);
}

const proving = ({ holder, serving }: { holder: AgentId; serving: boolean }, previous: AgentId): Seat => ({
  state: "proving",
  holder,
  serving,
  previous,
  lived: "short",
});

/** The agent that has just come yielded to the agent that holds the node. */
function behind(now: Succession, seat: Extract<Seat, { state: "held" }>, agent: AgentId): SuccessionStep {
  const next = { ...now, seat: proving(seat, agent) };
  return withTimer(next, times.proofMs, welcomed(next, agent, "yielded").effects);
}

function asks(now: Succession, agent: AgentId): SuccessionStep {
  const { seat } = now;
  const grant: SuccessionAct = { do: "grant", agent };
  const refuse: SuccessionStep = { next: now, effects: [{ do: "refuse", agent }] };
  // The holder that is asked to yield has asked before it heard that.
  if (mayChange(now, agent)) return seat.state === "yielding" ? refuse : { next: now, effects: [grant] };
  const mayAsk = now.waiting.includes(agent) || (seat.state === "vacant" && seat.previous === agent);
  if (!mayAsk) return refuse;
  return asked({ ...now, waiting: without(now.waiting, agent) }, agent, refuse);
}

/** The agent may ask. `refuse` leaves it waiting. */
function asked(now: Succession, agent: AgentId, refuse: SuccessionStep): SuccessionStep {
  const { seat } = now;
  const grant: SuccessionAct = { do: "grant", agent };
  switch (seat.state) {
    case "vacant": {
      const held = { holder: agent, serving: false };
      if (seat.previous === null || seat.previous === agent) {
        return { next: { ...now, seat: { state: "held", ...held } }, effects: [grant] };
      }
      return withTimer({ ...now, seat: proving(held, seat.previous) }, times.proofMs, [grant]);
    }
    case "held": {
      const next: Succession = { ...owing(now, seat.holder), seat: { ...seat, state: "yielding", next: agent } };
      return withTimer(next, times.yieldMs, [{ do: "notify", agent: seat.holder, notice: "yield" }]);
    }
    case "yielding":
      if (seat.next !== null) return refuse;
      return { next: { ...now, seat: { ...seat, next: agent } }, effects: [] };
    case "proving":
      return seat.serving || seat.lived !== "too-long" ? refuse : overtaken(now, seat, agent);
  }
}

/** The holder took the node long ago and does not serve it: the next agent has it, and the agent before goes on meanwhile. */
function overtaken(now: Succession, seat: Extract<Seat, { state: "proving" }>, agent: AgentId): SuccessionStep {
  const { holder, previous } = seat;
  const next = { ...owing(now, holder), seat: proving({ holder: agent, serving: false }, previous) };
  return withTimer(next, times.proofMs, [
    { do: "notify", agent: holder, notice: "yield" },
    settled(holder),
    { do: "grant", agent },
  ]);
}

/** The holder has yielded, or hangs. */
function passOn(now: Succession, { holder, next }: Extract<Seat, { state: "yielding" }>): SuccessionStep {
  if (next === null) return vacated(now, holder, "first");
  const seat = proving({ holder: next, serving: false }, holder);
  return withTimer({ ...now, seat }, times.proofMs, [{ do: "grant", agent: next }]);
}

function serves(now: Succession, agent: AgentId): SuccessionStep {
  const { seat } = now;
  if (seat.state === "vacant" || seat.holder !== agent) return unchanged(now);
  const next: Succession = { ...now, seat: { ...seat, serving: true } };
  return seat.state === "proving" && seat.lived !== "short" ? settle(next, seat) : unchanged(next);
}

function settle(now: Succession, { holder, previous }: Extract<Seat, { state: "proving" }>): SuccessionStep {
  return { next: { ...now, seat: { state: "held", holder, serving: true } }, effects: [settled(previous)] };
}

function timeIsUp(now: Succession): SuccessionStep {
  const { seat } = now;
  switch (seat.state) {
    case "vacant":
      return vacated(now, seat.previous, "everybody");
    case "held":
      return unchanged(now);
    case "yielding":
      return passOn(now, seat);
    case "proving":
      if (seat.serving) return settle(now, seat);
      if (seat.lived !== "short") return unchanged({ ...now, seat: { ...seat, lived: "too-long" } });
      return withTimer({ ...now, seat: { ...seat, lived: "long" } }, times.serveMs, []);
  }
}

/** Nobody holds the node. If the agent that is asked hangs, the others are asked later. */
function vacated(now: Succession, previous: AgentId | null, whom: "first" | "everybody"): SuccessionStep {
  const seat: Seat = { state: "vacant", previous };
  const candidates = [...(previous === null ? [] : [previous]), ...now.waiting];
  if (candidates.length === 0) return unchanged({ ...now, seat });
  const asked = whom === "first" ? candidates.slice(0, 1) : candidates;
  const effects = asked.map((agent): SuccessionAct => ({ do: "notify", agent, notice: "vacant" }));
  return withTimer({ ...now, seat }, times.returnMs, effects);
}

function gone(before: Succession, agent: AgentId): SuccessionStep {
  const now = { ...before, waiting: without(before.waiting, agent) };
  const { seat } = now;
  switch (seat.state) {
    case "vacant":
      return seat.previous === agent ? vacated(now, null, "first") : unchanged(now);
    case "held":
      return seat.holder === agent ? vacated(now, null, "first") : unchanged(now);
    case "yielding":
      if (seat.holder === agent) {
        if (seat.next === null) return vacated(now, null, "first");
        const held: Seat = { state: "held", holder: seat.next, serving: false };
        return { next: { ...now, seat: held }, effects: [{ do: "grant", agent: seat.next }] };
      }
      // The holder may have stopped writing already, and its answer be under way.
      return seat.next === agent ? unchanged({ ...now, seat: { ...seat, next: null } }) : unchanged(now);
    case "proving":
      if (seat.holder === agent) return vacated(now, seat.previous, "first");
      if (seat.previous !== agent) return unchanged(now);
      return unchanged({ ...now, seat: { state: "held", holder: seat.holder, serving: seat.serving } });
  }
}
