// test support · a program: the little of an API server that a healthy agent asks for, for journeys inside a namespace. It streams lists
// and watches. What goes wrong with servers is tested elsewhere: against random faults, and against a real API server.
//   node api-server.ts PORT KEY CERTIFICATE, then lines of {"kind", "namespace", "name", "body"}; body null: deleted. The line
//   "listen" opens it. {"hold": KIND} keeps a kind's events from its watches until {"pass": KIND}; a reader of one object has it as it is
import { readFileSync } from "node:fs";
import { createSecureServer, type ServerHttp2Stream } from "node:http2";
import { createInterface } from "node:readline";
import { daemonSetKind } from "../../agent/cni/cluster-facts.ts";
import { watchedKinds } from "../../agent/control/kubernetes/watched-kinds.ts";

type Held = { readonly uid: string; readonly object: object };
const [port = "", key = "", cert = ""] = process.argv.slice(2);
const daemonSets = daemonSetKind({ namespace: "orlop-system", name: "orlop-cni" });
const kinds = [...watchedKinds, daemonSets];
const held = new Map(kinds.map(({ kind }) => [kind, new Map<string, Held>()]));
const watching = new Map(kinds.map(({ kind }) => [kind, new Set<ServerHttp2Stream>()]));
/** Lines that its watches do not get yet, by kind. */
const behind = new Map<string, string[]>();
let version = 1;

const lineOf = (type: string, object: object): string => `${JSON.stringify({ type, object })}\n`;

function change(kind: string, namespace: string, name: string, body: { readonly metadata?: object } | null): void {
  const objects = held.get(kind);
  const known = objects?.get(`${namespace}/${name}`);
  version += 1;
  const uid = known?.uid ?? `00000000-0000-4000-8000-${String(version).padStart(12, "0")}`;
  const where = namespace === "" ? {} : { namespace };
  const metadata = { uid, ...body?.metadata, name, ...where, resourceVersion: String(version) };
  const object = { apiVersion: kinds.find((each) => each.kind === kind)?.apiVersion, kind, ...body, metadata };
  if (body === null) objects?.delete(`${namespace}/${name}`);
  else objects?.set(`${namespace}/${name}`, { uid: metadata.uid, object });
  const type = body === null ? "DELETED" : known === undefined ? "ADDED" : "MODIFIED";
  const line = lineOf(type, object);
  if (behind.get(kind)?.push(line) === undefined) for (const stream of watching.get(kind) ?? []) stream.write(line);
}

function pass(kind: string): void {
  for (const line of behind.get(kind) ?? []) for (const stream of watching.get(kind) ?? []) stream.write(line);
  behind.delete(kind);
}

/** An object by its own path. */
function objectAt(pathname: string): object | undefined {
  const [, , namespace, name] = /^(.*\/namespaces\/([^/]+))\/[^/]+\/([^/]+)$/.exec(pathname) ?? [];
  const alone = /^\/api\/v1\/namespaces\/([^/]+)$/.exec(pathname)?.[1];
  if (alone !== undefined) return held.get("Namespace")?.get(`/${alone}`)?.object;
  const plural = pathname.split("/").at(-2);
  const kind = kinds.find(({ path }) => path.split("/").at(-1) === plural)?.kind ?? "";
  return held.get(kind)?.get(`${namespace}/${name}`)?.object;
}

const server = createSecureServer({ key: readFileSync(key), cert: readFileSync(cert) });
server.on("sessionError", () => {});
server.on("stream", (stream, headers) => {
  stream.on("error", () => {});
  const { pathname, searchParams: query } = new URL(String(headers[":path"]), "https://server");
  const kind = kinds.find(({ path }) => path === pathname)?.kind ?? "";
  const single = objectAt(pathname);
  if (pathname === "/api/v1/namespaces/kube-system") {
    stream.respond({ ":status": 200, "content-type": "application/json" });
    stream.end(JSON.stringify({ kind: "Namespace", metadata: { name: "kube-system", uid: "box" } }));
  } else if (single !== undefined) {
    stream.respond({ ":status": 200, "content-type": "application/json" });
    stream.end(JSON.stringify(single));
  } else if (kind === "" || !query.has("watch")) {
    stream.respond({ ":status": 404, "content-type": "text/plain" });
    stream.end("404 page not found\n");
  } else if (!query.has("sendInitialEvents")) {
    // It keeps no history: a client that comes again is sent back to a list.
    stream.respond({ ":status": 410, "content-type": "application/json" });
    stream.end("{}");
  } else {
    stream.respond({ ":status": 200, "content-type": "application/json" });
    for (const { object } of held.get(kind)?.values() ?? []) stream.write(lineOf("ADDED", object));
    const annotations = { "k8s.io/initial-events-end": "true" };
    stream.write(lineOf("BOOKMARK", { kind, metadata: { resourceVersion: String(version), annotations } }));
    watching.get(kind)?.add(stream);
    stream.on("close", () => watching.get(kind)?.delete(stream));
  }
});

createInterface({ input: process.stdin }).on("line", (line) => {
  if (line === "listen") {
    server.listen(Number(port), "127.0.0.1", () => console.log("listening"));
    return;
  }
  const { hold, pass: passed, kind, namespace, name, body } = JSON.parse(line);
  if (hold !== undefined) return void behind.set(hold, []);
  if (passed !== undefined) return pass(passed);
  change(kind, namespace, name, body);
});
