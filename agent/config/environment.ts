// start-up · ORLOP_* of the environment, laid over a NodeConfig before it is checked. Pure.
import type { MapEntry, Value } from "../control/kinds/value.ts";

/**
 * Environment names and the spec fields they overrule. Others that begin with ORLOP_ are somebody else's (Kubernetes
 * injects ORLOP_SERVICE_HOST into a pod when a Service is called orlop) and are left alone.
 */
const overrides: Readonly<Record<string, { readonly path: readonly string[]; readonly type: "string" | "number" }>> = {
  ORLOP_NODE: { path: ["node"], type: "string" },
  ORLOP_CLUSTER: { path: ["cluster"], type: "string" },
  ORLOP_NETWORK: { path: ["network"], type: "string" },
  ORLOP_TRUST_DOMAIN: { path: ["trustDomain"], type: "string" },
  ORLOP_RUN_DIR: { path: ["runDir"], type: "string" },
  ORLOP_STATE_DIR: { path: ["stateDir"], type: "string" },
  ORLOP_BPFFS: { path: ["bpffs"], type: "string" },
  ORLOP_PODS_CGROUP: { path: ["podsCgroup"], type: "string" },
  ORLOP_MESH: { path: ["mesh"], type: "string" },
  ORLOP_CA_ROOT_FILE: { path: ["ca", "rootFile"], type: "string" },
  ORLOP_CA_ADDRESS: { path: ["ca", "address"], type: "string" },
  ORLOP_TLS_RECORD_LAYER: { path: ["tls", "recordLayer"], type: "string" },
  ORLOP_DATA_THREADS: { path: ["dataThreads"], type: "number" },
  ORLOP_LOG_LEVEL: { path: ["log", "level"], type: "string" },
  ORLOP_LOG_ACCESS: { path: ["log", "access"], type: "string" },
  ORLOP_LOG_REQUESTS: { path: ["log", "requests"], type: "string" },
};

/** The document with the environment's values laid over its spec; a mistake in one is reported under the variable's name. */
export function overlaid(document: Value, env: Readonly<Record<string, string | undefined>>): Value {
  let out = document;
  for (const [name, { path, type }] of Object.entries(overrides)) {
    const given = env[name];
    if (given === undefined) continue;
    const from = { file: `environment ${name}`, line: 0, column: 0 };
    const isNumber = type === "number" && /^-?[0-9]{1,15}$/.test(given);
    const value: Value = isNumber
      ? { type: "number", value: Number(given), from }
      : { type: "string", value: given, from };
    out = withPath(out, ["spec", ...path], value);
  }
  return out;
}

function withPath(target: Value, path: readonly string[], value: Value): Value {
  const [name, ...rest] = path;
  if (name === undefined) return value;
  // What is not a map is left as it is: the schema reports it at its own position.
  if (target.type !== "map") return target;
  const old: MapEntry | undefined = target.entries.get(name);
  const child = withPath(old?.value ?? mapValue(value.from, []), rest, value);
  return {
    ...target,
    entries: new Map(target.entries).set(name, { keyFrom: old?.keyFrom ?? value.from, value: child }),
  };
}

/** A map that counts as written at `from`: each key has the position of its value. */
export function mapValue(from: Value["from"], entries: readonly (readonly [string, Value])[]): Value {
  return {
    type: "map",
    from,
    entries: new Map(entries.map(([name, value]) => [name, { keyFrom: value.from, value }])),
  };
}
