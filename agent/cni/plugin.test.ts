// build/orlop-cni as a runtime calls it, against a keeper's socket that a test holds: each command, the lists, the deadline, and
// configurations that no installer has written.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";
import { FdSocket, type FdSocket as Socket } from "../keeper/addon.ts";
import { parseStart, type StartAnswer, type StartRequest } from "../keeper/cni-protocol.ts";

const program = fileURLToPath(new URL("../../build/orlop-cni", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "orlop-cni-"));
const at = (name: string): string => join(folder, name);
const servers: Socket[] = [];
after(() => {
  for (const server of servers) server.close();
  rmSync(folder, { recursive: true });
});

type Heard = { readonly request: StartRequest | undefined; readonly netns: string | undefined };

/** A keeper that answers each request so; undefined: not at all. */
function keeper(name: string, answer: (heard: Heard) => StartAnswer | undefined) {
  const heard: Heard[] = [];
  const server = FdSocket.listen(at(name), 0o600);
  servers.push(server);
  const waiting: (() => void)[] = [];
  server.onConnection((socket) => {
    socket.onMessage((bytes, fds) => {
      const [fd] = fds;
      const netns = fd === undefined ? undefined : String(statSync(`/proc/self/fd/${fd}`).ino);
      if (fd !== undefined) closeSync(fd);
      const request = { request: parseStart(bytes.toString("utf8")), netns };
      heard.push(request);
      for (const call of waiting.splice(0)) call();
      const said = answer(request);
      if (said !== undefined) socket.send(Buffer.from(JSON.stringify(said)), new Int32Array());
    });
  });
  const next = (): Promise<void> => new Promise((resolve) => waiting.push(resolve));
  return { heard, next };
}

const prevResult = {
  cniVersion: "1.0.0",
  interfaces: [{ name: "eth0", sandbox: "/run/netns/x" }],
  ips: [{ address: "10.0.0.2/24", gateway: "10.0.0.1" }],
  dns: { domain: 'a "quoted" – ü \\ word' },
};
const configOf = (extra: object = {}): object => ({
  ...{ cniVersion: "1.0.0", name: "cluster", type: "orlop-cni", prevResult },
  ...{ socket: at("keeper.sock"), list: at("namespaces"), exempt: ["orlop-system"] },
  ...extra,
});

type Call = {
  readonly command: string;
  /** Text is passed as it is. */
  readonly config?: object | string;
  readonly namespace?: string;
  readonly args?: string;
  readonly netns?: string;
  readonly container?: string;
};

async function run(call: Call) {
  const { command, config = configOf(), namespace = "shop", args } = call;
  const { netns = "/proc/self/ns/net", container = "c1" } = call;
  const pod = `IgnoreUnknown=1;K8S_POD_NAMESPACE=${namespace};K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=uid-web`;
  const env = {
    CNI_COMMAND: command,
    CNI_ARGS: args ?? pod,
    CNI_NETNS: netns,
    CNI_IFNAME: "eth0",
    CNI_CONTAINERID: container,
  };
  const child = spawn(program, { env, stdio: ["pipe", "pipe", "inherit"] });
  let said = "";
  child.stdout.on("data", (bytes: Buffer) => {
    said += bytes.toString("utf8");
  });
  // It may end before it has read all.
  child.stdin.on("error", () => {});
  child.stdin.end(typeof config === "string" ? config : JSON.stringify(config));
  const status = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { status, said };
}

function listed(name: string, namespaces: readonly string[]): string {
  writeFileSync(at(name), `orlop namespaces 1\n${namespaces.map((word) => `${word}\n`).join("")}end\n`);
  return at(name);
}

beforeEach(() => void listed("namespaces", ["bank", "shop"]));

/** Exactly what the plug-ins before it have made. */
function passed({ status, said }: { readonly status: number | null; readonly said: string }, what = ""): void {
  assert.deepEqual([status, said], [0, `${JSON.stringify(prevResult)}\n`], what);
}

function failed({ status, said }: { readonly status: number | null; readonly said: string }, code: number): string {
  const error = JSON.parse(said) as { readonly cniVersion: string; readonly code: number; readonly msg: string };
  assert.deepEqual([status, error.cniVersion, error.code], [1, "1.0.0", code], error.msg);
  return error.msg;
}

