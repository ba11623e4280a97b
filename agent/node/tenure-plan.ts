// main thread · what this agent is to its node, and what it does about that when the keeper, the next agent or an operator says
// something. Pure; tenure.ts carries it out, and keeper/succession.ts is its other side.
import type { AgentRole, WelcomedRole } from "../keeper/protocol.ts";

export type Tenure = {
  readonly role: AgentRole;
  /** The keeper has welcomed the agent. */
  readonly connected: boolean;
  /** It has asked for the node and has no answer. */
  readonly asking: boolean;
  /** It knows mesh and roots, so it may take the node from an agent that serves. */
  readonly ready: boolean;
  /** The operator wants it to end. */
  readonly ordered: boolean;
  /** `orlop run` starts the next agent when this agent asks for it. */
  readonly supervised: boolean;
};

export type TenureEvent =
  | { readonly type: "welcomed"; readonly role: WelcomedRole }
  | { readonly type: "lost" }
  | { readonly type: "ready" }
  /** The answers to `take`. */
  | { readonly type: "taken" }
  | { readonly type: "refused" }
  /** Some time after `refused`. */
  | { readonly type: "again" }
  /** The keeper's notices. */
  | { readonly type: "yield" | "vacant" | "settled" | "reread" }
  | { readonly type: "ordered" }
  /** `orlop run` starts nothing any more: it stops, or has died. */
  | { readonly type: "alone"; readonly stops: boolean };

export type TenureAct =
  /** Ask the keeper for the node, now or a little later. */
  | { readonly do: "take" | "take-later" }
  /** Hold the node: open tables and admin socket, bring the pods into service, then say `serving`. */
  | { readonly do: "hold" }
  /** Close tables, ring and admin socket; go on accepting and beating. Then say `yielded` where the keeper waits for it. */
  | { readonly do: "stop-writing"; readonly answer: boolean }
  /** Tell the keeper that this agent never holds the node again. */
  | { readonly do: "leave" }
  /** Ask `orlop run` for the next agent. */
  | { readonly do: "announce" }
  /** Accept nothing more, beat no more, and end with the last connection. `succeeded`: another agent serves. */
  | { readonly do: "drain"; readonly succeeded: boolean }
  /** What is still open ends soon. */
  | { readonly do: "hurry" };

export type TenureStep = { readonly next: Tenure; readonly acts: readonly TenureAct[] };

export const begun = (supervised: boolean): Tenure => ({
  role: "new",
  connected: false,
  asking: false,
  ready: false,
  ordered: false,
  supervised,
});

/** Pure. The step's acts are to be carried out in their order. */
export function decideTenure(now: Tenure, event: TenureEvent): TenureStep {
  switch (event.type) {
    case "welcomed":
      return welcomed({ ...now, connected: true, asking: false }, event.role);
    case "lost":
      return { next: { ...now, connected: false, asking: false }, acts: [] };
    case "ready":
      return wanting({ ...now, ready: true });
    case "taken": {
      const next = { ...now, asking: false };
      return now.role === "leaving"
        ? { next, acts: [] }
        : { next: { ...next, role: "holding" }, acts: [{ do: "hold" }] };
    }
    case "refused": {
      const next = { ...now, asking: false };
      // An agent that yielded waits for what the keeper says next.
      return { next, acts: now.role === "waiting" && now.connected ? [{ do: "take-later" }] : [] };
    }
    case "again":
      return wanting(now);
    case "yield":
      // The keeper counts the answers, so there is one to each request.
      return {
        next: now.role === "holding" ? { ...now, role: "yielded" } : now,
        acts: [{ do: "stop-writing", answer: true }],
      };
    case "vacant":
      // A waiting agent asks whether or not it is ready: nobody else holds the node.
      return now.role === "yielded" || now.role === "waiting" ? ask(now) : { next: now, acts: [] };
    case "settled":
      return now.role === "yielded" ? succeeded(now) : { next: now, acts: [] };
    case "reread":
      // The answer to `take` has the node once more, and so the tables.
      return now.role === "holding" ? ask(now) : { next: now, acts: [] };
    case "ordered":
      return now.ordered ? { next: now, acts: [] } : ordered({ ...now, ordered: true });
    case "alone":
      return alone({ ...now, supervised: false }, event.stops);
  }
}

function welcomed(now: Tenure, role: WelcomedRole): TenureStep {
  const next: Tenure = { ...now, role };
  switch (now.role) {
    case "leaving":
      // It was ordered to end between its hello and the answer.
      return { next: now, acts: role === "leaving" ? [] : [{ do: "leave" }] };
    case "holding":
      if (role === "holding") return { next, acts: [{ do: "hold" }] };
      // The keeper has given the node to another agent, which reads the tables again when this agent has stopped.
      if (role === "leaving") return after([{ do: "stop-writing", answer: true }], succeeded(now));
      return { next, acts: [{ do: "stop-writing", answer: true }] };
    case "yielded":
      return role === "leaving" ? succeeded(now) : { next, acts: [] };
    default:
      return role === "holding" ? { next, acts: [{ do: "hold" }] } : wanting(next);
  }
}

/** A waiting agent asks for the node once it is ready. */
function wanting(now: Tenure): TenureStep {
  return now.role === "waiting" && now.ready ? ask(now) : { next: now, acts: [] };
}

function ask(now: Tenure): TenureStep {
  if (!now.connected || now.asking) return { next: now, acts: [] };
  return { next: { ...now, asking: true }, acts: [{ do: "take" }] };
}

const succeeded = (now: Tenure): TenureStep => ({
  next: { ...now, role: "leaving" },
  acts: [{ do: "drain", succeeded: true }],
});

const after = (acts: readonly TenureAct[], step: TenureStep): TenureStep => ({
  next: step.next,
  acts: [...acts, ...step.acts],
});

function ordered(now: Tenure): TenureStep {
  switch (now.role) {
    case "leaving":
      return { next: now, acts: now.supervised ? [] : [{ do: "hurry" }] };
    case "holding":
    case "yielded":
      // It goes on until the next agent is settled.
      return now.supervised ? { next: now, acts: [{ do: "announce" }] } : leave(now);
    default:
      return leave(now);
  }
}

function alone(now: Tenure, stops: boolean): TenureStep {
  if (!now.ordered) return { next: now, acts: [] };
  if (now.role !== "leaving") return leave(now);
  return { next: now, acts: stops ? [{ do: "hurry" }] : [] };
}

/** Nobody follows, as far as this agent knows. */
function leave(now: Tenure): TenureStep {
  const writes: readonly TenureAct[] = now.role === "holding" ? [{ do: "stop-writing", answer: false }] : [];
  // A keeper that comes again learns it from the agent's hello.
  const leaves: readonly TenureAct[] = now.connected ? [{ do: "leave" }] : [];
  return { next: { ...now, role: "leaving" }, acts: [...writes, ...leaves, { do: "drain", succeeded: false }] };
}
