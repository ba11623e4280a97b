// Ways that might lead around the hooks, out of an enrolled pod and into it (root), with everything that a pod with NET_ADMIN and NET_RAW may
// set: each call that the kernel's TCP makes is the agent's, and no way in meets a port that refuses. What is no TCP of the kernel's passes, as
// the threat model says.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { ORLOP_IN_PASS, ORLOP_IN_REFUSE } from "../../agent/abi.ts";
import { HookBench, OUTSIDE4, OUTSIDE6, POD4, POD6 } from "./hook-bench.ts";

/** What the socket is set to: a pod with NET_ADMIN or NET_RAW may set all of it. */
const options = ["", "+mptcp", "+mark", "+transparent", "+device", "+mptcp+mark", "+mptcp+device"];
const [PORT, CLOSED] = [8080, 8443];

/** Answers each connection of both families, by MPTCP where the caller speaks it, and takes data in the first packet with Fast Open. */
const server = (ports: readonly number[]): string => `
import socket, threading, time
def serve(port):
  s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, 262)
  s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
  s.setsockopt(6, 23, 16)
  s.bind(("::", port)); s.listen(64)
  print("listening", flush=True)
  while True:
    c, _ = s.accept()
    try: c.recv(99); c.send(b"around\\n"); c.close()
    except OSError: pass
for port in ${JSON.stringify(ports)}: threading.Thread(target=serve, args=(port,), daemon=True).start()
time.sleep(600)`;

describe("ways around the hooks (E8)", { concurrency: 1 }, () => {
  const bench = new HookBench();
  const folder = mkdtempSync(join(tmpdir(), "orlop-around-"));
  const oddConnect = join(folder, "odd-connect");
  after(() => {
    bench.remove();
    rmSync(folder, { recursive: true });
  });
  before(async () => {
    const source = fileURLToPath(new URL("../support/odd-connect.c", import.meta.url));
    execFileSync("cc", ["-O1", "-Wall", "-Wextra", "-Werror", "-o", oddConnect, source, "-luring"]);
    await bench.agentListens("127.0.0.1", 15001, "agent\n");
    await bench.agentListens("::1", 15001, "agent\n");
    await bench.enrol();
    bench.keepBeating();
    for (const app of [bench.startOutside(server([PORT])), bench.startInPod(server([PORT, CLOSED]))]) await app.line();
    await bench.listensOutside(PORT);
    for (const port of [PORT, CLOSED]) await bench.listensInPod(port);
  });

  /** What each mode hears at an address, by `<mode> <address>`. */
  async function heard(
    run: (code: string) => Promise<string>,
    asked: readonly (readonly [mode: string, address: string, port: number])[],
  ): Promise<ReadonlyMap<string, string>> {
    const calls = asked.map(([mode, address, port]) => [mode, address, String(port)]);
    const printed = await run(`
import json, subprocess
for mode, address, port in json.loads('${JSON.stringify(calls)}'):
  done = subprocess.run(["${oddConnect}", mode, address, port], capture_output=True, text=True)
  print(mode + " " + address + "=" + done.stdout.strip())`);
    return new Map(printed.split("\n").map((line) => line.split("=", 2) as [string, string]));
  }

  for (const way of [
    "plain",
    "nonblocking",
    "fastopen",
    "fastopen-connect",
    "reconnect",
    "loopback-first",
    "uring",
    "sqpoll",
    "addrform",
  ])
    test(`out by ${way}, with whatever the socket is set to: the agent's`, async () => {
      const mapped = `::ffff:${OUTSIDE4}`;
      const addresses = way === "addrform" ? [mapped] : [OUTSIDE4, OUTSIDE6, mapped];
      const asked = options.flatMap((option) => addresses.map((to) => [way + option, to, PORT] as const));
      const answers = await heard((code) => bench.inPod(code), asked);
      assert.equal(answers.size, asked.length);
      for (const [call, answer] of answers) {
        // MPTCP has no such change of family, and what is bound to a device does not reach loopback first.
        if (way === "addrform" && /mptcp|device/.test(call)) assert.match(answer, /^before the call/, call);
        else assert.equal(answer, "agent", call);
      }
    });

  test("out from an address that is not the pod's: nowhere", async () => {
    const answers = await heard(
      (code) => bench.inPod(code),
      [
        ["plain+foreign", OUTSIDE4, PORT],
        ["fastopen+foreign+mark", OUTSIDE4, PORT],
      ],
    );
    for (const [call, answer] of answers) assert.doesNotMatch(answer, /around/, call);
  });

  test("out where nobody is enrolled, by the same calls: outside", async () => {
    const answers = await heard(
      (code) => bench.unseen(code),
      [
        ["plain+mptcp", OUTSIDE4, PORT],
        ["sqpoll", OUTSIDE6, PORT],
      ],
    );
    assert.deepEqual([...answers.values()], ["around", "around"]);
  });

  test("in: a port that refuses is met by no way, and one that passes by each", async () => {
    bench.said("in_by_port", 0, ORLOP_IN_REFUSE);
    bench.said("in_by_port", PORT, ORLOP_IN_PASS);
    const modes = ["plain", "plain+mptcp", "fastopen", "fastopen+mptcp", "fastopen-connect", "sqpoll"];
    const asked = (port: number) =>
      modes.flatMap((mode) => [POD4, POD6].map((address) => [mode, address, port] as const));
    for (const [call, answer] of await heard((code) => bench.outside(code), asked(CLOSED)))
      assert.match(answer, /Connection refused|reset by peer/, call);
    for (const [call, answer] of await heard((code) => bench.outside(code), asked(PORT)))
      assert.equal(answer, "around", call);
  });

  test("what is no TCP passes in both directions: UDP-Lite, as UDP does", async () => {
    const receive = (address: string): string => `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 136); s.settimeout(15); s.bind(("${address}", 9999))
print("bound", flush=True); print(s.recv(99).decode(), flush=True)`;
    const send = (address: string): string => `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 136); s.connect(("${address}", 9999)); s.send(b"passed")`;
    const outside = bench.startOutside(receive(OUTSIDE4));
    await outside.line();
    await bench.inPod(send(OUTSIDE4));
    assert.equal(await outside.line(), "passed");
    const inside = bench.startInPod(receive(POD4));
    await inside.line();
    await bench.outside(send(POD4));
    assert.equal(await inside.line(), "passed");
  });

  test("a socket that somebody else's program made and gave away is its maker's, not the pod's that dials with it", async () => {
    const path = join(folder, "give");
    const giver = bench.startInOther(`
import socket, sys
l = socket.socket(socket.AF_UNIX); l.bind("${path}"); l.listen(); print("ready", flush=True)
c, _ = l.accept(); s = socket.socket(); socket.send_fds(c, [b"x"], [s.fileno()]); sys.stdin.readline()`);
    await giver.line();
    const said = await bench.inPod(`
import socket
u = socket.socket(socket.AF_UNIX); u.connect("${path}")
_, fds, _, _ = socket.recv_fds(u, 9, 1)
s = socket.socket(fileno=fds[0]); s.settimeout(5)
s.connect(("${OUTSIDE4}", ${PORT})); s.send(b"x"); print(s.recv(99).decode().strip(), s.getsockname()[0])`);
    await giver.end();
    assert.equal(said, `around ${OUTSIDE4}`);
  });
});
