// fuzz · `node test/fuzz/seeds.ts` writes the first inputs of the targets in targets.ts, those that are missing. What fuzzing
// found is committed beside them by hand.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import * as abi from "../../agent/abi.ts";
import { encodeCertificateAnswer, encodeCertificateRequest } from "../../agent/identity/certificate-messages.ts";
import { requestOfKind } from "../../agent/identity/csr.fake.ts";
import { newRequest } from "../../agent/identity/csr.ts";
import { frameGrpcMessage } from "../../agent/identity/grpc-message.ts";
import { PROTOCOL_VERSION } from "../../agent/keeper/protocol.ts";
import { acceptedHeads, refusedHeads } from "../http/cases.ts";
import { chunkCases } from "../http/chunk-cases.ts";
import type { HeadKind } from "../http/head.ts";
import { dns, HostileAuthority, hostileSans, ip, uri } from "../support/hostile-certificates.ts";

const identity = "spiffe://cluster.local/ns/shop/sa/web";

function certificates(): Buffer[] {
  const authority = new HostileAuthority();
  const some = hostileSans().filter((_, index) => index % 6 === 0);
  return [
    authority.root.der,
    authority.leaf({ extensions: [] }).der,
    authority.named(uri(identity)).der,
    authority.named(uri(identity), dns("web.shop"), ip(10, 0, 0, 1)).der,
    ...some.map(({ names }) => authority.named(...names).der),
  ];
}

/** With a name, without extensions, and with a name in records of a few bytes each. */
function helloSeeds(): Buffer[] {
  const hello = (extensions: readonly number[]): Buffer => {
    const body = [3, 3, ...Array.from({ length: 32 }, () => 7), 0, 0, 2, 19, 1, 1, 0, ...extensions];
    return Buffer.from([1, 0, 0, body.length, ...body]);
  };
  const inRecords = (message: Buffer, size: number): Buffer =>
    Buffer.concat(
      Array.from({ length: Math.ceil(message.length / size) }, (_, nth) => {
        const part = message.subarray(nth * size, (nth + 1) * size);
        return Buffer.concat([Buffer.from([22, 3, 1, 0, part.length]), part]);
      }),
    );
  const named = hello([0, 12, 0, 0, 0, 8, 0, 6, 0, 0, 3, 97, 46, 98]);
  return [inRecords(named, 200), inRecords(hello([]), 200), inRecords(named, 7)];
}

/** Records of `size` bytes with these words at these places. */
const record = (size: number, words: readonly (readonly [offset: number, value: number])[]): Buffer => {
  const bytes = Buffer.alloc(size);
  for (const [offset, value] of words) bytes.writeUInt32LE(value, offset);
  return bytes;
};
const engineRecord = abi.orlopEngineEvent;
const kernelRecord = abi.orlopEvent;

