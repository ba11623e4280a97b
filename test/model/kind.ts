// test model · what a kind of step is, and what a world is to the runner.
import type { Step } from "./step.ts";

export type Kind<W> = {
  readonly name: string;
  /** Means the step something in the world as it is? Otherwise another kind is drawn. */
  readonly can: (world: W, step: Step) => boolean;
  readonly take: (world: W, step: Step) => Promise<void>;
  /** It is drawn so many times as often as others; 1 if it is not said. */
  readonly weight?: number;
  /** The kind after which it means something: taken in its place while this kind is short and means nothing. */
  readonly after?: string;
  /** Worlds in which it never means anything are left out, so that it is taken more often in the others. */
  readonly onlyIn?: { readonly worlds: (world: W) => boolean; readonly shareOfWorlds: number };
};

export type ModelWorld = {
  /** What was seen and must not be. */
  readonly violations: readonly string[];
  fails(why: string): void;
  /** Holds the world to what is expected of it after a step; `n` is a number of the run's dice. */
  hold(n: number): Promise<void>;
  /** What the programs said last. */
  readonly output: string;
  close(): Promise<void>;
};
