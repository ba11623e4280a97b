// Tests of the CLI as a user meets it: golden tables and JSON, exit statuses, colour, dumps, completion.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { aMesh, type aSource } from "../admin/source.fake.ts";
import { nowhere } from "../mesh/source-ref.ts";
import { aWorkload } from "../observe/record.fake.ts";
import { fakeAgent, run } from "./cli.fake.ts";

test("golden: every table", async (t) => {
  const agent = await fakeAgent(t);
  const golden: Readonly<Record<string, string>> = {
    status: `
NODE    AGENT  UPTIME  CAPTURED  CONNS  DENIED  CERTS  SOURCE  KEEPER  ACCESS   BPF       HEARTBEAT
host01  0.1.0  3d4h    1/1       1      3       ok     synced  ok      kubelet  1 loaded  42ms
`,
    "get workloads": `
NAMESPACE  NAME  ADDRESS   NODE    PROTOCOL  MODE    CAPTURE   HEALTHY
shop       api   10.0.1.2  host02  HBONE     STRICT  remote    yes
shop       web   10.0.0.1  host01  HBONE     STRICT  captured  yes
`,
    "get workloads -n shop -l app=web -o wide": `
NAME  ADDRESS   NODE    PROTOCOL  MODE    CAPTURE   HEALTHY  IDENTITY                               LABELS   NOTE  FROM
web   10.0.0.1  host01  HBONE     STRICT  captured  yes      spiffe://cluster.local/ns/shop/sa/web  app=web  -     mesh.yaml:4
`,
    "get svc -A": `
NAMESPACE  NAME  VIP        PORTS  ENDPOINTS
shop       api   10.96.0.7  8080   1/1
`,
    "get policies": `
NAMESPACE     NAME     KIND                 ACTION  SCOPE    MODE     SELECTS
istio-system  default  PeerAuthentication   STRICT  mesh     enforce  2
shop          callers  AuthorizationPolicy  ALLOW   app=api  enforce  1
`,
    "get ejected": `
SERVICE        ENDPOINT       CALLER                                 RULE         REASON           TIMES  LEFT
shop/api:8080  10.0.1.2:8080  spiffe://cluster.local/ns/shop/sa/web  shop/api[0]  consecutive-5xx  2      42s
`,
    "get certs": `
IDENTITY                               STATE  SERIAL    NOT AFTER             ROTATES  PODS
spiffe://cluster.local/ns/shop/sa/web  ready  c198d859  2026-11-22T09:00:00Z  41m      1
`,
    "get connections -n shop": `
POD  DIR  PEER      TARGET         PROTO  APP  REQS  TLS   IDENTITY                 AGE   RTT     RETRANS  VERDICT
web  out  api.shop  api.shop:8080  HBONE  tcp  -     mTLS  shop/sa/web→shop/sa/api  4m2s  0.41ms  2        allow shop/callers[0]
`,
    "get bpf --no-headers": `
program  orlop_connect4    cgroup pods  1,100  900ns  -             -  -  -  -  -   -  -
map      dst_of_flow       -            -      -      1,940/65,536  -  -  -  -  -   -  -
counter  connect_captured  -            -      -      12,345        -  -  -  -  -   -  -
pod      pod-web           -            -      -      -             3  2  1  0  12  0  4
`,
    "get workloads web -o name": "\nworkload/web\n",
    "explain shop/web shop/api:8080": `
DENY at layer L4: no-allow-matched
shop/web → shop/api:8080
 1 source    shop/web on host01
 2 policies  no ALLOW rule matched   ← decides
   nearest miss: shop/callers[0] wants source.principal [a]; got b (mesh.yaml:33:9)
`,
    "explain shop/web shop/api:8080 --method PUT --path /a --header x-a=b": `
DENY at layer L4: no-allow-matched
shop/web → shop/api:8080
 1 request   PUT /a x-a=b
 2 source    shop/web on host01
 3 policies  no ALLOW rule matched   ← decides
   nearest miss: shop/callers[0] wants source.principal [a]; got b (mesh.yaml:33:9)
`,
    "log get": `
ROOM    LEVEL  UNTIL
policy  info   -
`,
    "log set policy=debug --for 10m": "\npolicy debug until 2026-11-21T10:10:00.000Z\n",
  };
  for (const [line, want] of Object.entries(golden)) {
    const { exit, out, err } = await agent.run(...line.split(" "));
    assert.equal(`\n${out}`, want, line);
    assert.equal(err, "", line);
    assert.equal(exit, 0, line);
  }
});

