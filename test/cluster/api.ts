// test cluster · asks the API server as the kubeconfig says, to know when the cluster is ready.
import { readFileSync } from "node:fs";
import { request } from "node:https";

export type Answer = { readonly status: number; readonly body: string };

type Kubeconfig = {
  readonly clusters: readonly {
    readonly cluster: { readonly server: string; readonly "certificate-authority-data": string };
  }[];
  readonly users: readonly {
    readonly user: { readonly "client-certificate-data": string; readonly "client-key-data": string };
  }[];
};

/** GET of one path. Status 0: no answer came within five seconds. The file was written by `kubeconfig()` of programs.ts. */
export const ask = (file: string, path: string): Promise<Answer> => send(file, "GET", path);

/** What `send` may send. A PATCH is a JSON merge patch (RFC 7396). */
export type Method = "GET" | "POST" | "PATCH" | "DELETE";

/** As `ask`, with an object in the body. A change without an answer may have happened. */
export function send(file: string, method: Method, path: string, object?: object): Promise<Answer> {
  const { clusters, users } = JSON.parse(readFileSync(file, "utf8")) as Kubeconfig;
  const [cluster, user] = [clusters[0]?.cluster, users[0]?.user];
  if (cluster === undefined || user === undefined) throw new Error(`${file} names no cluster or no user`);
  const decode = (text: string): Buffer => Buffer.from(text, "base64");
  return new Promise((resolve) => {
    const failed = (): void => resolve({ status: 0, body: "" });
    const type = method === "PATCH" ? "application/merge-patch+json" : "application/json";
    const options = {
      ...{ method, ca: decode(cluster["certificate-authority-data"]), agent: false, timeout: 5_000 },
      ...{ cert: decode(user["client-certificate-data"]), key: decode(user["client-key-data"]) },
      headers: object === undefined ? {} : { "content-type": type },
    };
    const asked = request(new URL(path, cluster.server), options, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (text: string) => {
        body += text;
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
      response.on("error", failed);
    });
    asked.on("timeout", () => asked.destroy());
    asked.on("error", failed);
    asked.end(object === undefined ? undefined : JSON.stringify(object));
  });
}

type NodeList = {
  readonly items: readonly {
    readonly metadata: { readonly name: string };
    readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
  }[];
};

/** Names of the nodes whose kubelet says Ready, in the text of a NodeList. */
export function readyNodes(list: string): readonly string[] {
  const { items } = JSON.parse(list) as NodeList;
  const isReady = (node: NodeList["items"][number]): boolean =>
    node.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") ?? false;
  return items.filter(isReady).map(({ metadata }) => metadata.name);
}