const mesh = (documents: readonly string[]): string => documents.join("---\n");
const workload = (name: string, address: string): string => `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: { name: ${name}, namespace: shop, uid: uid-${name}, labels: { app: ${name} } }
spec: { addresses: [${address}, "fd00::1"], node: node-a, serviceAccount: ${name}, ports: { http: 8080 }, locality: "r/z/s", weight: 2 }
`;
const namespace = `apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { orlop.dev/dataplane-mode: ambient } }
`;
const service = `apiVersion: v1
kind: Service
metadata: { name: api, namespace: shop }
spec: { clusterIPs: [10.96.0.1, "fd96::1"], selector: { app: api }, ports: [{ name: http, port: 80, targetPort: http }] }
`;
const authorization = `apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: callers, namespace: shop, annotations: { istio.io/dry-run: "false" } }
spec:
  selector: { matchLabels: { app: api } }
  action: ALLOW
  rules:
    - from: [{ source: { principals: ["cluster.local/ns/shop/sa/web"], notNamespaces: [evil], ipBlocks: [10.0.0.0/8] } }]
      to: [{ operation: { ports: ["80"], notPorts: ["81"] } }]
      when: [{ key: source.ip, values: ["10.0.0.0/8"] }]
`;
const authentication = `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default, namespace: istio-system }
spec: { mtls: { mode: STRICT }, portLevelMtls: { 8080: { mode: PERMISSIVE } } }
`;
const endpointSlice = `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: api-1, namespace: shop, labels: { kubernetes.io/service-name: api } }
addressType: IPv4
ports: [{ name: http, port: 8080 }]
endpoints: [{ addresses: [10.0.0.3], conditions: { ready: true }, targetRef: { kind: Pod, name: api, namespace: shop } }]
`;
const route = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: api, namespace: shop, creationTimestamp: "2026-01-02T03:04:05Z" }
spec:
  parentRefs: [{ group: "", kind: Service, name: api, port: 80 }]
  rules:
    - name: one
      matches: [{ path: { type: Exact, value: /a }, method: GET, headers: [{ name: a, value: b }], queryParams: [{ name: c, value: d }] }]
      filters:
        - { type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: e, value: f }], add: [{ name: g, value: h }], remove: [i] } }
        - { type: URLRewrite, urlRewrite: { hostname: j.k, path: { type: ReplaceFullPath, replaceFullPath: /l } } }
      backendRefs: [{ name: api, port: 80, weight: 9 }, { name: web, namespace: bank, port: 81 }]
      timeouts: { request: 1m2s, backendRequest: 3ms }
    - filters: [{ type: RequestRedirect, requestRedirect: { scheme: https, port: 8443, statusCode: 308 } }]
`;
const resilientRoute = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: pay, namespace: shop, annotations: { orlop.dev/fault: '{"rule":"pay","delay":{"fixed":"5ms","percent":1},"expires":"2999-12-31T23:59:59Z"}' } }
spec:
  parentRefs: [{ group: "", kind: Service, name: api }]
  rules:
    - name: pay
      matches: [{ path: { type: RegularExpression, value: "/pay/[0-9]{1,3}" } }]
      retry: { codes: [500, 503], attempts: 2, backoff: 10ms }
      sessionPersistence: { sessionName: cart, absoluteTimeout: 1h, cookieConfig: { lifetimeType: Permanent } }
      filters: [{ type: CORS, cors: { allowOrigins: ["https://*.a.b"], allowMethods: [PUT], allowCredentials: true, maxAge: 60 } }]
      backendRefs: [{ name: api, port: 80 }]
`;
const callRoute = `apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: { name: calls, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: api, port: 80 }]
  rules: [{ matches: [{ method: { service: a.B, method: C }, headers: [{ name: d, value: e }] }], backendRefs: [{ name: api, port: 80, weight: 2 }] }]
`;
const mirroredRoute = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: tried, namespace: shop, annotations: { orlop.dev/mirror-credentials: "true" } }
spec:
  parentRefs: [{ group: "", kind: Service, name: api }]
  rules:
    - filters:
        - { type: RequestMirror, requestMirror: { backendRef: { name: web, port: 81 }, percent: 7 } }
        - { type: RequestMirror, requestMirror: { backendRef: { name: web, namespace: b, port: 81 }, fraction: { numerator: 1, denominator: 3 } } }
      backendRefs: [{ name: api, port: 80 }]
`;
const streamRoutes = ["TCPRoute", "TLSRoute"].map(
  (kind) => `apiVersion: gateway.networking.k8s.io/v1alpha2
kind: ${kind}
metadata: { name: stream, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: api, port: 80 }]
  ${kind === "TLSRoute" ? 'hostnames: ["*.a.b", c.d]' : ""}
  rules: [{ backendRefs: [{ name: api, port: 80, weight: 1 }, { name: web, port: 81, weight: 0 }] }]
