// sk_lookup against real connections from outside the pod and from the agent's own sockets (root), and by test runs.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { closeSync } from "node:fs";
import net from "node:net";
import { after, before, describe, test } from "node:test";
import {
  ORLOP_COUNT_IN_AGENT_FLOW,
  ORLOP_COUNT_IN_REFUSED_NO_LISTENER,
  ORLOP_COUNT_IN_REFUSED_PORT,
  ORLOP_COUNT_IN_REFUSED_STRICT,
  ORLOP_COUNT_IN_REFUSED_UNKNOWN,
  ORLOP_DIRECTION_IN,
  ORLOP_IN_AGENT,
  ORLOP_IN_PASS,
  ORLOP_IN_REFUSE,
  ORLOP_LOCAL_TABLE,
} from "../../agent/abi.ts";
import { HookBench, OUTSIDE4, OUTSIDE6, POD_IDX, POD4, POD6 } from "./hook-bench.ts";
import { dial } from "./namespace-programs.ts";

/** An application in the pod: answers `count` connections on every address with its name and the peer it sees. */
const application = (port: number, count: number): string => `
import socket
s = socket.socket(socket.AF_INET6); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0); s.bind(("::", ${port})); s.listen(); s.settimeout(15)
for _ in range(${count}):
  c, a = s.accept(); c.recv(9); c.send(("app " + a[0].replace("::ffff:", "")).encode()); c.close()`;

