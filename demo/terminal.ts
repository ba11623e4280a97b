// demo · where the demo writes, so that tests can call it as a function.

export type Terminal = {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
};

/** Exit statuses: 64 is sysexits.h's EX_USAGE. */
export const exits = { ok: 0, failed: 1, usage: 64 } as const;
