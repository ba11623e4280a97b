// bench · many short calls, each timed by itself: p50 and p99 in microseconds. What the clock itself takes is measured and taken off.
import { quantileOf } from "../figures/statistics.ts";

export type Times = { readonly p50Us: number; readonly p99Us: number };

/** Calls `step` with 0…count-1. Warm it up before. */
export function timeEach(count: number, step: (index: number) => void): Times {
  const clock = timesOf(count, () => {});
  const times = timesOf(count, step);
  const own = quantileOf(clock, 0.5);
  const us = (quantile: number): number => Math.max(0, quantileOf(times, quantile) - own) * 1000;
  return { p50Us: us(0.5), p99Us: us(0.99) };
}

function timesOf(count: number, step: (index: number) => void): number[] {
  const times = new Float64Array(count);
  for (let index = 0; index < count; index++) {
    const begin = performance.now();
    step(index);
    times[index] = performance.now() - begin;
  }
  return [...times];
}

/** Numbers from 0 to below 1, the same for the same seed (xorshift, 32 bit). */
export function randomOf(seed: number): () => number {
  let state = (seed ^ 0x9e3779b9) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 2 ** 32;
  };
}
