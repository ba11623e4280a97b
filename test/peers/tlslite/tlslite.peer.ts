// test peers · tlslite-ng judges the TLS of the HBONE server: conversations, raw bytes, certificates. What must be refused
// is, what may be served is, and the server stays healthy.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import { call, startPing } from "../../../demo/app/roles.ts";
import { appPorts } from "../../../demo/app/server.ts";
import { identityOf } from "../../../demo/mesh/mesh-file.ts";
import { pidOf } from "../../../demo/mesh/mesh-run.ts";
import { tail } from "../../box/process.ts";
import {
  basicConstraints,
  CLIENT_AUTH,
  CODE_SIGNING,
  extendedUsage,
  HostileAuthority,
  type HostileOptions,
  hostileSans,
  keyUsage,
  type Made,
  SERVER_AUTH,
  san,
  uri,
} from "../../support/hostile-certificates.ts";
import { keyPem } from "../../support/journey-box.ts";
import { peerCase } from "../support/cases.ts";
import { built } from "../support/projects.ts";
import { openWorld } from "../support/world.ts";

type Told = {
  readonly kind: "conversation" | "raw" | "certificate";
  readonly name: string;
  readonly expect: "served" | "refused";
  readonly got: "served" | "refused" | "open" | "broken";
  readonly saw: string;
};
const RUN_MS = 300_000;
const hour = 3_600_000;

const world = await openWorld();
after(() => world.close());
const { cluster, outside, trusted } = world;
const api = cluster.pod("api");
const folder = path.join(cluster.dir, "peers");

const usual = {
  constraints: basicConstraints(false),
  usage: keyUsage(0x80),
  extended: extendedUsage(CLIENT_AUTH, SERVER_AUTH),
  names: san(uri(identityOf("web"))),
};
/** A leaf that is honest in all but what is given. */
const leaf = (change: Partial<typeof usual>, more: Partial<HostileOptions> = {}): Made =>
  trusted.leaf({ extensions: Object.values({ ...usual, ...change }), ...more });
const named = (name: string): Made => trusted.named(uri(identityOf(name)));
const now = Date.now();

const certificates: readonly { readonly name: string; readonly made: Made; readonly expect: Told["expect"] }[] = [
  { name: "of another identity of the mesh", made: named("cache"), expect: "served" },
  ...hostileSans().map(({ name, names }) => ({ name, made: trusted.named(...names), expect: "refused" as const })),
  { name: "of an unknown root", made: new HostileAuthority().named(uri(identityOf("web"))), expect: "refused" },
  { name: "the root itself", made: trusted.root, expect: "refused" },
  {
    name: "expired",
    made: leaf({}, { notBefore: new Date(now - 2 * hour), notAfter: new Date(now - hour) }),
    expect: "refused",
  },
  {
    name: "not valid yet",
    made: leaf({}, { notBefore: new Date(now + hour), notAfter: new Date(now + 2 * hour) }),
    expect: "refused",
  },
  { name: "for servers only", made: leaf({ extended: extendedUsage(SERVER_AUTH) }), expect: "refused" },
  { name: "for code signing only", made: leaf({ extended: extendedUsage(CODE_SIGNING) }), expect: "refused" },
  {
    name: "an authority's",
    made: leaf({ constraints: basicConstraints(true), usage: keyUsage(0x06) }),
    expect: "refused",
  },
  {
    name: "of another trust domain",
    made: trusted.named(uri("spiffe://other.example/ns/demo/sa/web")),
    expect: "refused",
  },
];

function write(name: string, { pem, pkcs8 }: Made): { cert: string; key: string } {
  const files = { cert: path.join(folder, `${name}.pem`), key: path.join(folder, `${name}.key`) };
  writeFileSync(files.cert, pem);
  writeFileSync(files.key, keyPem(pkcs8));
  return files;
}

const agentBefore = pidOf(cluster.node("node-b"), "agent");
const pinger = await startPing(cluster.pod("web"), { host: api.ip4, port: appPorts.echo }, 20);
const judge = outside.start([
  path.join(built("tlslite"), "bin/python"),
  fileURLToPath(new URL("./judge.py", import.meta.url)),
]);
judge.write(
  JSON.stringify({
    ...{ host: api.ip4, port: 15_008, ...write("judge", named("web")), other: write("other", named("web")) },
    certificates: certificates.map(({ name, made, expect }, at) => ({ name, expect, ...write(`judged-${at}`, made) })),
  }),
);
judge.endInput();
const done = await judge.wait(RUN_MS);
const told = done.stdout
  .trim()
  .split("\n")
  .filter(Boolean)
  .map((line) => JSON.parse(line) as Told);

peerCase("tlslite", "all cases ran", () => {
  assert.equal(done.status, 0, tail(done.stderr));
  const count = (kind: Told["kind"]): number => told.filter((each) => each.kind === kind).length;
  assert.ok(count("conversation") >= 44, `${count("conversation")} conversations`);
  assert.ok(count("raw") >= 17, `${count("raw")} raw`);
  assert.equal(count("certificate"), certificates.length);
  assert.ok(certificates.length >= 37, `${certificates.length} certificates`);
});
for (const { kind, name, expect, got, saw } of told) {
  peerCase("tlslite", `${kind}: ${name}: ${expect}`, () => assert.equal(got, expect, saw));
}
peerCase("tlslite", "the server is healthy afterwards, and a long connection lived", async () => {
  await pinger.finish();
  const answered = await call(cluster.pod("web"), { host: api.ip4, port: appPorts.echo });
  assert.equal(answered.reply?.pod, "api", JSON.stringify(answered));
  assert.equal(pidOf(cluster.node("node-b"), "agent"), agentBefore);
});
