// test support · one pod for a keeper: a process in a cgroup and a namespace of its own, an agent that asks for it, and what its programs dial.
// A keeper that fails ends what waits for it.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { duplicate, FdSocket } from "../../agent/engine/addon.ts";
import { fdChannel } from "../../agent/engine/keeper-channel.ts";
import { KeeperClient, type Welcome } from "../../agent/engine/keeper-client.ts";
import type { KeeperLog } from "../../agent/keeper/lend.ts";
import { cgroup2Mount } from "../../agent/process/mounts.ts";

export const address = "10.77.0.2";
export const uid = "5c0ffee5-0000-4000-8000-000000000001";
export const ref = (podIdx: number) => ({ podIdx, uid });
export const scratch = mkdtempSync(join(tmpdir(), "orlop-keeper-"));
const mount = cgroup2Mount(readFileSync("/proc/self/mountinfo", "utf8"));
assert.ok(mount, "this test needs cgroup v2");
export const base = join(mount, `orlop-keeper-test-${process.pid}`);
export const podsCgroup = join(base, "pods");
export const podCgroup = join(podsCgroup, `pod${uid}`);
export const config = {
  node: `test.${process.pid}`,
  directory: join(scratch, "keeper"),
  socket: join(scratch, "keeper", "keeper.sock"),
  stateDirectory: join(scratch, "state"),
  bpffs: join(scratch, "bpf"),
  podsCgroup,
  heartbeatLimitMs: 2_000,
  nodeAccess: { mode: "none" as const, kubeletCgroup: "", from: [] },
  agentUid: 61008,
  log: { level: "debug" },
};

export const said: string[] = [];
const say =
  (level: string) =>
  (message: string, fields?: object): void => {
    said.push(`${level} ${message} ${JSON.stringify(fields ?? {})}`);
  };
export const log: KeeperLog = { debug: say("debug"), info: say("info"), warn: say("warn"), error: say("error") };

/** A process in the pod's cgroup; in a network namespace of its own if `ownNetwork`. */
export async function startPause(options: { ownNetwork: boolean }): Promise<ChildProcess> {
  mkdirSync(podCgroup, { recursive: true });
  const network = `ip link set lo up && ip addr add ${address}/32 dev lo &&`;
  const script = `echo $$ > ${podCgroup}/cgroup.procs && ${options.ownNetwork ? network : ""} echo up && exec sleep 600`;
  const [command = "", ...args] = [...(options.ownNetwork ? ["unshare", "-n"] : []), "sh", "-c", script];
  const pause = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
  await new Promise<void>((resolve, reject) => {
    pause.stdout.once("data", () => resolve());
    pause.once("exit", (status) => reject(new Error(`the pause process ended with ${status}`)));
  });
  pause.removeAllListeners("exit");
  return pause;
}

/** Once its processes have left it, which is a moment after their end. */
export async function removeCgroups(...paths: readonly string[]): Promise<void> {
  for (const path of paths.filter((each) => existsSync(each)))
    await until(`no process in ${path}`, () => {
      try {
        rmdirSync(path);
        return true;
      } catch (error) {
        if (error instanceof Error && Reflect.get(error, "code") === "EBUSY") return false;
        throw error;
      }
    });
}

export async function end(process_: ChildProcess): Promise<void> {
  if (process_.exitCode !== null || process_.signalCode !== null) return;
  const ended = new Promise((resolve) => process_.once("exit", resolve));
  process_.kill("SIGKILL");
  await ended;
}

/** Dials from inside the pod: what the program saw. "connected PEERADDRESS:PORT" or an errno. */
export function dialFromPod(pause: ChildProcess, target: string, port: number): Promise<string> {
  const program = `const s = require("net").connect(${port}, ${JSON.stringify(target)});
    s.on("connect", () => { console.log("connected", s.remoteAddress + ":" + s.remotePort); s.destroy(); });
    s.on("error", (error) => console.log(error.code));`;
  const join_ = `echo $$ > ${podCgroup}/cgroup.procs; exec nsenter -t ${pause.pid} -n "$@"`;
  const dial = spawn("sh", ["-c", join_, "dial", process.execPath, "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  dial.stdout.on("data", (part) => {
    output += part;
  });
  return new Promise((resolve) => dial.once("close", () => resolve(output.trim())));
}

/** Accepts on a lent listener, which stays open when the server is closed; each accepted connection's peer and local port. */
export function acceptOn(fd: number): {
  readonly server: net.Server;
  readonly seen: { remotePort: number; localPort: number }[];
} {
  const seen: { remotePort: number; localPort: number }[] = [];
  const server = net.createServer((socket) => {
    seen.push({ remotePort: socket.remotePort ?? 0, localPort: socket.localPort ?? 0 });
    socket.on("error", () => {}); // The dialling program closes as it likes.
    socket.resume();
  });
  server.listen({ fd: duplicate(fd) });
  return { server, seen };
}

let failure: unknown;

/** What a test waits for will not come: `until` throws this. */
export const keeperFailed = (error: unknown): void => {
  failure = error;
};

export async function until(what: string, true_: () => boolean): Promise<void> {
  for (const end = performance.now() + 60_000; performance.now() < end; await sleep(10)) {
    if (true_()) return;
    if (failure !== undefined) throw failure;
  }
  assert.fail(`never: ${what}\n${said.join("\n")}`);
}

export class Agent {
  readonly gone: string[] = [];
  readonly guarded: string[] = [];
  readonly notices: string[] = [];
  welcome: Welcome | undefined;
  readonly client = new KeeperClient({
    path: config.socket,
    node: config.node,
    connect: fdChannel(FdSocket),
    role: () => this.welcome?.role ?? "new",
  });
  async start(): Promise<Welcome> {
    this.client.start({
      onWelcome: (welcome) => {
        this.welcome = welcome;
      },
      onLost: () => {
        this.welcome = undefined;
      },
      onPodGuarded: (podIdx, which) => this.guarded.push(`${podIdx}-${which}`),
      onPodStarting: () => {},
      onPodFound: () => {},
      onPodGone: (_podIdx, which) => this.gone.push(which),
      onYield: () => this.notices.push("yield"),
      onVacant: () => this.notices.push("vacant"),
      onSettled: () => this.notices.push("settled"),
      onReread: () => this.notices.push("reread"),
    });
    await until("welcome", () => this.welcome !== undefined);
    assert.ok(this.welcome);
    return this.welcome;
  }
}