`,
);
const destinationRule = `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: { name: api, namespace: shop }
spec:
  host: api
  trafficPolicy:
    connectionPool: { http: { http2MaxRequests: 100 } }
    outlierDetection: { consecutive5xxErrors: 5, baseEjectionTime: 30s, maxEjectionPercent: 50, minHealthPercent: 25 }
    loadBalancer: { consistentHash: { httpCookie: { name: a, ttl: 0s }, maglev: { tableSize: 65537 } }, warmup: { duration: 10s } }
`;
const limit = `apiVersion: orlop.dev/v1alpha1
kind: LimitPolicy
metadata: { name: orders, namespace: shop }
spec:
  selector: { matchLabels: { app: api } }
  match: { methods: [POST], paths: [/orders/*], headers: [{ name: a, values: [b] }] }
  local: { requests: 100, per: second, burst: 20 }
  per: [source, "header:x"]
  mode: shadow
  priority: 3
`;

const request = (line: string, body = "", more = ""): string =>
  `${line} HTTP/1.1\r\nHost: orlop\r\nConnection: close\r\n${more}Content-Length: ${body.length}\r\n\r\n${body}`;

const latin1 = (text: string): Buffer => Buffer.from(text, "latin1");
const plain = {
  ":method": "GET",
  ":scheme": "http",
  ":authority": "app:80",
  ":path": "/a?b",
};
/** Fields of HTTP/2, each behind the lengths of its name and its value. */
const fieldsOf = (fields: Readonly<Record<string, string>>): Buffer =>
  latin1(
    Object.entries(fields).reduce(
      (text, [name, value]) => text + String.fromCharCode(name.length, value.length) + name + value,
      "\0",
    ),
  );
/** The fuzzers' first byte, which says how the rest is read. */
const kinds: Readonly<Record<HeadKind, string>> = {
  request: "\0",
  "response to HEAD": "\x01",
  response: "\x02",
};
const oneOfEach = refusedHeads.filter(([, refusal], index) => {
  return refusedHeads.findIndex(([, other]) => other === refusal) === index;
});
const heads = [...acceptedHeads, ...oneOfEach].filter(([, , head]) => head.length < 2_000);
const trailers = chunkCases.filter(([, , text, kind]) => kind === "trailers" && text.length < 2_000);
const chunkLines = chunkCases.filter(([, answer, , kind]) => kind === undefined && !answer.startsWith("chunk 0 0"));

const csr = await newRequest(identity);
csr.key.wipe();
const csrOther = await newRequest("spiffe://cluster.local/ns/shop/sa/other");
csrOther.key.wipe();
const derOf = (pem: string): Buffer => Buffer.from(pem.replaceAll(/-----.*-----|\s/g, ""), "base64");
const asked = {
  csrPem: "-----BEGIN",
  validitySeconds: 86_400,
  impersonatedIdentity: identity,
};

const seeds: Readonly<Record<string, readonly (string | Buffer)[]>> = {
  certificate: certificates(),
  "client-hello": helloSeeds(),
  "certificate-message": [
    Buffer.from(encodeCertificateRequest(asked)),
    Buffer.from(frameGrpcMessage(encodeCertificateRequest({ ...asked, impersonatedIdentity: "" }))),
    Buffer.from(encodeCertificateAnswer(["leaf", "root"])),
  ],
  "signing-request": [derOf(csr.csrPem), derOf(csrOther.csrPem), derOf(await requestOfKind("P-384", identity))],
  der: [Buffer.from("3003020101", "hex"), Buffer.from("3081800400", "hex"), Buffer.from("0500", "hex")],
  authority: [
    "10.0.0.1:80",
    "[fd00::1]:65535",
    "api.shop.svc.cluster.local:8080",
    "127.0.0.1:0",
    "1.2.3:4",
    "[::ffff:10.0.0.1]:1",
  ],
  headers: [
    "k8s.cluster.name=c,k8s.namespace.name=shop,k8s.deployment.name=web,service.name=web,service.version=v1",
    "cloud.region=r,cloud.availability_zone=%C3%A4;property=1",
    'for="10.0.0.1:40000";host=api.shop.svc.cluster.local;proto=tcp',
    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  ],
  "connect-request": [
    '10.0.0.1:8080\0k8s.namespace.name=shop\0for="10.0.0.2:40000";host=api.shop.svc.cluster.local\0' +
      "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "10.0.0.1:15008",
    "127.0.0.1:80",
    "[::ffff:10.0.0.1]:8080",
    "api.shop.svc.cluster.local:80",
  ],
  address: [
    "10.0.0.1",
    "10.1.2.3/8",
    "fd00::1/64",
    "::ffff:10.0.0.1",
    "::",
    "1:2:3:4:5:6:7:8",
    "fe80::1%eth0",
    "0.0.0.0/0",
  ],
  "spiffe-id": [identity, "spiffe://td/ns/a/sa/b.c-d", "spiffe://td/ns/a/sa/..", "SPIFFE://td/ns/a/sa/b"],
  "keeper-request": [
    {
      id: 1,
      op: "hello",
      version: PROTOCOL_VERSION,
      node: "node-a",
      role: "new",
    },
    {
      id: 2,
      op: "prepare",
      uid: "5c0ffee5-0000-4000-8000-0000000000aa",
      addresses: ["10.0.0.1", "fd00::1"],
    },
    { id: 3, op: "capture", podIdx: 1, uid: "a-1", failDirect: false },
    { id: 4, op: "release", podIdx: 1, uid: "a-1" },
    { id: 5, op: "sockets", podIdx: 1, uid: "a-1", kind: "local6", count: 64 },
    { id: 6, op: "sever", podIdx: 1024, uid: "a-1" },
    { id: 7, op: "programs" },
  ].map((value) => JSON.stringify(value)),
  "engine-event": Array.from({ length: 9 }, (_, type) =>
    record(engineRecord.size, [
      [engineRecord.type, type],
      [engineRecord.conn, 3],
      [engineRecord.kind, 1],
      [engineRecord.text + 4, 5],
    ]),
  ),
  "kernel-event": Array.from({ length: 6 }, (_, type) =>
    record(kernelRecord.size, [
      [kernelRecord.type, type],
      [kernelRecord.flags, type % 2 === 0 ? abi.ORLOP_SOCK_JOINED : 0],
    ]),
  ),
  mesh: [
    mesh([namespace, workload("web", "10.0.0.2"), workload("api", "10.0.0.3"), service]),
    mesh([namespace, authorization]),
    mesh([authentication, endpointSlice, service]),
    mesh([service, route]),
    mesh([service, resilientRoute, destinationRule]),
    mesh([service, callRoute]),
    mesh([service, ...streamRoutes, limit]),
    "a: &a [1, 2]\nb: *a\nc: !!str x\nd: |\n  text\n? complex\n: value\n",
    mesh([service, mirroredRoute]),
  ],
  "http1-head": heads.map(([, , head, kind = "request"]) => latin1(kinds[kind] + head)),
  "http1-chunk": [
    latin1("\x035;a=b\r\nhello\r\n1\r\n!\r\n0\r\ngrpc-status: 0\r\n\r\nGET"),
    ...chunkLines.map(([, , line]) => latin1(`\x10${line}`)),
    ...trailers.map(([, , text]) => latin1(`\x100\r\n${text}`)),
  ],
  // Framing, size of pieces, length; then the bytes.
  "http1-body": [
    latin1("\0\x05\0GET / HTTP/1.1"),
    latin1("\x01\x02\x05helloGET"),
    latin1("\x01\x02\x05hell"),
    latin1('\x02\x03\x005;a="b"\r\nhello\r\n1\r\n!\r\n0\r\ngrpc-status: 0\r\n\r\nGET'),
    latin1("\x02\x01\x000\r\n\r\n0\r\n\r\n"),
    latin1("\x02\x07\x002\r\nabc\r\n"),
    latin1("\x03\x04\x00until the end"),
    ...trailers.map(([, , text]) => latin1(`\x02\x06\x001\r\nx\r\n0\r\n${text}`)),
  ],
  // Kind, how it is written; then the head.
  "http1-write": acceptedHeads
    .filter(([, , head]) => head.length < 2_000)
    .map(([, , head, kind = "request"], index) => latin1(kinds[kind] + String.fromCharCode(index % 16) + head)),
  // Choices: which listener, then served (c4) or read at its application's side (80), where requests go, what then; then acts: what, who, more.
  "http2-session": [
    // A call, and its origin's SETTINGS, head, message and trailers.
    "\x80\xc4\x00\x00\x00\x00\x00\x00" +
      "\x00\x00\x01\x00\x01\x05\x04\x00\x01\x05\x02\x01\x00\x03\x01\x01\x00\x04\x01\x01\x02\x05\x01\x01",
    // Two at once; the origin refuses a stream, says GOAWAY and goes.
    "\x80\xc4\x38\x38\x38\x38\x38\x38" +
      "\x00\x00\x01\x00\x01\x10\x02\x01\x00\x01\x00\x03\x15\x06\x01\x01\x07\x07\x01\x00\x0c\x01",
    // Read at its application's side.
    "\x83\x80\x00\x00\x00\x00\x00\x00" + "\x00\x00\x01\x00\x01\x10\x02\x01\x00\x03\x01\x01\x10",
    // A call and its two copies, of which the origin answers all, or resets some.
    "\x80\xc4\x81\x81\x81\x81\x81\x81" +
      "\x00\x00\x01\x00\x01\x05\x04\x00\x01\x05\x02\x01\x00\x03\x01\x01\x00\x04\x01\x01\x02" +
      "\x02\x02\x00\x03\x02\x01\x10\x06\x02\x03\x08\x02\x03\x00",
  ].map(latin1),
  // Whether a body follows; then fields.
  "http2-head": [
    fieldsOf({
      ...plain,
      cookie: "a=1",
      "x-orlop-identity": "admin",
      host: "APP:80",
    }),
    fieldsOf({
      ...plain,
      ":method": "POST",
      "content-type": "application/grpc",
      te: "trailers",
      "content-length": "5",
    }),
    fieldsOf({ ...plain, ":path": "*", ":method": "OPTIONS" }),
    fieldsOf({ "grpc-status": "0", "grpc-message": "done" }),
  ],
  "admin-request": [
    request("GET /v1/status"),
    request("GET /v1/explain?src=10.0.0.1&dst=10.0.1.2:80"),
    request("GET /v1/dump"),
    request("PUT /v1/log", JSON.stringify({ room: "policy", level: "debug", forSeconds: 60 })),
    request("PUT /v1/log", '{"__proto__":{"room":1}}'),
    request("GET /v1/../v1/status"),
    "POST /v1/log HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
  ],
};

/** Targets whose inputs hold keys of their own, so that no run makes them again: those that are committed stay. */
const randomTargets: ReadonlySet<string> = new Set(["certificate", "signing-request"]);

for (const [target, inputs] of Object.entries(seeds)) {
  const folder = new URL(`./corpus/${target}/`, import.meta.url);
  mkdirSync(folder, { recursive: true });
  const names = new Set(readdirSync(folder));
  // By content: a case that is added in the middle of a list must not move all behind it to other names.
  const written = new Set([...names].map((name) => readFileSync(new URL(name, folder), "latin1")));
  for (const [index, input] of inputs.entries()) {
    const isThere = randomTargets.has(target)
      ? names.has(`seed-${index}`)
      : written.has(Buffer.from(input).toString("latin1"));
    if (isThere) continue;
    let number = index;
    while (names.has(`seed-${number}`)) number += 1;
    names.add(`seed-${number}`);
    writeFileSync(new URL(`seed-${number}`, folder), input);
  }
}
