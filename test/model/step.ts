// test model · a step of a run. Plain data, drawn without looking at the world, so that a trace can be replayed and cut.
import type { Dice } from "../support/dice.ts";

/** `who` and `n` mean what the kind makes of them: a pod, and whatever it has to choose. */
export type Step = { readonly kind: string; readonly who: number; readonly n: number };

export function drawStep(dice: Dice, kind: string): Step {
  return { kind, who: dice.roll(60), n: dice.roll(1_000_000) };
}

export const stepText = ({ kind, who, n }: Step): string => `${kind} ${who} ${n}`;

/** The reverse of `stepText`, a step a line; numbers before it and empty lines are passed over. */
export function readTrace(text: string): Step[] {
  return text.split("\n").flatMap((line) => {
    const [, kind, who, n] = /^\s*(?:\d+\s+)?([a-z-]+) (\d+) (\d+)\s*$/.exec(line) ?? [];
    return kind === undefined ? [] : [{ kind, who: Number(who), n: Number(n) }];
  });
}

/** A choice of `choices`, by a number of the step. */
export function pick<T>(number: number, ...choices: readonly [T, ...T[]]): T {
  return choices[number % choices.length] ?? choices[0];
}
