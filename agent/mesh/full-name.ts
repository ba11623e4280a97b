// any thread · the name of an object together with its namespace. Pure.

export type NamespacedName = { readonly namespace: string; readonly name: string };

/** `<namespace>/<name>`: the key of services and policies in every index and update, and how people write an object. */
export function fullName({ namespace, name }: NamespacedName): string {
  return `${namespace}/${name}`;
}

/** The namespace in a full name. */
export function namespaceOf(key: string): string {
  return key.slice(0, key.indexOf("/"));
}

/** `<namespace>/<name>[<rule>]`; without brackets when `rule` is -1, the object as a whole. */
export function ruleName(rule: NamespacedName & { readonly rule: number }): string {
  return rule.rule < 0 ? fullName(rule) : `${fullName(rule)}[${rule.rule}]`;
}
