// test support · a program: as much of an API server as `orlop control` asks, for journeys inside a namespace. It writes the roots that are
// published into a file, as a kubelet mounts them.
//   node authority-api.ts PORT KEY CERTIFICATE ROOTS, then lines of JSON: {"pod": …}, {"token", "pod"}, {"gone": name of a pod},
//   {"secret": data}. It prints `listening`, and `published` whenever the roots have changed
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { createSecureServer, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { FakeApi, type FakePod } from "../../agent/authority/api.fake.ts";

export type AuthorityApiLine = {
  readonly pod?: FakePod;
  readonly token?: string;
  readonly gone?: string;
  readonly secret?: Readonly<Record<string, string>>;
};

const FOLDER = "/api/v1/namespaces/orlop-system";
const [port = "", key = "", cert = "", rootsFile = ""] = process.argv.slice(2);
const api = new FakeApi();
let published = "";

/** In one step, as the kubelet does it. */
function mountRoots(): void {
  const roots = api.dataOf(`${FOLDER}/configmaps/orlop-root-cert`)["root-cert.pem"] ?? "";
  if (roots === published) return;
  published = roots;
  writeFileSync(`${rootsFile}.draft`, roots, { mode: 0o644 });
  renameSync(`${rootsFile}.draft`, rootsFile);
  console.log("published");
}

async function serve(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
  const body = await text(stream);
  const given = body === "" ? null : (JSON.parse(body) as object);
  const [status, object] = api.handle(String(headers[":method"]), String(headers[":path"]), given);
  stream.respond({ ":status": status, "content-type": "application/json" });
  stream.end(JSON.stringify(object));
  mountRoots();
}

const server = createSecureServer({ key: readFileSync(key), cert: readFileSync(cert) });
server.on("sessionError", () => {});
server.on("stream", (stream, headers) => {
  stream.on("error", () => {});
  // Who asks may go in the middle.
  serve(stream, headers).catch(() => stream.close());
});
server.listen(Number(port), "127.0.0.1", () => console.log("listening"));

createInterface({ input: process.stdin }).on("line", (line) => {
  const { pod, token, gone, secret } = JSON.parse(line) as AuthorityApiLine;
  if (secret !== undefined) api.put(`${FOLDER}/secrets/orlop-control-root`, { data: secret });
  const at = api.pods.findIndex(({ name }) => name === gone);
  if (at >= 0) api.pods.splice(at, 1);
  if (pod === undefined) return;
  if (token === undefined) api.pods.push(pod);
  else api.issueToken(token, pod);
});