describe("connections to a pod", { concurrency: 1 }, () => {
  const bench = new HookBench();
  after(() => bench.remove());
  before(async () => {
    await bench.enrol();
    bench.beat(0n);
  });

  test("nothing was said: refused, counted and told with its tuple", async () => {
    const before = bench.count(ORLOP_COUNT_IN_REFUSED_UNKNOWN);
    bench.events();
    assert.equal(await bench.outside(dial(POD4, 8000)), "ECONNREFUSED");
    assert.equal(bench.count(ORLOP_COUNT_IN_REFUSED_UNKNOWN), before + 1);
    const [refused] = bench.events();
    assert.partialDeepStrictEqual(refused, { type: "refused", dst: `${POD4} 8000`, direction: ORLOP_DIRECTION_IN });
    assert.match(refused?.src ?? "", new RegExp(`^${OUTSIDE4} \\d+$`));
  });

  test("STRICT refuses, PASS lets through, the exact port comes before the default", async () => {
    bench.said("in_by_port", 0, ORLOP_IN_REFUSE);
    bench.said("in_by_port", 8001, ORLOP_IN_PASS);
    const strict = bench.count(ORLOP_COUNT_IN_REFUSED_STRICT);
    const app = bench.inPod(application(8001, 2));
    await bench.listensInPod(8001);
    assert.equal(await bench.outside(dial(POD4, 8001)), `${POD4} 8001 app ${OUTSIDE4}`);
    assert.equal(await bench.outside(dial(POD6, 8001)), `${POD6} 8001 app ${OUTSIDE6}`);
    await app;
    for (const address of [POD4, POD6]) assert.equal(await bench.outside(dial(address, 8002)), "ECONNREFUSED");
    assert.equal(bench.count(ORLOP_COUNT_IN_REFUSED_STRICT), strict + 2);
    await bench.untilEnded(ORLOP_DIRECTION_IN, 8001, 2);
    const { opened, closed, sentBytes, receivedBytes } = bench.traffic(ORLOP_DIRECTION_IN, 8001);
    assert.deepEqual([opened, closed], [2, 2]);
    // The application closes first, so the clients' FINs may count as one byte each (bpf/report.bpf.h).
    assert.ok(receivedBytes >= 10 && receivedBytes <= 12, String(receivedBytes));
    assert.equal(sentBytes, `app ${OUTSIDE4}app ${OUTSIDE6}`.length);
  });

  test("for the agent: to its listener with the dialled address; without a listener refused", async () => {
    bench.said("in_by_port", 8003, ORLOP_IN_AGENT);
    const before = bench.count(ORLOP_COUNT_IN_REFUSED_NO_LISTENER);
    assert.equal(await bench.outside(dial(POD4, 8003)), "ECONNREFUSED");
    assert.equal(bench.count(ORLOP_COUNT_IN_REFUSED_NO_LISTENER), before + 1);
    const v4 = await bench.agentListens("127.0.0.1", 15006);
    const v6 = await bench.agentListens("::1", 15006);
    bench.setInboundListener(4, v4.fd);
    bench.setInboundListener(6, v6.fd);
    assert.equal(await bench.outside(dial(POD4, 8003)), `${POD4} 8003 agent`);
    assert.equal(await bench.outside(dial(POD6, 8003)), `${POD6} 8003 agent`);
    assert.deepEqual(v4.locals, [`${POD4} 8003`]);
    assert.deepEqual(v6.locals, [`${POD6} 8003`]);
    assert.equal(bench.traffic(ORLOP_DIRECTION_IN, 8003).opened, 0, "the agent's connections are not an application's");
  });

  test("addresses that nobody listed are the pod's own: refused, passed and given to the agent as listed ones", async () => {
    const ip = (...words: string[]) => execFileSync("ip", ["-n", bench.podName, ...words]);
    ip("address", "add", "10.99.0.33/24", "dev", "eth0");
    ip("address", "add", "fd99::33/64", "dev", "eth0", "nodad");
    ip("link", "add", "docker0", "type", "veth", "peer", "name", "docker1");
    for (const device of ["docker0", "docker1"]) ip("link", "set", device, "up");
    ip("address", "add", "172.17.0.1/16", "dev", "docker0");
    execFileSync("ip", ["-n", bench.outsideName, "route", "add", "172.17.0.0/16", "via", POD4]);
    const shown = ip("-o", "-6", "address", "show", "dev", "eth0", "scope", "link").toString();
    const linkLocal = `${/fe80::[0-9a-f:]+/.exec(shown)?.[0]}%eth0`;
    const unlisted = ["10.99.0.33", "fd99::33", "172.17.0.1", linkLocal];

    bench.said("in_by_port", 8006, ORLOP_IN_PASS);
    bench.said("in_by_port", 8007, ORLOP_IN_AGENT);
    const [strict, unknown] = [ORLOP_COUNT_IN_REFUSED_STRICT, ORLOP_COUNT_IN_REFUSED_UNKNOWN].map((reason) =>
      bench.count(reason),
    );
    const app = bench.inPod(application(8006, unlisted.length));
    await bench.listensInPod(8006);
    for (const address of unlisted) {
      assert.match(await bench.outside(dial(address, 8006)), / 8006 app /, address);
      assert.match(await bench.outside(dial(address, 8007)), / 8007 agent$/, address);
      assert.equal(await bench.outside(dial(address, 8008)), "ECONNREFUSED", address);
    }
    await app;
    assert.equal(bench.count(ORLOP_COUNT_IN_REFUSED_STRICT), (strict ?? 0) + unlisted.length);
    assert.equal(bench.count(ORLOP_COUNT_IN_REFUSED_UNKNOWN), unknown);

    // What the pod dials at them is its own affair, as on loopback.
    bench.beat(0n, true);
    const own = bench.inPod(application(8008, 1));
    await bench.listensInPod(8008);
    assert.equal(await bench.inPod(dial("172.17.0.1", 8008)), "172.17.0.1 8008 app 172.17.0.1");
    await own;
    bench.beat(0n);
  });

  test("addresses of a pod that is guarded are nobody's", async () => {
    bench.programs.attachNamespace(bench.netnsFd, bench.lookupPin, 0);
    const before = bench.count(ORLOP_COUNT_IN_REFUSED_UNKNOWN);
    assert.equal(await bench.outside(dial("10.99.0.33", 8006)), "ECONNREFUSED");
    assert.equal(bench.count(ORLOP_COUNT_IN_REFUSED_UNKNOWN), before + 1);
    bench.programs.attachNamespace(bench.netnsFd, bench.lookupPin, POD_IDX);
  });

  test("the tunnel port is the keeper's listener's: an application on it gets nothing, also when the listener is gone", async () => {
    bench.said("in_by_port", 15008, ORLOP_IN_PASS);
    // Never called: it runs until its own time-out.
    const app = bench.inPod(`${application(15008, 1).replace("settimeout(15)", "settimeout(4)")}`).catch(() => "alone");
    await bench.listensInPod(15008);
    for (const address of [POD4, POD6]) assert.equal(await bench.outside(dial(address, 15008)), "ECONNREFUSED");
    const v4 = await bench.agentListens("127.0.0.1", 15108);
    const v6 = await bench.agentListens("::1", 15108);
    bench.setInboundListener(4, v4.fd, 15008);
    bench.setInboundListener(6, v6.fd, 15008);
    for (const address of [POD4, POD6])
      assert.equal(await bench.outside(dial(address, 15008)), `${address} 15008 agent`);
    v4.close();
    v6.close();
    for (const address of [POD4, POD6]) assert.equal(await bench.outside(dial(address, 15008)), "ECONNREFUSED");
    assert.equal(bench.map("inbound_socket").keys().length, 2, "those of :15006");
    assert.equal(await app, "alone");
  });

  test("the inner ports are refused from outside, the pod reaches itself", async () => {
    const before = bench.count(ORLOP_COUNT_IN_REFUSED_PORT);
    for (const port of [15001, 15006]) assert.equal(await bench.outside(dial(POD4, port)), "ECONNREFUSED");
    assert.equal(bench.count(ORLOP_COUNT_IN_REFUSED_PORT), before + 2);
    const app = bench.inPod(application(8004, 2));
    await bench.listensInPod(8004);
    assert.equal(await bench.inPod(dial(POD4, 8004)), `${POD4} 8004 app ${POD4}`);
    assert.equal(await bench.inPod(dial("127.0.0.1", 8004)), "127.0.0.1 8004 app 127.0.0.1");
    await app;
  });

  const rulesForOurMark = (family: string): number =>
    execFileSync("ip", ["-n", bench.podName, family, "rule"])
      .toString()
      .split("\n")
      .filter((line) => line.includes(`lookup ${ORLOP_LOCAL_TABLE}`)).length;

  for (const [kind, client, pod] of [
    ["local4", "198.51.100.7", POD4],
    ["local6", "2001:db8::7", POD6],
  ] as const) {
    test(`the agent's dial is admitted past STRICT, from the client's address (${kind})`, async () => {
      assert.deepEqual(await bench.thread.prepareNamespace(bench.netnsFd), {
        preservesSource: true,
        problem: undefined,
      });
      await bench.thread.prepareNamespace(bench.netnsFd);
      const family = kind === "local4" ? "-4" : "-6";
      const before = bench.count(ORLOP_COUNT_IN_AGENT_FLOW);
      const app = bench.inPod(application(8005, 2));
      await bench.listensInPod(8005);
      // Nobody pays for a rule in a pod that no agent dials; and a program in the pod that takes it away only delays.
      for (const dials of [1, 2]) {
        assert.equal(rulesForOurMark(family), 0);
        const [fd] = await bench.thread.sockets(bench.netnsFd, kind, 1);
        assert.ok(fd !== undefined);
        assert.equal(rulesForOurMark(family), 1);
        assert.equal(await connectFrom(fd, client, pod, 8005), `app ${client}`);
        assert.equal(bench.count(ORLOP_COUNT_IN_AGENT_FLOW), before + dials);
        execFileSync("ip", ["-n", bench.podName, family, "rule", "del", "pref", String(ORLOP_LOCAL_TABLE)]);
      }
      await app;
      assert.ok(!bench.events().some(({ dst }) => dst === `${pod} 8005`), "the agent tells of it, and nobody twice");
      assert.equal(bench.map("agent_flow").keys().length, 0, "admitted once");
    });
  }

  for (const [kind, client, address] of [
    ["local4", "198.51.100.7", "10.99.0.34"],
    ["local6", "2001:db8::7", "fd99::34"],
  ] as const) {
    test(`the agent's dial reaches a server that is bound to a device, also to one that came later (${kind})`, async () => {
      const device = `later${kind.at(-1)}`;
      execFileSync("ip", ["-n", bench.podName, "link", "add", device, "type", "veth", "peer", "name", `${device}p`]);
      for (const end of [device, `${device}p`]) execFileSync("ip", ["-n", bench.podName, "link", "set", end, "up"]);
      execFileSync("ip", [
        "-n",
        bench.podName,
        "address",
        "add",
        address,
        "dev",
        device,
        ...(kind === "local6" ? ["nodad"] : []),
      ]);
      for (const [name, host] of [
        ["eth0", kind === "local4" ? POD4 : POD6],
        [device, address],
      ] as const) {
        const bound = `s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"${name}"); s.bind(`;
        const app = bench.inPod(application(8009, 1).replace("s.bind(", bound));
        await bench.listensInPod(8009);
        const [fd] = await bench.thread.sockets(bench.netnsFd, kind, 1);
        assert.ok(fd !== undefined);
        assert.equal(await connectFrom(fd, client, host, 8009), `app ${client}`, name);
        await app;
      }
      await bench.thread.prepareNamespace(bench.netnsFd);
      await bench.thread.restoreNamespace(bench.netnsFd);
      for (const family of ["-4", "-6"]) {
        const left = execFileSync("ip", ["-n", bench.podName, family, "route", "show", "table", "28530"], {
          stdio: ["ignore", "pipe", "ignore"],
        });
        assert.equal(left.toString(), "");
      }
      await bench.thread.prepareNamespace(bench.netnsFd);
    });
  }

  test("sockets for tunnels are never admitted past STRICT", async () => {
    const [fd] = await bench.thread.sockets(bench.netnsFd, "out4", 1);
    assert.ok(fd !== undefined);
    assert.equal(bench.map("agent_flow").keys().length, 0);
    const socket = new net.Socket({ fd });
    socket.destroy();
  });

  test("test runs agree", () => {
    assert.equal(bench.programs.testLookup("198.51.100.9", 4000, POD4, 8001).verdict, "pass");
    assert.equal(bench.programs.testLookup("198.51.100.9", 4000, POD4, 8002).verdict, "drop");
    assert.equal(bench.programs.testLookup("198.51.100.9", 4000, POD4, 15006).verdict, "drop");
    assert.equal(bench.programs.testLookup("198.51.100.9", 4000, POD4, 15008).verdict, "drop", "no listener");
    assert.equal(
      bench.programs.testLookup("198.51.100.9", 4000, "10.99.0.77", 15008).verdict,
      "drop",
      "not our address",
    );
    assert.equal(bench.programs.testLookup("2001:db8::9", 4000, POD6, 8002).verdict, "drop");
    assert.equal(bench.programs.testLookup(POD4, 4000, POD4, 8002).verdict, "pass");
  });
});

/** Binds a made socket to the client's address and connects it, in Python: what the engine does in C++. */
async function connectFrom(fd: number, client: string, address: string, port: number): Promise<string> {
  const code = `
import socket
s = socket.socket(fileno=3); s.setblocking(True); s.settimeout(5)
s.bind(("${client}", 0)); s.connect(("${address}", ${port})); s.send(b"hello"); print(s.recv(100).decode())`;
  const child = spawn("python3", ["-c", code], { stdio: ["ignore", "pipe", "inherit", fd] });
  let output = "";
  child.stdout?.on("data", (part) => {
    output += part;
  });
  await new Promise((resolve) => child.once("close", resolve));
  closeSync(fd);
  return output.trim();
}
