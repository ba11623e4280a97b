// Policies as an API server shows them, and objects that cannot be read whole: each place of one broken once.
import type {
  AuthorizationPolicy,
  Cidr,
  Condition,
  Operation,
  PathMatch,
  PeerAuthentication,
  Rule,
  Source,
} from "../../agent/mesh/policies.ts";
import type { Dice } from "../support/dice.ts";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };
export type JsonObject = { readonly [name: string]: Json };
export type Path = readonly (string | number)[];

/** A Service of this name is there, so that a targetRef to it can be placed. */
export const TARGET_SERVICE = "target";

export function authorizationPolicyJson(dice: Dice, policy: AuthorizationPolicy): JsonObject {
  const { name, namespace, dryRun, selector, action, rules } = policy;
  const scope =
    selector === null && dice.chance(10)
      ? { targetRefs: [{ group: "", kind: "Service", name: TARGET_SERVICE }] }
      : selectorJson(selector);
  const custom = dice.chance(8) ? { action: "CUSTOM", provider: { name: "opa" } } : { action };
  return {
    metadata: { name, namespace, annotations: dryRun ? { "istio.io/dry-run": "true" } : {} },
    spec: { ...scope, ...custom, rules: rules.map(ruleJson) },
  };
}

export function peerAuthenticationJson(peers: PeerAuthentication): JsonObject {
  const { name, namespace, selector, mode, portLevel } = peers;
  const ports = Object.entries(portLevel).map(([port, of]): [string, Json] => [port, { mode: of }]);
  const portLevelMtls = ports.length === 0 ? {} : { portLevelMtls: Object.fromEntries(ports) };
  return { metadata: { name, namespace }, spec: { ...selectorJson(selector), mtls: { mode }, ...portLevelMtls } };
}

function selectorJson(selector: Readonly<Record<string, string>> | null): JsonObject {
  return selector === null ? {} : { selector: { matchLabels: selector } };
}

function ruleJson({ sources, operations, when }: Rule): JsonObject {
  return filled({
    from: sources.map((source) => ({ source: entryJson(source) })),
    to: operations.map((operation) => ({ operation: entryJson(operation) })),
    when: when.map(conditionJson),
  });
}

/** Without its unreadable fields: those are made by breaking. */
function entryJson({ unreadable, ...fields }: Source | Operation): JsonObject {
  const written = Object.entries(fields).map(([name, values]): [string, readonly Json[]] => [name, values.map(text)]);
  return filled(Object.fromEntries(written));
}

function conditionJson({ key, strings, cidrs, ports, notStrings, notCidrs, notPorts }: Condition): JsonObject {
  const values = [...strings, ...cidrs, ...ports].map(text);
  const notValues = [...notStrings, ...notCidrs, ...notPorts].map(text);
  return { key, ...filled({ values, notValues }) };
}

/** An empty list is not written. */
function filled(lists: Readonly<Record<string, readonly Json[]>>): JsonObject {
  return Object.fromEntries(Object.entries(lists).filter(([, list]) => list.length > 0));
}

function text(value: PathMatch | Cidr | string | number): string {
  if (typeof value !== "object") return String(value);
  if (!("kind" in value)) return value.text;
  if (value.kind === "presence") return "*";
  return value.kind === "prefix" ? `${value.value}*` : value.kind === "suffix" ? `*${value.value}` : value.value;
}

/** Maps whose fields are anybody's: another one in them is not unknown. */
const openMaps = new Set(["matchLabels", "annotations", "metadata"]);

export type Broken = { readonly path: Path; readonly object: JsonObject; readonly without: JsonObject };

/** The object with a value that no schema reads where it is, or a field that no schema knows, anywhere below the object's name. */
export function broken(dice: Dice, object: JsonObject): Broken {
  const paths = [...pathsOf(object, [])].filter(([first, second]) => first === "spec" || second === "annotations");
  const path = dice.pick(paths);
  const value = at(object, path);
  const last = path.at(-1);
  const parent = path.at(-2);
  if (isMap(value) && !openMaps.has(String(last)) && parent !== "portLevelMtls" && dice.chance(40)) {
    return {
      path,
      object: changed(object, path, { ...value, newer: dice.pick<Json>(["x", 1, [], {}]) }),
      without: object,
    };
  }
  const garbage: readonly Json[] =
    typeof value === "string" ? [5, true, [], {}] : Array.isArray(value) ? [5, "x", {}] : [5, "x", []];
  return { path, object: changed(object, path, dice.pick(garbage)), without: changed(object, path, undefined) };
}

function* pathsOf(value: Json, path: Path): Generator<Path> {
  if (path.length > 0) yield path;
  if (Array.isArray(value)) for (const [index, item] of value.entries()) yield* pathsOf(item, [...path, index]);
  else if (isMap(value)) for (const [name, item] of Object.entries(value)) yield* pathsOf(item, [...path, name]);
}

function at(value: Json, path: Path): Json {
  return path.reduce<Json>((from, step) => (from as Readonly<Record<string | number, Json>>)[step] ?? null, value);
}

/** @param to undefined: without it. */
function changed<T extends Json>(value: T, [step, ...rest]: Path, to: Json | undefined): T {
  if (step === undefined) return value;
  const child = (value as Readonly<Record<string | number, Json>>)[step] ?? null;
  const next = rest.length === 0 ? to : changed(child, rest, to);
  if (Array.isArray(value))
    return value.flatMap((item, index) => (index === step ? (next === undefined ? [] : [next]) : [item])) as Json as T;
  const entries = Object.entries(value as JsonObject).flatMap(([name, item]) =>
    name === step ? (next === undefined ? [] : [[name, next] as const]) : [[name, item] as const],
  );
  return Object.fromEntries(entries) as Json as T;
}

function isMap(value: Json): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
