// main thread · where an API server is and how the agent proves itself to it: the files of the pod's service account, or a kubeconfig.
import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { excerpt, list, optional, type Read, type Reader, required, string } from "../kinds/schema.ts";
import { ConfigError, quoted, Report, type Value, wrong } from "../kinds/value.ts";
import { parseYaml } from "../static-file/parse.ts";

export type ApiServer = {
  /** `https://host:port`. */
  readonly server: string;
  /** PEM of the authorities that may have signed the server's certificate. Read for each connection. @throws the file system's errors */
  readonly ca: () => string;
  /** Empty: the client has none. Read for each question: the kubelet renews it about every hour. @throws the file system's errors */
  readonly token: () => string;
  /** PEM; null: the client proves itself by a token. */
  readonly client: { readonly cert: string; readonly key: string } | null;
};

/** Where Kubernetes mounts it in a pod. */
export const SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";

/** Credentials of a pod's service account. Authority and token are read from their files at each use, since the kubelet replaces them. */
export function serviceAccount(server: string, directory: string = SERVICE_ACCOUNT): ApiServer {
  const file = (name: string) => (): string => readFileSync(join(directory, name), "utf8").trim();
  return { server, ca: file("ca.crt"), token: file("token"), client: null };
}

/** Certificates in base64 are longer than any other text that is read. */
const data: Reader<string> = (value, path, report) =>
  value.type === "string" ? value.value : string(value, path, report);
const listOf = <T>(field: string, item: Reader<T>) =>
  list(
    excerpt({ name: required(string), [field]: required(item) }) as Reader<
      { readonly name: string } & Record<string, T>
    >,
  );
const clusterOf = excerpt({
  server: required(string),
  "certificate-authority": optional(string, ""),
  "certificate-authority-data": optional(data, ""),
});
const userOf = excerpt({
  token: optional(data, ""),
  tokenFile: optional(string, ""),
  "client-certificate": optional(string, ""),
  "client-certificate-data": optional(data, ""),
  "client-key": optional(string, ""),
  "client-key-data": optional(data, ""),
});
const contextOf = excerpt({ cluster: required(string), user: required(string) });
const kubeconfigKind = excerpt({
  "current-context": required(string),
  clusters: required(listOf("cluster", clusterOf)),
  users: required(listOf("user", userOf)),
  contexts: required(listOf("context", contextOf)),
});

/**
 * The current context of a kubeconfig (`kubectl config view`), read once but for a token that is in a file of its own.
 * @throws ConfigError
 */
export function kubeconfig(file: string): ApiServer {
  const report = new Report();
  const [document] = parseYaml(file, textOf(file));
  const whole: Value = document ?? { type: "null", from: { file, line: 0, column: 0 } };
  const read = kubeconfigKind(whole, "", report);
  report.throwIfAny();
  if (read === undefined) throw new ConfigError([]);
  const found = currentOf(read, whole, report);
  report.throwIfAny();
  if (found === undefined) throw new ConfigError([]);
  const { cluster, user } = found;
  const beside = (path: string): string => textOf(resolve(dirname(file), path));
  const either = (path: string, inline: string): string =>
    inline === "" ? (path === "" ? "" : beside(path)) : Buffer.from(inline, "base64").toString("utf8");
  const ca = either(cluster["certificate-authority"], cluster["certificate-authority-data"]);
  const cert = either(user["client-certificate"], user["client-certificate-data"]);
  const key = either(user["client-key"], user["client-key-data"]);
  const { token, tokenFile } = user;
  return {
    server: cluster.server,
    ca: () => ca,
    token: () => (tokenFile === "" ? token : beside(tokenFile).trim()),
    client: cert === "" ? null : { cert, key },
  };
}

type CurrentContext = { readonly cluster: Read<typeof clusterOf>; readonly user: Read<typeof userOf> };

function currentOf(read: Read<typeof kubeconfigKind>, { from }: Value, report: Report): CurrentContext | undefined {
  const current = read["current-context"];
  const context = read.contexts.find(({ name }) => name === current)?.context;
  const cluster = read.clusters.find(({ name }) => name === context?.cluster)?.cluster;
  const user = read.users.find(({ name }) => name === context?.user)?.user;
  if (cluster === undefined || user === undefined) {
    const why = "the agent would not know which API server to ask, and as whom";
    return wrong(from, `context ${quoted(current)} has no cluster or no user`, why, "correct current-context", report);
  }
  if (!cluster.server.startsWith("https://")) {
    const why = "anybody on the way could answer for the API server";
    return wrong(from, `${quoted(cluster.server)} is no https address`, why, "write https://host:port", report);
  }
  if (
    user.token === "" &&
    user.tokenFile === "" &&
    user["client-certificate"] + user["client-certificate-data"] === ""
  ) {
    const why = "the agent runs no other programs (exec, auth-provider) to prove itself";
    const fix = "name a user with a token, a token file or a client certificate";
    return wrong(from, `the user of context ${quoted(current)} has no token and no certificate`, why, fix, report);
  }
  return { cluster, user };
}

function textOf(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const from = { file, line: 0, column: 0 };
    const what = `cannot read it: ${error instanceof Error ? error.message : String(error)}`;
    const why = "without it the agent cannot ask the API server";
    throw new ConfigError([{ code: "ORL4107", from, what, why, fix: "give the path of a readable file" }]);
  }
}
