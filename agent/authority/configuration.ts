// start-up · -c FILE of `orlop control` → its configuration and the API server that it asks. Throws ConfigError with file:line:col.
import { dirname, resolve } from "node:path";
import { type ControlSpec, controlConfigKind } from "../control/kinds/control-config.ts";
import { ConfigError, Report, type Value } from "../control/kinds/value.ts";
import { type ApiServer, kubeconfig, serviceAccount } from "../control/kubernetes/credentials.ts";
import { parseYaml } from "../control/static-file/parse.ts";
import { readBoundedFile } from "../identity/root-bundle.ts";

export type ControlConfiguration = { readonly spec: ControlSpec; readonly api: ApiServer };

const MAX_BYTES = 1024 * 1024;

type Environment = Readonly<Record<string, string | undefined>>;

/** @throws ConfigError: it cannot be read, is not exactly one ControlConfig, or says of no API server where it is */
export function readControlConfiguration(file: string, env: Environment = process.env): ControlConfiguration {
  const whole = { file, line: 0, column: 0 };
  const isControl = (document: Value): boolean => {
    const kind = document.type === "map" ? document.entries.get("kind")?.value : undefined;
    return kind?.type === "string" && kind.value === "ControlConfig";
  };
  const [document, second] = parseYaml(file, textOf(file)).filter(isControl);
  const why = "the authority would not know whose certificates it may sign";
  if (document === undefined || second !== undefined) {
    const what = document === undefined ? "no ControlConfig" : "a second ControlConfig";
    const fix = document === undefined ? "write kind: ControlConfig with spec: {}" : "keep one";
    throw new ConfigError([{ code: "ORL4105", from: second?.from ?? whole, what, why, fix }]);
  }
  const report = new Report();
  const read = controlConfigKind(document, "", report);
  report.throwIfAny();
  if (read === undefined) throw new ConfigError([]);
  const spec = {
    ...read.spec,
    untaintNodes: read.spec.untaintNodes || env.ORLOP_UNTAINT_NODES === "true",
    routeStatus: read.spec.routeStatus || env.ORLOP_ROUTE_STATUS === "true",
  };
  return { spec, api: apiOf(file, spec, env) };
}

function apiOf(file: string, spec: ControlSpec, env: Environment): ApiServer {
  if (spec.kubeconfig !== "") return kubeconfig(resolve(dirname(file), spec.kubeconfig));
  const { KUBERNETES_SERVICE_HOST: host = "", KUBERNETES_SERVICE_PORT: port = "443" } = env;
  if (host !== "") return serviceAccount(`https://${host.includes(":") ? `[${host}]` : host}:${port}`);
  throw new ConfigError([
    {
      ...{ code: "ORL4105", from: { file, line: 0, column: 0 } },
      what: "no kubeconfig, and this is no pod of a cluster",
      why: "only in a pod does the environment say where the API server is (KUBERNETES_SERVICE_HOST)",
      fix: "run it in a pod, or name a kubeconfig",
    },
  ]);
}

function textOf(file: string): string {
  try {
    return readBoundedFile(file, MAX_BYTES);
  } catch (error) {
    const what = `cannot read it: ${error instanceof Error ? error.message : String(error)}`;
    const why = "the authority would not know whose certificates it may sign";
    const fix = "give the path of a readable YAML file with -c";
    throw new ConfigError([{ code: "ORL4107", from: { file, line: 0, column: 0 }, what, why, fix }]);
  }
}
