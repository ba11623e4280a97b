// The keeper against a real namespace and cgroup (root): prepare, capture, a restart of the keeper, a pod that dies, and
// nothing left behind. The test plays the agent: it accepts on what it was lent and beats the heart.
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { orlopDst, orlopFlow } from "../../agent/abi.ts";
import { KernelMap } from "../../agent/engine/addon.ts";
import type { PreparedPod, Welcome } from "../../agent/engine/keeper-client.ts";
import { runKeeper } from "../../agent/keeper/keeper.ts";
import { pinDirectory } from "../../agent/keeper/programs.ts";
import { entriesOf, Gate, InByPort } from "../../agent/kernel/maps.ts";
import { bytes16ToIp } from "../../agent/mesh/ip.ts";
import {
  Agent,
  acceptOn,
  address,
  base,
  config,
  dialFromPod,
  end,
  keeperFailed,
  log,
  podCgroup,
  podsCgroup,
  ref,
  removeCgroups,
  said,
  scratch,
  startPause,
  uid,
  until,
} from "./kept-pod.ts";

describe("the keeper", { concurrency: 1 }, () => {
  let pause: ChildProcess;
  let stop: AbortController;
  let keeper: Promise<void>;
  const agent = new Agent();
  const startKeeper = (removeOnExit: boolean): void => {
    stop = new AbortController();
    keeper = runKeeper(config, { log, signal: stop.signal, removeOnExit });
    keeper.catch(keeperFailed);
  };
  let beat: NodeJS.Timeout;
  let maps: Welcome["maps"];
  let pod: PreparedPod;
  const listener = (kind: string, family: number): number => {
    const found = pod.listeners.find((listener) => listener.kind === kind && listener.family === family);
    assert.ok(found, `${kind} of IPv${family}`);
    return found.fd;
  };

  before(async () => {
    mkdirSync(podsCgroup, { recursive: true });
    pause = await startPause({ ownNetwork: true });
    startKeeper(false);
    maps = (await agent.start()).maps;
    const gate = new Gate(new KernelMap(maps.gate));
    beat = setInterval(() => gate.beat(process.hrtime.bigint()), 100);
  });
  after(async () => {
    clearInterval(beat);
    agent.client.close();
    stop.abort();
    await keeper.catch(() => {}); // A failing test says more than the keeper's end.
    await end(pause);
    await removeCgroups(podCgroup, podsCgroup, base);
    if (readFileSync("/proc/self/mountinfo", "utf8").includes(config.bpffs)) execFileSync("umount", [config.bpffs]);
    rmSync(scratch, { recursive: true });
  });

  test("a pod is prepared: an index, a cookie, listeners inside its namespace; nothing is captured yet", async () => {
    pod = await agent.client.prepare(uid, [address]);
    assert.equal(pod.captured, false);
    assert.ok(pod.netnsCookie > 0n);
    assert.deepEqual(
      pod.listeners.map(({ kind, address: at, port }) => `${kind} ${at} ${port}`),
      [
        "outbound 127.0.0.1 15001",
        "outbound ::1 15001",
        "inbound 127.0.0.1 15006",
        "inbound ::1 15006",
        "hbone 127.0.0.1 15008",
        "hbone ::1 15008",
      ],
    );
    const { server, seen } = acceptOn(listener("hbone", 4));
    assert.equal(await dialFromPod(pause, "127.0.0.1", 15008), "connected 127.0.0.1:15008");
    await until("accepted", () => seen.length === 1);
    server.close();
    assert.equal(await dialFromPod(pause, "192.0.2.1", 80), "ENETUNREACH");
  });

  test("a pod whose addresses nobody knows is known by those of its namespace", async () => {
    const { addresses, listeners } = await agent.client.prepare(uid, []);
    for (const { fd } of listeners) closeSync(fd);
    assert.deepEqual(addresses, [address]);
  });

  test("an address that is not in the namespace, the node's own network, an unknown pod: refused", async () => {
    await assert.rejects(agent.client.prepare("no-such-pod", [address]), { reason: "pod-not-found" });
    await assert.rejects(agent.client.prepare(uid, ["10.77.0.99"]), { reason: "address-mismatch" });
    await assert.rejects(agent.client.capture(ref(1000), false), { reason: "not-prepared" });
  });

  test("captured: a dial to anywhere arrives at the outbound listener with its destination, and the pod sees what it dialled", async () => {
    const inByPort = new InByPort(new KernelMap(maps.in_by_port));
    inByPort.put(pod.podIdx, 0, "refuse");
    await agent.client.capture(ref(pod.podIdx), false);
    const flows = new KernelMap(maps.dst_of_flow);
    const { server, seen } = acceptOn(listener("outbound", 4));
    assert.equal(await dialFromPod(pause, "192.0.2.1", 80), "connected 192.0.2.1:80");
    await until("accepted", () => seen.length === 1);
    const found = [...entriesOf(flows)].map(([key, value]) => ({
      cookie: new DataView(key.buffer, key.byteOffset).getBigUint64(orlopFlow.netnsCookie, true),
      port: new DataView(key.buffer, key.byteOffset).getUint16(orlopFlow.srcPort, false),
      address: bytes16ToIp(value, orlopDst.addr),
      dstPort: new DataView(value.buffer, value.byteOffset).getUint16(orlopDst.port, false),
    }));
    assert.deepEqual(found, [
      { cookie: pod.netnsCookie, port: seen[0]?.remotePort, address: "192.0.2.1", dstPort: 80 },
    ]);
    server.close();
  });

  test("sockets are made in the pod's namespace, as many as were asked for", async () => {
    for (const kind of ["out4", "out6", "local4", "local6"] as const) {
      const fds = await agent.client.sockets(ref(pod.podIdx), kind, 64);
      assert.equal(fds.length, 64);
      for (const fd of fds) {
        assert.ok(fstatSync(fd).isSocket());
        closeSync(fd);
      }
    }
  });

  test("what is loaded can be seen", async () => {
    const state = await agent.client.programs();
    const names = state.programs.map(({ name }) => name);
    for (const part of ["connect4", "connect6", "sockops", "lookup"]) {
      assert.ok(
        names.some((name) => name.includes(part)),
        `${part} among ${names.join(" ")}`,
      );
    }
    assert.equal(state.maps.find(({ name }) => name === "pod_by_netns")?.entries, 1);
  });

  test("the next agent takes the node, is lent the same listeners, and gives the node back by its death", async () => {
    const next = new Agent();
    const welcome = await next.start();
    assert.deepEqual([welcome.role, welcome.pods], ["waiting", [{ podIdx: pod.podIdx, uid }]]);
    const notHolding = { reason: "not-holding" };
    await assert.rejects(next.client.prepare(uid, [address]), notHolding);
    await assert.rejects(next.client.release(ref(pod.podIdx)), notHolding);
    for (const fd of await next.client.sockets(ref(pod.podIdx), "out4", 1)) closeSync(fd);
    const taking = next.client.take();
    await until("the notice to yield", () => agent.notices.includes("yield"));
    await agent.client.yielded();
    const taken = await taking;
    await assert.rejects(agent.client.capture(ref(pod.podIdx), false), notHolding);
    const lent = await next.client.prepare(uid, [address]);
    assert.deepEqual([lent.podIdx, lent.captured], [pod.podIdx, true]);
    const outbound = lent.listeners.find(({ kind, family }) => kind === "outbound" && family === 4);
    const [old, other] = [acceptOn(listener("outbound", 4)), acceptOn(outbound?.fd ?? -1)];
    assert.equal(await dialFromPod(pause, "192.0.2.1", 80), "connected 192.0.2.1:80");
    await until("accepted by either", () => old.seen.length + other.seen.length === 1);
    old.server.close();
    other.server.close();
    next.client.close();
    await until("the notice that nobody holds the node", () => agent.notices.includes("vacant"));
    const again = await agent.client.take();
    assert.deepEqual(again.pods, [{ podIdx: pod.podIdx, uid }]);
    await agent.client.name(ref(pod.podIdx), "cluster//Pod/demo/open");
    await agent.client.capture(ref(pod.podIdx), true);
    for (const { fd } of lent.listeners) closeSync(fd);
    for (const fd of [welcome, taken, again].flatMap((given) => Object.values(given.maps))) closeSync(fd);
  });

  test("the keeper ends and another comes: capture never stops, the pod is served again", async () => {
    stop.abort();
    await keeper;
    // Agent-held listeners still accept, pinned links still steer.
    const held = acceptOn(listener("outbound", 4));
    assert.equal(await dialFromPod(pause, "192.0.2.2", 81), "connected 192.0.2.2:81");
    held.server.close();
    startKeeper(true);
    const again = await agent.start();
    assert.deepEqual(again.pods, [{ podIdx: pod.podIdx, uid }]);
    await assert.rejects(agent.client.prepare(uid, [address]), { reason: "listeners-held" });
    const known = { workload: "cluster//Pod/demo/open", addresses: [address] };
    assert.deepEqual(await agent.client.knownOf(ref(pod.podIdx)), known, "it passed plaintext, and has its name");
    for (const { fd } of pod.listeners) closeSync(fd);
    await sleep(50);
    assert.equal(await dialFromPod(pause, "192.0.2.1", 80), "ECONNREFUSED", "captured, and nobody listens: refused");
    const podIdx = pod.podIdx;
    pod = await agent.client.prepare(uid, [address]);
    assert.equal(pod.podIdx, podIdx);
    assert.equal(pod.captured, true);
    await agent.client.capture(ref(podIdx), false);
    const { server, seen } = acceptOn(listener("outbound", 4));
    assert.equal(await dialFromPod(pause, "192.0.2.3", 82), "connected 192.0.2.3:82");
    await until("accepted", () => seen.length === 1);
    server.close();
  });

  test("enrolled and released a hundred times: no descriptor, entry, link or thread more than before", async () => {
    for (const { fd } of pod.listeners) closeSync(fd);
    await agent.client.release(ref(pod.podIdx));
    const rule = () =>
      execFileSync("nsenter", ["-t", String(pause.pid), "-n", "ip", "rule"])
        .toString()
        .includes("0x6f72");
    const held = (of: "fd" | "task") => readdirSync(`/proc/self/${of}`).length;
    const comeAndGo = async (failDirect: boolean) => {
      const again = await agent.client.prepare(uid, [address]);
      await agent.client.capture(ref(again.podIdx), failDirect);
      for (const kind of ["out4", "local4"] as const) {
        for (const fd of await agent.client.sockets(ref(again.podIdx), kind, 4)) closeSync(fd);
      }
      assert.ok(rule(), "it came with the sockets to dial an application with");
      await agent.client.release(ref(again.podIdx));
      for (const { fd } of again.listeners) closeSync(fd);
    };
    // Once before, so that what is made at its first use is there.
    await comeAndGo(true);
    await until("the rule went with the agent's listeners", () => !rule());
    const before = { fds: held("fd"), tasks: held("task") };
    for (let turn = 0; turn < 100; turn++) await comeAndGo(turn % 2 === 0);
    assert.equal(await dialFromPod(pause, "192.0.2.1", 80), "ENETUNREACH", "not captured any more");
    await until(
      `no more than ${before.fds} descriptors, ${before.tasks} threads`,
      () => held("fd") <= before.fds && held("task") <= before.tasks,
    );
    const { maps: views } = await agent.client.programs();
    for (const name of ["pod_by_netns", "pod_by_ip", "inbound_socket", "in_by_port"]) {
      const entries = views.find((view) => view.name === name)?.entries ?? 0;
      assert.ok(entries <= 0, `${name} has ${entries}`);
    }
    assert.deepEqual(readdirSync(join(pinDirectory(config.bpffs, config.node), "pods")), []);
    pod = await agent.client.prepare(uid, [address]);
    await agent.client.capture(ref(pod.podIdx), false);
  });

  test("a captured pod is released and guarded in one step, and refuses all the while", async () => {
    const { podIdx } = pod;
    // What is not captured and not guarded gets this route's own errno.
    execFileSync("nsenter", ["-t", String(pause.pid), "-n", "ip", "route", "add", "prohibit", "192.0.2.0/24"]);
    const seen: string[] = [];
    const enough = (): boolean => seen.length >= 8;
    const dialling = (async () => {
      while (!enough()) seen.push(await dialFromPod(pause, "192.0.2.1", 80));
    })();
    while (!enough()) {
      for (const { fd } of pod.listeners) closeSync(fd);
      assert.equal(await agent.client.releaseToGuard(ref(podIdx), "cluster//Pod/demo/web"), podIdx);
      assert.deepEqual(await agent.client.knownOf(ref(podIdx)), { workload: "cluster//Pod/demo/web", addresses: [] });
      pod = await agent.client.prepare(uid, [address]);
      assert.equal(pod.podIdx, podIdx, "the guard's index is the pod's");
      await agent.client.capture(ref(podIdx), false);
    }
    await agent.client.releaseToGuard(ref(podIdx), "cluster//Pod/demo/web");
    for (const { fd } of pod.listeners) closeSync(fd);
    await dialling;
    assert.equal(seen.includes("EACCES"), false, `it went past the hooks: ${seen.join(" ")}`);
    assert.equal(await dialFromPod(pause, "192.0.2.1", 80), "ENETUNREACH", "it has no address to dial from");
    const { maps: views } = await agent.client.programs();
    const entries = (name: string) => views.find((view) => view.name === name)?.entries;
    assert.deepEqual([entries("pod_by_netns"), entries("pod_by_ip"), entries("in_by_port")], [1, 0, 0]);
    pod = await agent.client.prepare(uid, [address]);
    await agent.client.capture(ref(podIdx), false);
  });

  test("a pod that died is released and named; a pod on the node's network is refused", async () => {
    await end(pause);
    await until("pod-gone", () => agent.gone.includes(uid));
    const { maps: views } = await agent.client.programs();
    for (const name of ["pod_by_netns", "pod_by_ip", "in_by_port"]) {
      assert.equal(views.find((view) => view.name === name)?.entries, 0, name);
    }
    pause = await startPause({ ownNetwork: false });
    await assert.rejects(agent.client.prepare(uid, [address]), { reason: "host-network" });
    await end(pause);
  });

  test("a pod that must refuse is guarded in each namespace that it has, by the keeper alone, also by the next keeper", async () => {
    const links = () => readdirSync(join(pinDirectory(config.bpffs, config.node), "pods"));
    const captured = async () =>
      (await agent.client.programs()).maps.find(({ name }) => name === "pod_by_netns")?.entries;
    stop.abort();
    await keeper;
    await until("the end of the connection", () => agent.welcome === undefined);
    startKeeper(false);
    await agent.start();
    const idx = await agent.client.guard(uid, "cluster//Pod/demo/web");
    assert.deepEqual([links(), await captured()], [[], 0], "it has no namespace of its own");
    pause = await startPause({ ownNetwork: true });
    await until("its guard", () => agent.guarded.includes(`${idx}-${uid}`));
    assert.deepEqual([links(), await captured()], [[`${idx}-${uid}`], 1]);
    await end(pause);
    await until("no guard", () => links().length === 0);
    stop.abort();
    await keeper;
    await until("the end of the connection", () => agent.welcome === undefined);
    pause = await startPause({ ownNetwork: true });
    const serving = join(config.directory, "serving");
    assert.equal(existsSync(serving), false);
    startKeeper(true);
    await until("the keeper to serve", () => existsSync(serving));
    assert.equal(links().length, 1, "it is guarded by then");
    await agent.start();
    const [again] = agent.welcome?.pods ?? [];
    assert.equal(again?.uid, uid);
    assert.equal((await agent.client.knownOf(ref(again.podIdx))).workload, "cluster//Pod/demo/web");
    await agent.client.release(ref(again.podIdx));
    assert.deepEqual([links(), await captured()], [[], 0]);
    await end(pause);
  });

  test("it warns of an agent that is nobody, as other programs are", async () => {
    // It ends there: a file is no directory.
    const nowhere = { ...config, agentUid: 65_534, directory: join(scratch, "a-file") };
    writeFileSync(nowhere.directory, "");
    await assert.rejects(runKeeper(nowhere, { log, signal: AbortSignal.abort(), removeOnExit: false }), /EEXIST/);
    rmSync(nowhere.directory);
    assert.ok(said.some((line) => line.startsWith("warn spec.agentUid is nobody's")));
  });

  test("a directory in which another may write is no place for its socket", async () => {
    const directory = join(scratch, "another");
    const signal = AbortSignal.abort();
    for (const [uid, mode] of [
      [65534, 0o755],
      [0, 0o777],
    ] as const) {
      mkdirSync(directory);
      chownSync(directory, uid, 0);
      chmodSync(directory, mode);
      const keeper = runKeeper({ ...config, directory }, { log, signal, removeOnExit: false });
      await assert.rejects(keeper, /nobody else may write/);
      rmdirSync(directory);
    }
  });
  test("removed on exit: no pin, no mount, no socket", async () => {
    stop.abort();
    await keeper;
    assert.equal(existsSync(config.socket), false);
    assert.equal(readFileSync("/proc/self/mountinfo", "utf8").includes(config.bpffs), false);
  });
});
