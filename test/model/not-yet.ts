// test model · kinds of steps that the product does not survive yet, each with the item it waits for and a trace that shows it.
// The test of the model fails when an entry is survived: then it leaves this list and is drawn with the others.

export type NotYet = {
  readonly kind: string;
  readonly item: string;
  readonly trace: string;
  readonly oneFile?: boolean;
};

export const notYet: readonly NotYet[] = [{ kind: "paused", item: "A6", trace: "paused 0 3" }];

/** The same for the model of connections. */
export const linksNotYet: readonly Omit<NotYet, "oneFile">[] = [
  { kind: "membership", item: "A5", trace: "membership 2 0\ncall-plain 1 0\nmode 2 0\nmembership 2 0" },
  { kind: "call-mute", item: "B3", trace: "call-mute 0 0\nrules 2 3" },
  { kind: "call-mptcp", item: "B (MPTCP)", trace: "call-mptcp 0 0\nmode 2 0" },
];
