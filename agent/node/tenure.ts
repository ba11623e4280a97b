// main thread · carries out what tenure-plan.ts decides: it asks the keeper for the node, holds it, yields it to the next agent and
// takes it again when that agent ends too soon.
import type { Holding, KeeperClient, Welcome } from "../engine/keeper-client.ts";
import type { AgentRole } from "../keeper/protocol.ts";
import type { Logger } from "../observe/log.ts";
import { begun, decideTenure, type Tenure, type TenureAct, type TenureEvent } from "./tenure-plan.ts";

export type NodeTenureParts = {
  readonly keeper: Pick<KeeperClient, "take" | "yielded" | "serving" | "leave">;
  /**
   * Opens the maps, which it owns from here on, and everything else that only the agent that holds the node has. Resolves when that is
   * open. `served` is to be called once the pods are in service and the heartbeat beats.
   */
  readonly hold: (holding: Holding, served: () => void) => Promise<void>;
  /** Closes what `hold` opened, but for the heartbeat. */
  readonly stopWriting: () => Promise<void>;
  /** Takes over the descriptors of a welcome to an agent that does not hold the node. */
  readonly lent: (welcome: Welcome) => void;
  /** Asks `orlop run` for the next agent; null: nobody would start it. */
  readonly announce: (() => void) | null;
  readonly log: Pick<Logger, "info" | "warn">;
  /** Milliseconds between two requests for the node. */
  readonly retryMs?: number;
};

/** How an agent ends. `succeeded`: another agent serves, so that open connections may take their time. */
export type Draining = { readonly succeeded: boolean };

const RETRY_MS = 200;

export class NodeTenure {
  readonly #parts: NodeTenureParts;
  #now: Tenure;
  /** Acts are carried out one after the other. */
  #acts: Promise<void> = Promise.resolve();
  #holding: Holding | null = null;
  /** Counts the times that this agent began to hold the node, or ceased to. */
  #turn = 0;
  #holds = false;
  readonly #drains = Promise.withResolvers<Draining>();
  readonly #hurries = Promise.withResolvers<void>();

  constructor(parts: NodeTenureParts) {
    this.#parts = parts;
    this.#now = begun(parts.announce !== null);
    this.#drains.promise.catch(() => {}); // The agent may not wait for it yet.
  }

  /** By the agent's own account. */
  get role(): AgentRole {
    return this.#now.role;
  }

  /** This agent alone writes tables and asks for changes of pods. */
  get holds(): boolean {
    return this.#holds;
  }

  /** Resolves when the agent must accept nothing more. */
  get drains(): Promise<Draining> {
    return this.#drains.promise;
  }

  /** Resolves when connections that are still open then must not go on for long. */
  get hurries(): Promise<void> {
    return this.#hurries.promise;
  }

  welcomed(welcome: Welcome): void {
    this.#holding = welcome;
    this.happened({ type: "welcomed", role: welcome.role });
    // No act has it.
    if (this.#holding !== null) this.#parts.lent(welcome);
    this.#holding = null;
  }

  happened(event: TenureEvent): void {
    const { next, acts } = decideTenure(this.#now, event);
    if (next.role !== this.#now.role) this.#parts.log.info(words[next.role], { after: event.type });
    this.#now = next;
    for (const act of acts) this.#carryOut(act);
  }

  #carryOut(act: TenureAct): void {
    const { keeper, announce } = this.#parts;
    switch (act.do) {
      case "take":
        void this.#take();
        return;
      case "take-later":
        setTimeout(() => this.happened({ type: "again" }), this.#parts.retryMs ?? RETRY_MS).unref();
        return;
      case "hold":
        this.#hold();
        return;
      case "stop-writing":
        this.#turn += 1;
        this.#holds = false;
        this.#enqueue(async () => {
          await this.#parts.stopWriting();
          if (act.answer) await this.#tell(keeper.yielded());
        });
        return;
      case "leave":
        void this.#tell(keeper.leave());
        return;
      case "announce":
        announce?.();
        return;
      case "drain":
        this.#enqueue(async () => this.#drains.resolve({ succeeded: act.succeeded }));
        return;
      case "hurry":
        this.#hurries.resolve();
        return;
    }
  }

  #hold(): void {
    const holding = this.#holding;
    this.#holding = null;
    if (holding === null) return;
    this.#turn += 1;
    const turn = this.#turn;
    this.#enqueue(async () => {
      if (turn !== this.#turn) return this.#parts.lent({ ...holding, role: "waiting" });
      this.#holds = true;
      await this.#parts.hold(holding, () => {
        if (turn === this.#turn) void this.#tell(this.#parts.keeper.serving());
      });
    });
  }

  async #take(): Promise<void> {
    try {
      const holding = await this.#parts.keeper.take();
      this.#holding = holding;
      this.happened({ type: "taken" });
      if (this.#holding !== null) this.#parts.lent({ ...holding, role: "leaving" });
      this.#holding = null;
    } catch {
      // The keeper refused, or went; then `lost` has come already.
      this.happened({ type: "refused" });
    }
  }

  /** The keeper may have gone: what it missed it asks for in the next welcome. */
  async #tell(answer: Promise<void>): Promise<void> {
    try {
      await answer;
    } catch (error) {
      this.#parts.log.warn("the keeper did not hear what this agent said of its hold on the node", { error });
    }
  }

  #enqueue(act: () => Promise<void>): void {
    this.#acts = this.#acts.then(act).catch((error: unknown) => this.#drains.reject(error));
  }
}

const words: Readonly<Record<AgentRole, string>> = {
  new: "it has started",
  waiting: "another agent holds the node: this agent will take it when it is ready",
  holding: "this agent holds the node",
  yielded: "the next agent has the node: this agent goes on accepting until that agent is settled",
  leaving: "this agent does not hold the node any more",
};
