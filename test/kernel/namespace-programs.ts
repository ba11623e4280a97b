// support of test/kernel (root) · small programs in Python, run in a network namespace and a cgroup of the test's.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Where a program runs: the name of a network namespace (ip-netns(8)), and its cgroup; undefined: the test's own cgroup. */
export type Place = { readonly namespace: string; readonly cgroup?: string | undefined };

export type StartedProgram = {
  /** The next line that it prints. */
  readonly line: () => Promise<string>;
  readonly say: (text: string) => void;
  /** Closes its input and waits for its end. */
  readonly end: () => Promise<void>;
};

const entering = ({ namespace, cgroup }: Place): string =>
  `${cgroup === undefined ? "" : `echo $$ > ${cgroup}/cgroup.procs;`} exec nsenter --net=/var/run/netns/${namespace}`;

/** Runs a command to its end, for 20 s at most. @returns what it prints @throws when it fails, with what it says */
export async function runAt(place: Place, command: readonly string[]): Promise<string> {
  const { stdout } = await run("sh", ["-c", `${entering(place)} "$@"`, "sh", ...command], { timeout: 20_000 });
  return stdout.trim();
}

export const runPython = (place: Place, code: string): Promise<string> => runAt(place, ["python3", "-c", code]);

/** The caller ends it, by `end` or `kill`. */
export function startPython(place: Place, code: string): StartedProgram & { readonly kill: () => void } {
  const child = spawn("sh", ["-c", `${entering(place)} python3 -c "$1"`, "sh", code], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const exited = once(child, "exit");
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    line: async () => {
      const { value, done } = await lines.next();
      if (done === true) throw new Error("the program has ended");
      return value;
    },
    say: (text) => void child.stdin.write(`${text}\n`),
    end: async () => {
      child.stdin.end();
      await exited;
    },
    kill: () => void child.kill("SIGKILL"),
  };
}

const hex = (port: number): string => port.toString(16).toUpperCase().padStart(4, "0");

/** Resolves when the namespace's tables of sockets (proc(5), /proc/net/tcp) have such a line: how soon is the machine's load's to say. */
async function untilInTable(namespace: string, line: RegExp): Promise<void> {
  const tables = [`--net=/var/run/netns/${namespace}`, "cat", "/proc/self/net/tcp", "/proc/self/net/tcp6"];
  for (const end = performance.now() + 60_000; performance.now() < end; ) {
    if (line.test((await run("nsenter", tables)).stdout)) return;
  }
  throw new Error(`no socket of ${namespace} is ${line} within a minute`);
}

/** Resolves when a program in the namespace listens on the port. */
export const untilListening = (namespace: string, port: number): Promise<void> =>
  untilInTable(namespace, new RegExp(`:${hex(port)} [0-9A-F:]+ 0A `));

/** Resolves when a SYN from that port has come to the namespace, whose handshake is not over. */
export const untilHalfOpen = (namespace: string, clientPort: number): Promise<void> =>
  untilInTable(namespace, new RegExp(`:${hex(clientPort)} 03 `));

/** Python that dials and says what came of it: `<peer> <port> <answer>`, or the errno's name. */
export const dial = (
  address: string,
  port: number,
  options: { readonly mptcp?: boolean; readonly fastOpen?: boolean } = {},
): string => `
import socket, errno
f = socket.AF_INET6 if ":" in "${address}" else socket.AF_INET
s = socket.socket(f, socket.SOCK_STREAM, ${options.mptcp ? 262 : 6})
s.settimeout(5)
try:
  if ${options.fastOpen ? "True" : "False"}: s.settimeout(None); s.sendto(b"hello", 0x20000000, ("${address}", ${port}))
  else: s.connect(socket.getaddrinfo("${address}", ${port}, f)[0][4]); s.send(b"hello")
  peer = s.getpeername()
  print(peer[0], peer[1], s.recv(100).decode())
except OSError as e: print(errno.errorcode.get(e.errno, repr(e)))
`;
