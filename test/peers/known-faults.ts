// test peers · cases that fail today, by the fault that breaks them. A case that passes while it is listed fails the run.
// The goal is an empty list.

/** Case (`<part>: <name>`) → number of the open fault. */
export const knownFaults: Readonly<Record<string, number>> = {
  "envoy: terminator: 1 streams a tunnel, 80 connections at once": 2,
  "envoy: terminator: 5 streams a tunnel, 80 connections at once": 2,
};