test("ADD of a listed namespace passes when the keeper says that capture is in force, or that the pod is none of ours", async () => {
  for (const op of ["in-force", "not-ours"] as const) {
    const { heard } = keeper(`keeper.sock.${op}`, () => ({ op }));
    const call = { command: "ADD", config: configOf({ socket: at(`keeper.sock.${op}`) }) };
    passed(await run(call), op);
    const request = { op: "add", uid: "uid-web", container: "c1", namespace: "shop", name: "web" };
    assert.deepEqual(heard, [{ request, netns: String(statSync("/proc/self/ns/net").ino) }]);
  }
});

test("ADD of a listed namespace fails, with the keeper's reason, when it refuses", async () => {
  keeper("refuses.sock", () => ({ op: "refused", why: "1024 pods are enrolled" }));
  const message = failed(await run({ command: "ADD", config: configOf({ socket: at("refuses.sock") }) }), 11);
  assert.match(message, /pod shop\/web is not captured: 1024 pods are enrolled/);
});

test("ADD of a namespace that is not listed, or is exempt, passes without a keeper", async () => {
  listed("namespaces", ["bank", "shop", "orlop-system"]);
  for (const namespace of ["sho", "shop2", "end", "orlop-system"])
    passed(await run({ command: "ADD", namespace }), namespace);
  passed(await run({ command: "ADD", args: "" }), "no pod of Kubernetes");
});

test("ADD waits for a keeper that comes, and for an agent that speaks late", async () => {
  const waits = run({ command: "ADD", config: configOf({ socket: at("late.sock") }) });
  const { next } = keeper("late.sock", () => ({ op: "in-force" }));
  await next();
  passed(await waits);
});

test("ADD waits on as long as the keeper asks for more time, which must come before each deadline", async () => {
  const server = FdSocket.listen(at("busy.sock"), 0o600);
  servers.push(server);
  let calls = 0;
  const firstCalls = Promise.withResolvers<void>();
  server.onConnection((socket) => {
    socket.onMessage((_, fds) => {
      for (const fd of fds) closeSync(fd);
      calls += 1;
      firstCalls.resolve();
      const say = (op: string): void => socket.send(Buffer.from(JSON.stringify({ op })), new Int32Array());
      if (calls > 1) return;
      setTimeout(() => say("wait"), 5_000);
      setTimeout(() => say("wait"), 6_000);
      setTimeout(() => say("in-force"), 10_000);
    });
  });
  const call = { command: "ADD", config: configOf({ socket: at("busy.sock") }) };
  const [first, second] = await Promise.all([run(call), firstCalls.promise.then(() => run(call))]);
  passed(first);
  assert.match(failed(second, 11), /has not answered in time/);
  assert.equal(calls, 2);
});

