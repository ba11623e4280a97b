// main thread · what each builder of this room returns: a part of the agent, and how it ends.

export type Built<Thing> = { readonly thing: Thing; readonly close: () => void | Promise<void> };

/** Puts a part on the stack that ends it, after all parts that were built later and may use it. */
export function keepOn<Thing>(stack: AsyncDisposableStack, { thing, close }: Built<Thing>): Thing {
  stack.defer(close);
  return thing;
}
