// main thread · the order to stop: SIGINT or SIGTERM, from a terminal, from `orlop run` or from both.

/** Aborts at the first signal. Later signals have no effect, so that they do not cut a drain short. */
export function stopSignal(): AbortSignal {
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => stop.abort());
  return stop.signal;
}

/** Resolves when the signal aborts, at once if it has. Never rejects. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
