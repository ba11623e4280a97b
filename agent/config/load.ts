// start-up · -c FILE and ORLOP_* of the environment → the Config. Throws ConfigError with file:line:col.
import { hash } from "node:crypto";
import {
  closeSync,
  existsSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { type NodeSpec, nodeConfigKind } from "../control/kinds/node-config.ts";
import { ConfigError, type Problem, Report, type Value } from "../control/kinds/value.ts";
import { MAX_FILE_BYTES, parseYaml } from "../control/static-file/parse.ts";
import { compose } from "./compose.ts";
import type { Config } from "./config.ts";
import { mapValue, overlaid } from "./environment.ts";

/**
 * Reads the node's configuration. Mesh documents in the same file are checked by the source that reads them, not here.
 * @throws ConfigError when the file cannot be read, is not YAML, or its NodeConfig is not exactly of its schema.
 */
export function loadConfig(file: string, env: Readonly<Record<string, string | undefined>> = process.env): Config {
  return compose(file, specOf(file, nodeConfigs(file), env), env);
}

/**
 * For a program that must come up: the configuration as the file has it, which is kept, or as it was read last, with what is wrong
 * with the file now.
 * @param keepIn a directory in which nobody but root may write
 * @throws ConfigError when the file is wrong and none was kept
 */
export function loadConfigOrLast(
  file: string,
  keepIn: string,
  env: Readonly<Record<string, string | undefined>> = process.env,
): { readonly config: Config; readonly problems: readonly Problem[] } {
  const path = resolve(file);
  const copy = join(keepIn, `node-config-${hash("sha256", path, "hex").slice(0, 16)}.yaml`);
  try {
    // Read once: of a file that is just being written a second look may see what the first did not.
    const documents = nodeConfigs(file);
    const spec = specOf(file, documents, env);
    // A file without its NodeConfig may be half written: defaults in its place would be another node.
    if (documents.length > 0) keepSpec(copy, spec);
    else if (existsSync(copy)) throw new ConfigError([nodeConfigGone(file)]);
    return { config: compose(file, spec, env), problems: [] };
  } catch (error) {
    if (!(error instanceof ConfigError) || !existsSync(copy)) throw error;
    // The copy has values of the environment as it was when it was written; those of now overrule them.
    return { config: compose(file, specOf(copy, nodeConfigs(copy), env), env), problems: error.problems };
  }
}

const nodeConfigGone = (file: string): Problem => ({
  code: "ORL4107",
  from: { file, line: 0, column: 0 },
  what: "it holds no NodeConfig any more",
  why: "without it the node would be another",
  fix: "write it again; for a node of defaults alone, write a NodeConfig with spec: {}",
});

/** A program that is not root, or has no such directory, keeps nothing. */
function keepSpec(copy: string, spec: NodeSpec): void {
  // Fields that are not set are left out: their values cannot be written as YAML that is read again.
  const { mesh, kubeconfig, nodeAccess, kubeletCgroup, podsCgroup, ca, ...rest } = spec;
  const written = {
    ...rest,
    ca: Object.fromEntries(Object.entries(ca).filter(([, value]) => value !== null && value !== "")),
    ...(mesh === "" ? {} : { mesh }),
    ...(kubeconfig === "" ? {} : { kubeconfig }),
    ...(nodeAccess === null ? {} : { nodeAccess }),
    ...(podsCgroup === null ? {} : { podsCgroup }),
    ...(kubeletCgroup === "" ? {} : { kubeletCgroup }),
  };
  const text = JSON.stringify({ apiVersion: "orlop.dev/v1alpha1", kind: "NodeConfig", spec: written });
  try {
    if (existsSync(copy) && readFileSync(copy, "utf8") === text) return;
    mkdirSync(dirname(copy), { recursive: true, mode: 0o755 });
    const { uid, mode } = lstatSync(dirname(copy));
    if (uid !== process.geteuid?.() || (mode & 0o022) !== 0) return;
    const draft = `${copy}.${process.pid}`;
    writeFileSync(draft, text, { mode: 0o644 });
    renameSync(draft, copy);
  } catch {
    // The file itself is what counts; without the copy a later mistake in it is fatal, as it was before.
  }
}

const nodeConfigs = (file: string): readonly Value[] =>
  parseYaml(file, readBounded(file)).filter((document) => textOf(document, "kind") === "NodeConfig");

function specOf(
  file: string,
  [first, second]: readonly Value[],
  env: Readonly<Record<string, string | undefined>>,
): NodeSpec {
  const report = new Report();
  if (second) {
    report.error({
      code: "ORL4105",
      from: second.from,
      what: "a second NodeConfig",
      why: "a node cannot be two",
      fix: "keep one",
    });
  }
  const read = nodeConfigKind(overlaid(first ?? blank(file), env), "", report);
  report.throwIfAny();
  if (!read) throw new ConfigError([]);
  return read.spec;
}

/** The NodeConfig of a file that has none: every default. */
function blank(file: string): Value {
  const from = { file, line: 0, column: 0 };
  return mapValue(from, [
    ["apiVersion", { type: "string", value: "orlop.dev/v1alpha1", from }],
    ["kind", { type: "string", value: "NodeConfig", from }],
    ["spec", mapValue(from, [])],
  ]);
}

function readBounded(file: string): string {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(file, "r");
    if (fstatSync(descriptor).size > MAX_FILE_BYTES) throw new Error(`it is larger than ${MAX_FILE_BYTES} bytes`);
    return readFileSync(descriptor, "utf8");
  } catch (error) {
    throw new ConfigError([
      {
        code: "ORL4107",
        from: { file, line: 0, column: 0 },
        what: `cannot read it: ${error instanceof Error ? error.message : String(error)}`,
        why: "without it the node does not know which mesh it belongs to",
        fix: "give the path of a readable YAML file with -c",
      },
    ]);
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

function textOf(value: Value, name: string): string | undefined {
  const entry = value.type === "map" ? value.entries.get(name)?.value : undefined;
  return entry?.type === "string" ? entry.value : undefined;
}
