// test model · runs steps in a world: drawn from dice, or read from a trace; stops at the first violation.
import { Dice } from "../support/dice.ts";
import type { Kind, ModelWorld } from "./kind.ts";
import { drawStep, type Step, stepText } from "./step.ts";

export type RunResult<W> = {
  /** Steps that were taken, in order. */
  readonly trace: readonly Step[];
  readonly violations: readonly string[];
  readonly output: string;
  /** Closed; for what it counted. */
  readonly world: W;
};

export type DrawOptions<W> = {
  readonly seed: number;
  readonly kinds: readonly Kind<W>[];
  /** Over, once so many steps were taken, and each kind this often. */
  readonly steps: number;
  readonly each: number;
  /** Another world has failed: what this one would show is not needed any more. */
  readonly isOver: () => boolean;
};

type Next<W> = (world: W) => readonly [Kind<W>, Step] | undefined;

export async function runDrawn<W extends ModelWorld>(
  open: () => Promise<W>,
  { seed, kinds, steps, each, isOver }: DrawOptions<W>,
): Promise<RunResult<W>> {
  const dice = new Dice(seed);
  const taken = new Map<string, number>();
  let count = 0;
  const next: Next<W> = (world) => {
    const possible = kinds.filter(({ onlyIn }) => onlyIn?.worlds(world) !== false);
    const weighed = possible.flatMap((kind) => Array.from({ length: kind.weight ?? 1 }, () => kind));
    const missing = possible
      .filter(({ name, onlyIn }) => (taken.get(name) ?? 0) < each / (onlyIn?.shareOfWorlds ?? 1))
      .map(({ name }) => name);
    if (isOver() || (count >= steps && missing.length === 0)) return undefined;
    for (;;) {
      // Those that were taken too seldom come up as often as all others together; behind the steps asked for, hardly any others do. A few
      // are needed: a kind may mean nothing until another was taken.
      const isMissing = missing.length > 0 && dice.chance(count < steps ? 50 : 95);
      const name = isMissing ? dice.pick(missing) : dice.pick(weighed).name;
      const drawn = drawStep(dice, name);
      const kind = isMissing ? possibleOf(kinds, world, drawn) : named(kinds, name);
      const step = { ...drawn, kind: kind?.name ?? name };
      if (kind === undefined || !kind.can(world, step)) continue;
      count += 1;
      taken.set(kind.name, (taken.get(kind.name) ?? 0) + 1);
      return [kind, step];
    }
  };
  return inWorld(open, next, () => dice.roll(1_000));
}

const named = <W>(kinds: readonly Kind<W>[], name: string | undefined): Kind<W> | undefined =>
  kinds.find((kind) => kind.name === name);

/** The kind of the step, or the kind that comes before it where it means nothing yet. */
function possibleOf<W>(kinds: readonly Kind<W>[], world: W, step: Step): Kind<W> | undefined {
  let kind = named(kinds, step.kind);
  while (kind?.after !== undefined && !kind.can(world, step)) kind = named(kinds, kind.after);
  return kind;
}

/** Steps that mean nothing in the world as it is then are passed over. */
export async function runTrace<W extends ModelWorld>(
  open: () => Promise<W>,
  kinds: readonly Kind<W>[],
  trace: readonly Step[],
): Promise<RunResult<W>> {
  const left = [...trace];
  const next: Next<W> = (world) => {
    for (let step = left.shift(); step !== undefined; step = left.shift()) {
      const kind = kinds.find(({ name }) => name === step?.kind);
      if (kind?.can(world, step) === true) return [kind, step];
    }
    return undefined;
  };
  return inWorld(open, next, () => 3);
}

async function inWorld<W extends ModelWorld>(
  open: () => Promise<W>,
  next: Next<W>,
  number: () => number,
): Promise<RunResult<W>> {
  const world = await open();
  const trace: Step[] = [];
  const verbose = process.env.ORLOP_MODEL_VERBOSE !== undefined;
  try {
    while (world.violations.length === 0) {
      const drawn = next(world);
      if (drawn === undefined) break;
      const [kind, step] = drawn;
      trace.push(step);
      const before = performance.now();
      try {
        await kind.take(world, step);
        await world.hold(number());
      } catch (error) {
        world.fails(`${stepText(step)}: ${error instanceof Error ? error.message : error}`);
      }
      if (verbose) process.stderr.write(`${stepText(step)}: ${Math.round(performance.now() - before)} ms\n`);
    }
    // What the last step set going comes out by then.
    if (world.violations.length === 0) await world.hold(4);
    const { violations, output } = world;
    return { trace, violations: [...violations], output: violations.length > 0 ? output : "", world };
  } finally {
    await world.close();
  }
}
