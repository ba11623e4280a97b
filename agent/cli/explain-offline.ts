// CLI · orlop explain -f mesh.yaml: reads the files as the agent would and judges by the same plan and evaluator; no agent, no root.
import { type ExplainView, explainView } from "../admin/api.ts";
import { nodeConfigKind } from "../control/kinds/node-config.ts";
import type { NodeSettings } from "../control/kinds/node-settings.ts";
import { ConfigError, Report, type Value } from "../control/kinds/value.ts";
import { parseYaml } from "../control/static-file/parse.ts";
import { type FileText, readTexts, translateTexts } from "../control/static-file/read.ts";
import { positionText } from "../mesh/source-ref.ts";
import { MeshStore } from "../mesh/store.ts";
import { type DescribedRequest, explainRequest } from "../plan/explain-request.ts";
import { judgeOf } from "../policy/evaluate.ts";
import { CliFailure, exits } from "./output.ts";

/**
 * @param request null: the connection is asked about.
 * @throws CliFailure: exit 65 for a bad file, 1 for a name that is not in it.
 */
export async function explainOffline(
  path: string,
  src: string,
  dst: string,
  request: DescribedRequest | null,
): Promise<ExplainView> {
  const mesh = await meshOf(path);
  const answer = explainRequest(src, dst, { mesh, judge: judgeOf(mesh) }, request);
  if ("error" in answer) throw notThere(answer.error, path);
  return explainView(answer);
}

function notThere(what: string, path: string): CliFailure {
  return new CliFailure(exits.failed, {
    code: "ORL6004",
    what,
    why: `the question is answered from ${path} alone, by the names that are in it`,
    fix: "name a workload as <namespace>/<name>, and a service or workload with its port",
  });
}

/** @throws CliFailure: exit 65 for a bad file. */
export async function meshOf(path: string): Promise<MeshStore> {
  try {
    const texts = readTexts(path);
    const settings = settingsOf(texts);
    const store = new MeshStore({ rootNamespace: settings.rootNamespace, trustDomain: settings.trustDomain });
    store.apply(translateTexts(texts, settings).updates);
    return store;
  } catch (error) {
    const [first, ...more] = error instanceof ConfigError ? error.problems : [];
    if (first === undefined) throw error;
    const rest = more.length === 0 ? "" : ` (and ${more.length} more)`;
    const { code, from, what, why, fix } = first;
    throw new CliFailure(exits.badInput, { code, what: `${positionText(from)}: ${what}${rest}`, why, fix });
  }
}

/** Where the node is: from the NodeConfig among the files, else every default. */
function settingsOf(texts: readonly FileText[]): NodeSettings {
  const written = texts.flatMap(({ file, text }) => parseYaml(file, text)).find(isNodeConfig);
  const report = new Report();
  const spec = nodeConfigKind(written ?? blank, "", report)?.spec;
  report.throwIfAny();
  if (spec === undefined) throw new ConfigError([]);
  const { node, cluster, network, trustDomain, clusterDomain, rootNamespace } = spec;
  return {
    node,
    cluster,
    network,
    trustDomain,
    clusterDomain,
    rootNamespace,
    honourIstioLabels: spec.istioLabels === "honoured",
    runtimeClasses: spec.runtimeClasses,
  };
}

function isNodeConfig(value: Value): boolean {
  const kind = value.type === "map" ? value.entries.get("kind")?.value : undefined;
  return kind?.type === "string" && kind.value === "NodeConfig";
}

const from = { file: "", line: 0, column: 0 };
const text = (value: string): Value => ({ type: "string", value, from });
const map = (entries: readonly (readonly [string, Value])[]): Value => ({
  type: "map",
  from,
  entries: new Map(entries.map(([key, value]) => [key, { keyFrom: from, value }])),
});
const blank = map([
  ["apiVersion", text("orlop.dev/v1alpha1")],
  ["kind", text("NodeConfig")],
  ["spec", map([])],
]);
