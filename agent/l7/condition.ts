// 20 · any thread · whether a text is what a condition of a route wants. Pure; an expression's table is made when it is first needed on a
// thread, and goes with its route.
import type { NamedValue } from "../mesh/http-rule.ts";
import { type Automaton, automatonOf } from "./expression.ts";

const automata = new WeakMap<object, Automaton["takes"]>();

/** Of a condition of kind "expression": whether its value takes the whole text. */
export function isTaken(condition: Pick<NamedValue, "value">, text: string): boolean {
  const known = automata.get(condition);
  if (known !== undefined) return known(text);
  const made = automatonOf(condition.value);
  // Readers of routes let no such expression through; if it comes all the same, it takes nothing.
  const takes = "what" in made ? (): boolean => false : made.takes;
  automata.set(condition, takes);
  return takes(text);
}
