// main thread · builder · the admin socket and the two small servers for metrics and readiness, which of several agents of a node
// only the agent that holds the node has.
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { type MetricsPage, type Readiness, startMetricsServer, startReadyServer } from "../admin/health.ts";
import { type AdminServerOptions, startAdminServer } from "../admin/server.ts";
import type { AgentConfig } from "../config/config.ts";
import type { Logger } from "../observe/log.ts";

export type OperatorServersParts = {
  readonly config: Pick<AgentConfig, "metrics" | "ready">;
  readonly admin: Omit<AdminServerOptions, "warn">;
  readonly page: MetricsPage;
  readonly readiness: Readiness;
  readonly log: Pick<Logger, "warn">;
  /** Milliseconds between two attempts to open what another agent has still open. */
  readonly retryMs?: number;
};

type Closes = { readonly close: () => Promise<void> };

const RETRY_MS = 250;

export class OperatorServers {
  readonly #parts: OperatorServersParts;
  #open: Closes[] = [];
  #wanted = false;
  /** Opening and closing wait for each other. */
  #turn: Promise<void> = Promise.resolve();

  constructor(parts: OperatorServersParts) {
    this.#parts = parts;
  }

  /** Does nothing when they are open. Rejects when they cannot be opened. */
  open(): Promise<void> {
    this.#wanted = true;
    return this.#next(() => this.#openAll());
  }

  /**
   * As `open`, but as long as another agent of the node has not closed its own, it tries again in the background: that agent hangs,
   * and the node's pods do not wait for it.
   */
  async openWhenFree(): Promise<void> {
    try {
      await this.open();
    } catch (error) {
      if (!isInUse(error)) throw error;
      this.#parts.log.warn("metrics, readiness or admin socket are still another agent's; trying again", { error });
      void this.#tryAgain();
    }
  }

  close(): Promise<void> {
    this.#wanted = false;
    return this.#next(() => this.#closeAll());
  }

  async #tryAgain(): Promise<void> {
    while (this.#wanted) {
      await sleep(this.#parts.retryMs ?? RETRY_MS, undefined, { ref: false });
      try {
        return await this.#next(async () => (this.#wanted ? this.#openAll() : undefined));
      } catch (error) {
        if (!isInUse(error)) this.#parts.log.warn("metrics, readiness or admin socket could not be opened", { error });
      }
    }
  }

  #next(step: () => Promise<void>): Promise<void> {
    const done = this.#turn.then(step);
    this.#turn = done.catch(() => {}); // The caller of this step has the error.
    return done;
  }

  async #openAll(): Promise<void> {
    if (this.#open.length > 0) return;
    const { config, admin, page, readiness, log } = this.#parts;
    const warn = (message: string, fields: Readonly<Record<string, unknown>>): void => log.warn(message, { ...fields });
    try {
      this.#open.push(await startMetricsServer(config.metrics, page, warn));
      this.#open.push(await startReadyServer(config.ready, readiness, warn));
      this.#open.push(await startAdminServer({ ...admin, warn }));
    } catch (error) {
      await this.#closeAll();
      throw error;
    }
  }

  async #closeAll(): Promise<void> {
    await Promise.all(this.#open.splice(0).map((server) => server.close()));
  }
}

const isInUse = (error: unknown): boolean => error instanceof Error && "code" in error && error.code === "EADDRINUSE";

/** Does another agent answer at the admin socket? */
export function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const done = (answered: boolean) => (): void => {
      socket.destroy();
      resolve(answered);
    };
    socket.once("connect", done(true));
    socket.once("error", done(false));
  });
}
