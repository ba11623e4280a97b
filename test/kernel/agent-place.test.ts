// Programs with the agent's user connect to the keeper's socket from where a pod, a container or an agent runs: whom the keeper takes for its
// agent, and what it says of the others. Needs root: namespaces and a cgroup are made.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { FdSocket } from "../../agent/keeper/addon.ts";
import { Lender, serveOn } from "../../agent/keeper/lend.ts";
import { keeperPlace, peerPlace } from "../../agent/keeper/peer-place.ts";
import { cgroup2Mount } from "../../agent/process/mounts.ts";

const AGENT = 61_008;
const mount = cgroup2Mount(readFileSync("/proc/self/mountinfo", "utf8"));
assert.ok(mount, "this test needs cgroup v2");
const cgroup = join(mount, `orlop-place-test-${process.pid}`);
const scratch = mkdtempSync(join(tmpdir(), "orlop-place-"));
const directory = join(scratch, "keeper");
const socket = join(directory, "keeper.sock");

before(() => {
  for (const path of [directory, join(scratch, "host"), cgroup]) mkdirSync(path);
  chmodSync(scratch, 0o755);
});
after(() => {
  rmSync(scratch, { recursive: true });
  rmdirSync(cgroup);
});

const program = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect(sys.argv[1])
try:
    s.send(b'{"id":1,"op":"hello","version":1,"node":"n","role":"new"}')
    said = s.recv(1000)
except OSError: said = b""
print("turned away" if said == b"" else "heard", flush=True)`;

/** The keeper's socket, for a single program; the keeper writes no line twice. What came of it, and the keeper's first line. */
async function met(start: () => ChildProcess) {
  const lines: Readonly<Record<string, unknown>>[] = [];
  const place = keeperPlace(directory);
  const none = (): void => {};
  const warn = (text: string, fields: object = {}): void => void lines.push({ text, ...fields });
  const lender = new Lender({
    ...{ agentUid: AGENT, gone: none, log: { debug: none, info: none, error: none, warn } },
    placeOf: (pid) => peerPlace(place, pid),
    handle: async ({ id }) => ({ reply: { id, op: "done" } }),
  });
  // The mode keeps no user away: what is asked here is what the keeper itself sees.
  const server = FdSocket.listen(socket, 0o666);
  serveOn(server, lender);
  const child = start();
  let said = "";
  child.stdout?.on("data", (part: Buffer) => {
    said += part;
  });
  await new Promise((resolve) => child.once("close", resolve));
  lender.close();
  server.close();
  return { said: said.trim(), line: lines[0], pid: child.pid };
}

/** As that user a program connects and speaks. */
function connect(uid: number, around: readonly string[], path = socket) {
  const user = ["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups", "--inh-caps=-all"];
  const [command = "", ...args] = [...around, ...user, "/usr/bin/python3", "-c", program, path];
  return met(() => spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] }));
}

/** In new namespaces, after a script of root's. */
const inNew = (flags: readonly string[], script: string): string[] => [
  ...["unshare", ...flags, "sh", "-ec", `${script}\nexec "$@"`, "sh"],
];
const bound = `mount --bind ${directory} ${directory}`;

test("the agent is heard beside the keeper, and in a container that was given the keeper's directory", async () => {
  for (const around of [[], inNew(["--mount", "--net"], bound)]) {
    const { said, line } = await connect(AGENT, around);
    assert.deepEqual([said, line], ["heard", undefined]);
  }
});

test("a pod's program with the agent's user is turned away, with a line that says why and where it is", async () => {
  const { said, line, pid } = await connect(AGENT, inNew(["--net"], `echo $$ > ${cgroup}/cgroup.procs`));
  assert.equal(said, "turned away");
  assert.deepEqual(line, {
    text: "a process that is not our agent was turned away",
    why: "it runs beside the keeper, in another network namespace",
    ...{ uid: AGENT, pid, agents: 0 },
    cgroup: cgroup.slice(mount.length),
  });
});

const elsewhere = "it is in a container that was not given the keeper's directory";
const cases: readonly { what: string; uid?: number; around: readonly string[]; path?: string; why: string }[] = [
  { what: "a container with the node's files", around: ["unshare", "--mount"], why: elsewhere },
  {
    what: "a container with the node's files below another directory",
    around: inNew(["--mount", "--net"], `mount --rbind / ${scratch}/host`),
    path: `${scratch}/host${socket}`,
    why: elsewhere,
  },
  {
    what: "a container with the directory above the keeper's",
    around: inNew(["--mount"], `mount --bind ${scratch} ${scratch}`),
    why: elsewhere,
  },
  {
    what: "a container that has the directory at another place",
    around: inNew(["--mount"], `mount --bind ${directory} ${scratch}/host`),
    path: `${scratch}/host/keeper.sock`,
    why: elsewhere,
  },
  { what: "root in a container", uid: 0, around: ["unshare", "--mount"], why: elsewhere },
  { what: "another user beside the keeper", uid: 65_534, around: [], why: "it is not the agent's user" },
];
for (const { what, uid = AGENT, around, path, why } of cases)
  test(`${what} is turned away`, async () => {
    const { said, line } = await connect(uid, around, path);
    assert.deepEqual([said, line?.why, line?.uid], ["turned away", why, uid]);
  });

test("who is root in a user namespace of its own, and mounts the directory there, is turned away", async () => {
  // As the agent's user it maps itself to root there, which needs no right of root's.
  const script = `${bound} && exec /usr/bin/python3 -c "$0" "$1"`;
  const flags = ["--user", "--map-root-user", "--mount", "sh", "-ec", script, program, socket];
  const user = [`--reuid=${AGENT}`, `--regid=${AGENT}`, "--clear-groups", "--inh-caps=-all"];
  const { said, line } = await met(() =>
    spawn("setpriv", [...user, "unshare", ...flags], { stdio: ["ignore", "pipe", "inherit"] }),
  );
  assert.deepEqual([said, line?.why, line?.uid], ["turned away", "it is in another user namespace", AGENT]);
});

test("a process that has ended is known to have ended, whoever has its pid by then", async (t) => {
  const path = join(scratch, "lives.sock");
  const listener = FdSocket.listen(path, 0o666);
  t.after(() => listener.close());
  const accepted = new Promise<FdSocket>((resolve) => listener.onConnection(resolve));
  const child = spawn("/usr/bin/python3", ["-c", `${program.split("try:")[0]}\nimport time; time.sleep(600)`, path]);
  const connection = await accepted;
  t.after(() => connection.close());
  const before = connection.peerLives();
  if (before === undefined) return t.skip("this kernel does not say it");
  assert.equal(before, true);
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await gone;
  assert.equal(connection.peerLives(), false);
});