test("ADD of a listed namespace fails when nobody answers until the deadline", async () => {
  const { heard } = keeper("silent.sock", () => undefined);
  const [silent, absent] = await Promise.all(
    ["silent.sock", "absent.sock"].map((name) => run({ command: "ADD", config: configOf({ socket: at(name) }) })),
  );
  assert.match(failed(silent ?? assert.fail(), 11), /has not answered in time/);
  assert.match(failed(absent ?? assert.fail(), 11), /the keeper's socket: No such file .*remove 00-00-orlop\.conflist/);
  assert.equal(heard.length, 1);
});

test("a node without a list passes and counts, or refuses where that is configured; a torn list names every namespace", async () => {
  const list = at("never-written");
  passed(await run({ command: "ADD", config: configOf({ list }) }));
  passed(await run({ command: "ADD", config: configOf({ list }) }));
  assert.equal(readFileSync(`${list}.passed`, "utf8"), "..");
  failed(await run({ command: "ADD", config: configOf({ list, withoutList: "refuse" }) }), 11);
  passed(await run({ command: "ADD", config: configOf({ list, withoutList: "refuse" }), namespace: "orlop-system" }));
  assert.equal(statSync(`${list}.passed`).size, 2);
  keeper("torn.sock", () => ({ op: "refused", why: "asked" }));
  for (const text of [
    "",
    "orlop namespaces 1\n",
    "orlop namespaces 1\nbank\n",
    "orlop namespaces 1\nbankend\n",
    "orlop namespaces 2\nend\n",
  ]) {
    writeFileSync(at("torn"), text);
    const config = configOf({ list: at("torn"), socket: at("torn.sock") });
    assert.match(failed(await run({ command: "ADD", config }), 11), /asked/, JSON.stringify(text));
  }
  passed(await run({ command: "ADD", config: configOf({ list: listed("empty", []) }) }));
});

test("DEL says that the namespace goes, waits for nobody, and never fails", async () => {
  const { heard, next } = keeper("del.sock", () => undefined);
  const called = next();
  const result = await run({ command: "DEL", config: configOf({ socket: at("del.sock") }), netns: "" });
  await called;
  assert.deepEqual(
    [result, heard.map(({ request }) => [request?.op, request?.container])],
    [{ status: 0, said: "" }, [["del", "c1"]]],
  );
  for (const config of [configOf(), "", "{", configOf({ cniVersion: "9.0.0", socket: 1 })])
    assert.deepEqual(await run({ command: "DEL", config, args: "\u0007=;" }), { status: 0, said: "" });
});

test("CHECK, STATUS and GC never fail because of us; VERSION says what is spoken", async () => {
  for (const command of ["CHECK", "STATUS", "GC"])
    for (const config of [configOf({ socket: at("absent.sock"), "cni.dev/valid-attachments": [] }), "not JSON"])
      assert.deepEqual(await run({ command, config, args: "" }), { status: 0, said: "" });
  const { status, said } = await run({ command: "VERSION", config: '{"cniVersion":"1.1.0"}' });
  const supportedVersions = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
  assert.deepEqual([status, JSON.parse(said)], [0, { cniVersion: "1.1.0", supportedVersions }]);
  listed("namespaces", []);
  for (const cniVersion of supportedVersions) passed(await run({ command: "ADD", config: configOf({ cniVersion }) }));
});

test("what no runtime and no installer has written is refused", async () => {
  listed("namespaces", ["shop"]);
  const whole = JSON.stringify(configOf());
  const strange: readonly (readonly [string | object, number])[] = [
    ["", 7],
    [whole.slice(0, -1), 7],
    [`${whole}x`, 7],
    [whole.replace('"name"', '"type":"orlop-cni","name"'), 7],
    [whole.replace('"cluster"', '"clus\u0001ter"'), 7],
    [whole.replace('"cluster"', "01"), 7],
    [`{"a":${"[".repeat(1_000)}${"]".repeat(1_000)},${whole.slice(1)}`, 7],
    [`${whole.slice(0, -1)},"pad":"${"x".repeat(1_100_000)}"}`, 7],
    [configOf({ prevResult: undefined }), 7],
    [configOf({ prevResult: [] }), 7],
    [configOf({ socket: "keeper.sock" }), 7],
    [configOf({ socket: "/run/with space" }), 7],
    [configOf({ list: undefined }), 7],
    [configOf({ withoutList: "open" }), 7],
    [configOf({ exempt: "shop" }), 7],
    [configOf({ exempt: [1] }), 7],
    [configOf({ cniVersion: "0.2.0" }), 1],
    [configOf({ cniVersion: undefined }), 1],
  ];
  for (const [config, code] of strange) failed(await run({ command: "ADD", config }), code);
  for (const args of ["K8S_POD_NAMESPACE=shop", "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web", 'K8S_POD_NAMESPACE=a"b'])
    failed(await run({ command: "ADD", args }), 4);
  failed(await run({ command: "ADD", netns: "/proc/self/ns/nothing" }), 4);
  for (const container of ["", 'c"1', "c".repeat(254)]) failed(await run({ command: "ADD", container }), 4);
  failed(await run({ command: "", config: configOf() }), 4);
});

test("it is linked statically, so that any node runs it", () => {
  assert.ok(existsSync(program));
  // ELF64, program headers: none of them asks for an interpreter (elf(5), PT_INTERP).
  const bytes = readFileSync(program);
  const [start, size, count] = [Number(bytes.readBigUInt64LE(32)), bytes.readUInt16LE(54), bytes.readUInt16LE(56)];
  const types = Array.from({ length: count }, (_, index) => bytes.readUInt32LE(start + index * size));
  assert.equal(types.includes(3), false);
});
