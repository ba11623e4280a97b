// test peers · cases that fail today, by the fault that breaks them. A case that passes while it is listed fails the run.
// The goal is an empty list.

/** Number of the open fault. `sometimes`: it depends on timing, so that the case may pass before the fault is mended. */
export type KnownFault = { readonly fault: number; readonly sometimes?: true };

/** Cases of h2spec that its run with CONNECTs fails: a CONNECT with END_STREAM is reset, before or after its answer. */
const halfClosedConnects = [
  "http2/4.2/1",
  "http2/4.2/2",
  "http2/5.1/5",
  "http2/5.1/6",
  "http2/5.1/7",
  "generic/2/2",
  "generic/2/3",
  "generic/2/5",
  "generic/3.1/1",
  "generic/3.1/2",
  "generic/3.1/3",
  "generic/3.2/1",
  "generic/3.2/2",
  "generic/3.2/3",
  "generic/3.3/1",
  "generic/3.3/2",
  "generic/3.3/3",
  "generic/3.3/4",
  "generic/3.3/5",
  "generic/3.9/2",
  "generic/4/1",
  "generic/4/2",
  "generic/4/3",
  "generic/4/4",
  "generic/5/1",
  "generic/5/2",
  "generic/5/3",
  "generic/5/4",
  "generic/5/5",
  "generic/5/6",
  "generic/5/7",
  "generic/5/8",
  "generic/5/9",
  "generic/5/10",
  "generic/5/11",
  "generic/5/12",
  "generic/5/13",
  "generic/5/14",
  "generic/5/15",
  "http2/5.1/13",
  "http2/6.5.3/1",
  "http2/6.9.1/1",
  "http2/6.9.2/1",
  "http2/6.9.2/2",
].map((id): [string, KnownFault] => [`h2spec: connect: ${id}`, { fault: 4, sometimes: true }]);

/** Cases that see a tunnel end without a GOAWAY. */
const silentEnds = ["http2/5.4.1/2", "http2/6.9.1/2"]
  .flatMap((id) => [`h2spec: generic: ${id}`, `h2spec: connect: ${id}`])
  .map((name): [string, KnownFault] => [name, { fault: 4 }]);

/** By case, `<part>: <name>`. */
export const knownFaults: Readonly<Record<string, KnownFault>> = {
  ...Object.fromEntries([...halfClosedConnects, ...silentEnds]),
};
