// test model · kinds of steps that the product does not survive yet, each with the item it waits for and a trace that shows it.
// The test of the model fails when an entry is survived: then it leaves this list and is drawn with the others.

export type NotYet = {
  readonly kind: string;
  readonly item: string;
  readonly trace: string;
  readonly oneFile?: boolean;
};

export const notYet: readonly NotYet[] = [];

/** The same for the model of connections. */
export const linksNotYet: readonly Omit<NotYet, "oneFile">[] = [];