test("golden: JSON is versioned, filtered like the table, and the same through a dump", async (t) => {
  const agent = await fakeAgent(t);
  const { out } = await agent.run("get", "certs", "-o", "json");
  assert.deepEqual(JSON.parse(out), {
    apiVersion: "orlop.dev/v1alpha1",
    kind: "CertificateList",
    items: [
      {
        identity: "spiffe://cluster.local/ns/shop/sa/web",
        state: "ready",
        serial: "c198d859aa00",
        notBefore: "2026-11-21T09:00:00.000Z",
        notAfter: "2026-11-22T09:00:00.000Z",
        rotatesAt: "2026-11-21T10:41:00.000Z",
        pods: 1,
        message: "",
        namespace: "shop",
      },
    ],
  });
  const folder = mkdtempSync(join(tmpdir(), "orlop-dump-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "dump.json");
  writeFileSync(file, (await agent.run("dump")).out);
  for (const line of [
    "status",
    "get workloads -o json",
    "get connections -o yaml",
    "describe pod/web",
    "describe policy/callers",
    "log get",
  ]) {
    const live = await agent.run(...line.split(" "));
    const offline = await run([...line.split(" "), "-f", file]);
    assert.equal(offline.out, live.out, line);
    assert.equal(offline.exit, 0, line);
  }
  assert.equal((await run(["log", "set", "policy=debug", "-f", file])).exit, 64);
  writeFileSync(file, "{");
  assert.equal((await run(["status", "-f", file])).exit, 65);
});

test("describe shows a pod with what bears on it", async (t) => {
  const agent = await fakeAgent(t);
  const { out } = await agent.run("describe", "pod/web", "-n", "shop");
  assert.match(out, /^Identity +spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web$/m);
  assert.match(out, /^Policies in +STRICT istio-system\/default$/m);
  const nobody = await agent.run("describe", "pod/nobody");
  assert.deepEqual([nobody.exit, /a pod that has finished/.test(nobody.err)], [1, true]);
  assert.equal((await agent.run("describe", "web")).exit, 64);
  assert.match((await agent.run("describe", "svc/api")).out, /^10\.0\.1\.2 +api +yes$/m);
});

test("describe and status show which ports are read and why", async (t) => {
  const quiet = await (await fakeAgent(t)).run("describe", "pod/web", "-n", "shop");
  assert.match(quiet.out, /^HTTP +no rule is about requests$/m);
  assert.doesNotMatch(quiet.out, /TO BE READ/);
  const rule = { kind: "AuthorizationPolicy", namespace: "shop", name: "readers", rule: 0, from: nowhere } as const;
  const agent = await fakeAgent(t, {
    portNeeds: () => [
      {
        ...{ port: 8080, isRead: true, reasons: [{ why: "allow-rule", rule }] },
        declared: [{ hint: "http1", by: "port name http of Service shop/web" }],
      },
      { port: null, isRead: false, reasons: [{ why: "no-request-rule", rule: null }], declared: [] },
    ],
  });
  const { out } = await agent.run("describe", "pod/web", "-n", "shop");
  assert.match(
    out,
    /^HTTP +rules are about requests: on the ports below HTTP\/1\.1 is read, and each request is judged$/m,
  );
  assert.match(out, /^8080 +yes +allow-rule shop\/readers\[0\] +http1 \(port name http of Service shop\/web\)$/m);
  assert.match(out, /^others +no +no-request-rule/m);
  const remote = await agent.run("describe", "pod/api", "-n", "shop");
  assert.match(remote.out, /^HTTP +-$/m);
  assert.match((await agent.run("status")).out, /^note: requests are read of shop\/web \(8080\): orlop describe/m);
});

test("exit statuses: 0 1 64 65 69 77 79", async (t) => {
  const agent = await fakeAgent(t);
  const statuses: readonly (readonly [string, number])[] = [
    ["status", 0],
    ["--help", 0],
    ["get --help", 0],
    ["get workloads nobody", 1],
    ["explain nobody shop/api:8080", 1],
    ["", 64],
    ["bogus", 64],
    ["get", 64],
    ["get nonsense", 64],
    ["get workloads -o xml", 64],
    ["get workloads -l a==b==c", 64],
    ["get workloads -n a -A", 64],
    ["status --timeout never", 64],
    ["explain shop/web", 64],
    ["log set nonsense", 64],
    ["log set nowhere=debug", 64],
    ["log set policy=debug --for 3w", 64],
    ["status -f /nowhere/dump.json", 65],
    ["status --socket /nowhere/agent.sock", 69],
    ["explain shop/web shop/api:8080 --expect deny", 0],
    ["explain shop/web shop/api:8080 --expect allow", 79],
  ];
  for (const [line, exit] of statuses) {
    const ran = await agent.run(...line.split(" ").filter((word) => word !== ""));
    assert.equal(ran.exit, exit, `${line}: ${ran.err}`);
  }
  const refused = await fakeAgent(t, {}, 1_000);
  const { exit, err } = await refused.run("status");
  assert.equal(exit, 77);
  assert.match(err, /^orlop: .* ORL6002\n {2}why: .*\n {2}do: {2}.*\n$/);
});

test("status: a cluster as source shows each kind, and since when and why it cannot be read", async (t) => {
  const configuration: ReturnType<ReturnType<typeof aSource>["configuration"]> = {
    ...{ kind: "kubernetes", acceptance: "object", from: "https://10.96.0.1:443", state: "stale", fromLastGood: true },
    ...{ appliedAt: "2026-11-21T09:00:00.000Z", objects: 4, problems: [], findings: [], leftOut: [] },
    kinds: [
      { kind: "Pod", objects: 20_000, state: "watching", awaySince: "", why: "" },
      { kind: "Service", objects: 0, state: "away", awaySince: "2026-11-21T09:58:00.000Z", why: "HTTP status 403" },
    ],
  };
  const agent = await fakeAgent(t, { configuration: () => configuration });
  const { exit, out } = await agent.run("status");
  assert.equal(exit, 79);
  assert.match(
    out,
    /^KIND +STATE +OBJECTS +AWAY FOR +WHY\nPod +watching +20,000 +- +-\nService +away +0 +2m +HTTP status 403$/m,
  );
  assert.match(out, /^what was read before runs on\nnote: .* last good copy on disk$/m);
});

test("status: a configuration that is rejected or held shows why and exits 79", async (t) => {
  const problem = {
    code: "ORL4102",
    from: { file: "mesh.yaml", line: 3, column: 5 },
    what: "unknown field portz",
    why: "nobody reads it",
    fix: "write ports",
  } as const;
  const configuration: ReturnType<ReturnType<typeof aSource>["configuration"]> = {
    kind: "static-file",
    acceptance: "all",
    from: "mesh.yaml",
    state: "rejected",
    fromLastGood: false,
    appliedAt: "",
    objects: 0,
    problems: [problem],
    findings: [{ ...problem, code: "ORL4106" }],
    leftOut: [],
    kinds: [],
  };
  const agent = await fakeAgent(t, { configuration: () => configuration });
  const { exit, out } = await agent.run("status");
  assert.equal(exit, 79);
  assert.match(
    out,
    /^mesh\.yaml:3:5: unknown field portz {2}ORL4102\n {2}why: nobody reads it\n {2}do: {2}write ports$/m,
  );
  const held = await fakeAgent(t, {
    configuration: () => ({ ...configuration, state: "held", problems: [{ ...problem, code: "ORL4108" }] }),
  });
  const waits = await held.run("status");
  assert.equal(waits.exit, 79);
  assert.match(waits.out, /^mesh\.yaml:3:5: unknown field portz {2}ORL4108$/m);
  assert.match(waits.out, /^what was accepted before runs until then$/m);
  const checked = await held.run("check");
  assert.match(checked.out, /warn {2}mesh\.yaml:3:5: unknown field portz +ORL4108/);
});

test("colour: only for a terminal, and never against the user's word; the words stay", async (t) => {
  const agent = await fakeAgent(t);
  const colored = async (
    line: string,
    isTTY: boolean,
    vars: Readonly<Record<string, string>> = {},
  ): Promise<boolean> => {
    const { out } = await run(line.split(" "), { isTTY, vars: { ORLOP_SOCKET: agent.socket, ...vars } });
    assert.match(out, /captured/);
    return out.includes("\u001b[");
  };
  assert.equal(await colored("get workloads", false), false);
  assert.equal(await colored("get workloads", true), true);
  assert.equal(await colored("get workloads", true, { NO_COLOR: "1" }), false);
  assert.equal(await colored("get workloads", true, { NO_COLOR: "" }), true);
  assert.equal(await colored("get workloads", true, { TERM: "dumb" }), false);
  assert.equal(await colored("get workloads", false, { FORCE_COLOR: "1" }), true);
  assert.equal(await colored("get workloads", true, { FORCE_COLOR: "0" }), false);
  assert.equal(await colored("get workloads --color always", false, { NO_COLOR: "1" }), true);
  assert.equal(await colored("get workloads --color never", true, { FORCE_COLOR: "1" }), false);
});

test("names from a hostile mesh cannot drive the terminal or break a row", async (t) => {
  const evil = aWorkload({ name: "a\u001b[2J\nb\u202e", labels: { "x\r": "y\u0007" } });
  const agent = await fakeAgent(t, { mesh: aMesh([evil]), pods: () => [], certs: () => [] });
  for (const format of ["table", "wide", "yaml", "json"]) {
    const { out } = await agent.run("get", "workloads", "-o", format);
    assert.doesNotMatch(out.replaceAll("\n", ""), /[\p{Cc}\u202e]/u, format);
    if (format === "table") assert.equal(out.split("\n").length, 3);
  }
});

test("check: the agent's findings, their fixes, and what exits 79", async (t) => {
  const pods = [{ workloadUid: "test//Pod/shop/web", podIdx: null, state: "failed" as const, note: "no such cgroup" }];
  const agent = await fakeAgent(t, { pods: () => pods });
  const { out } = await agent.run("check");
  assert.match(out, /^node\n/);
  assert.match(
    out,
    /^enrolment\n {2}warn {2}pod shop\/web is not captured \(failed\) +ORL2001\n {8}why: no such cgroup\n {8}do: {2}/m,
  );
  const parsed: unknown = JSON.parse((await agent.run("check", "-o", "json")).out);
  assert.equal(Reflect.get(Object(parsed), "kind"), "FindingList");
  assert.equal((await agent.run("check", "--fail-on", "warning")).exit, 79);
  assert.match((await run(["check"])).out, /not asked: cannot reach the agent/);
});

test("check: what an operator may want to know is shown with its code, and neither fails nor is named as a finding", async (t) => {
  const change = {
    code: "ORL4112",
    what: "ALLOW shop/a has requests read",
    why: "before, nobody",
    fix: "explain",
  } as const;
  const agent = await fakeAgent(t, { requestChanges: () => [change] });
  const { out } = await agent.run("check", "--fail-on", "warning");
  assert.match(
    out,
    /^ {2}info {2}ALLOW shop\/a has requests read +ORL4112\n {8}why: before, nobody\n {8}do: {2}explain\n/m,
  );
  assert.match(out, / ok · 1 to know · \d+ warnings · \d+ failed\n$/);
  assert.doesNotMatch((await agent.run("check", "-o", "name")).out, /ORL4112/);
});

test("completion: commands, resources, names and flags; silence without an agent", async (t) => {
  const agent = await fakeAgent(t);
  const lines = async (...words: readonly string[]): Promise<readonly string[]> =>
    (await agent.run("__complete", "--", ...words)).out.split("\n").filter((word) => word !== "");
  assert.deepEqual(await lines("ex"), ["explain", "explain-code"]);
  assert.deepEqual(await lines("get", ""), [
    "bpf",
    "certs",
    "connections",
    "ejected",
    "limits",
    "policies",
    "routes",
    "services",
    "workloads",
  ]);
  assert.deepEqual(await lines("get", "workloads", "w"), ["web"]);
  assert.deepEqual(await lines("describe", "svc/"), ["svc/api"]);
  assert.deepEqual(await lines("explain", "shop/w"), ["shop/web"]);
  assert.deepEqual(await lines("log", ""), ["get", "set"]);
  assert.ok((await lines("get", "--no")).includes("--no-headers"));
  assert.deepEqual(await run(["__complete", "--", "get", "workloads", ""]), { exit: 0, out: "", err: "" });
  for (const shell of ["bash", "zsh", "fish"])
    assert.match((await run(["completion", shell])).out, /orlop __complete -- /);
  assert.equal((await run(["completion", "tcsh"])).exit, 64);
});

test("explain-code shows a page offline, and no other file", async () => {
  assert.match((await run(["explain-code", "orl6001"])).out, /^# ORL6001: /);
  assert.match((await run(["explain-code", "no-allow-matched"])).out, /^# no-allow-matched\n/);
  const list = (await run(["explain-code"])).out;
  assert.match(list, /^ORL1001 {2,}the kernel is too old$/m);
  assert.match(list, /^policy {2,}The evaluator denied; `reason=` and `policy=` in the same line say why$/m);
  assert.equal((await run(["explain-code", "../metrics"])).exit, 1);
});

test("version: client alone, and with an agent of another version", async (t) => {
  assert.match((await run(["version"])).out, /^client {2}\d+\.\d+\.\d+ .*\nagent {3}not reachable\n$/);
  const agent = await fakeAgent(t, { version: "9.9.9" });
  const { exit, out } = await agent.run("version", "-o", "json");
  assert.equal(exit, 79);
  assert.match(out, /"skew": "differs"/);
});
