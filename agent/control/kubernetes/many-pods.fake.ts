// tests · a program: an API server with very many pods of the size that pods have. Sends its port to its parent, and takes changes from it.
//   fork("many-pods.fake.ts", [pods, "stream" | "pages", key file, certificate file])
import { readFileSync } from "node:fs";
import { createSecureServer, type ServerHttp2Stream } from "node:http2";
import { gzipSync } from "node:zlib";

const [pods = "0", way = "stream", key = "", cert = ""] = process.argv.slice(2);
const COUNT = Number(pods);
const namespaces = 50;

/** About 5 kB, most of it of no use to a mesh. */
function podOf(nth: number, version: number): object {
  const name = `app-${nth % 400}-6d4cf56db6-${nth.toString(36).padStart(5, "0")}`;
  const env = Array.from({ length: 40 }, (_, at) => ({ name: `SETTING_${at}`, value: `value-${at}-of-${nth % 400}` }));
  const volumeMounts = Array.from({ length: 6 }, (_, at) => ({
    name: `volume-${at}`,
    mountPath: `/var/lib/app/${at}`,
  }));
  const managed = { manager: "kubelet", operation: "Update", apiVersion: "v1", fieldsType: "FieldsV1" };
  const fields = Array.from({ length: 24 }, (_, at) => [`f:field-${at}`, { "f:inner": {}, "k:{}": {} }]);
  return {
    metadata: {
      ...{
        name,
        namespace: `team-${nth % namespaces}`,
        uid: `00000000-0000-4000-8000-${String(nth).padStart(12, "0")}`,
      },
      ...{ resourceVersion: String(version), creationTimestamp: "2026-01-01T00:00:00Z" },
      labels: { app: `app-${nth % 400}`, "pod-template-hash": "6d4cf56db6", team: `team-${nth % namespaces}` },
      annotations: { "kubectl.kubernetes.io/last-applied-configuration": JSON.stringify({ env: env.slice(0, 8) }) },
      ownerReferences: [
        { apiVersion: "apps/v1", kind: "ReplicaSet", name: `app-${nth % 400}-6d4cf56db6`, controller: true, uid: "u" },
      ],
      managedFields: [{ ...managed, fieldsV1: Object.fromEntries(fields) }],
    },
    spec: {
      nodeName: `node-${nth % 500}`,
      serviceAccountName: `app-${nth % 400}`,
      containers: [
        {
          ...{ name: "app", image: `registry.example/app-${nth % 400}:1.2.3`, env, volumeMounts },
          ports: [{ name: "http", containerPort: 8080, protocol: "TCP" }],
          livenessProbe: { httpGet: { path: "/healthz", port: "http", scheme: "HTTP" }, periodSeconds: 10 },
        },
      ],
    },
    status: {
      phase: "Running",
      podIPs: [{ ip: `10.${nth >> 16}.${(nth >> 8) & 255}.${nth & 255}` }],
      conditions: [{ type: "Ready", status: "True", lastTransitionTime: "2026-01-01T00:00:00Z" }],
    },
  };
}

const other: Readonly<Record<string, readonly [kind: string, items: readonly object[]]>> = {
  "/api/v1/namespaces": [
    "Namespace",
    Array.from({ length: namespaces }, (_, nth) => ({
      metadata: {
        ...{ name: `team-${nth}`, uid: `n${nth}`, resourceVersion: "1" },
        labels: { "orlop.dev/dataplane-mode": "ambient" },
      },
    })),
  ],
  "/api/v1/services": ["Service", []],
  "/apis/discovery.k8s.io/v1/endpointslices": ["EndpointSlice", []],
  "/apis/security.istio.io/v1/peerauthentications": ["PeerAuthentication", []],
  "/apis/security.istio.io/v1/authorizationpolicies": ["AuthorizationPolicy", []],
  "/apis/gateway.networking.k8s.io/v1/httproutes": ["HTTPRoute", []],
  "/apis/gateway.networking.k8s.io/v1/grpcroutes": ["GRPCRoute", []],
  "/apis/gateway.networking.k8s.io/v1/tlsroutes": ["TLSRoute", []],
  "/apis/gateway.networking.k8s.io/v1/tcproutes": ["TCPRoute", []],
  "/apis/orlop.dev/v1alpha1/limitpolicies": ["LimitPolicy", []],
};
const watching: ServerHttp2Stream[] = [];
let version = COUNT;

const server = createSecureServer({ key: readFileSync(key), cert: readFileSync(cert) });
server.on("sessionError", () => {});
server.on("stream", (stream, headers) => {
  stream.on("error", () => {});
  const { pathname, searchParams: query } = new URL(String(headers[":path"]), "https://server");
  const json = { "content-type": "application/json" };
  if (pathname === "/api/v1/namespaces/kube-system") {
    stream.respond({ ":status": 200, ...json });
    stream.end(JSON.stringify({ kind: "Namespace", metadata: { name: "kube-system", uid: "many" } }));
  } else if (query.has("sendInitialEvents") && way !== "stream") {
    stream.respond({ ":status": 422, ...json });
    stream.end("{}");
  } else if (query.has("watch")) {
    stream.respond({ ":status": 200, ...json });
    if (pathname === "/api/v1/pods") watching.push(stream);
    if (query.has("sendInitialEvents")) void sendAll(stream, pathname);
  } else list(stream, pathname, query);
});

async function sendAll(stream: ServerHttp2Stream, path: string): Promise<void> {
  const [kind = "Pod", items = []] = other[path] ?? [];
  const count = path === "/api/v1/pods" ? COUNT : items.length;
  for (let nth = 0; nth < count; nth++) {
    const object = { kind, ...(items[nth] ?? podOf(nth, nth + 1)) };
    if (!stream.write(`${JSON.stringify({ type: "ADDED", object })}\n`))
      await new Promise((resolve) => stream.once("drain", resolve));
  }
  const annotations = { "k8s.io/initial-events-end": "true" };
  const object = { kind, metadata: { resourceVersion: String(version), annotations } };
  stream.write(`${JSON.stringify({ type: "BOOKMARK", object })}\n`);
}

function list(stream: ServerHttp2Stream, path: string, query: URLSearchParams): void {
  const [kind = "Pod", all = []] = other[path] ?? [];
  const from = Number(query.get("continue") ?? 0);
  const limit = Number(query.get("limit"));
  const count = path === "/api/v1/pods" ? COUNT : all.length;
  const length = Math.min(limit, count - from);
  const items = Array.from({ length }, (_, at) => all[from + at] ?? podOf(from + at, from + at + 1));
  const next = from + length < count ? { continue: String(from + length) } : {};
  const text = JSON.stringify({ kind: `${kind}List`, metadata: { resourceVersion: String(version), ...next }, items });
  stream.respond({ ":status": 200, "content-type": "application/json", "content-encoding": "gzip" });
  stream.end(gzipSync(text, { level: 1 }));
}

/** The parent names a pod, which changes. */
process.on("message", (nth: number) => {
  version += 1;
  for (const stream of watching)
    stream.write(`${JSON.stringify({ type: "MODIFIED", object: { kind: "Pod", ...podOf(nth, version) } })}\n`);
});
process.on("disconnect", () => process.exit());
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  process.send?.(typeof address === "object" && address !== null ? address.port : 0);
});
