// What the survey of all pods finds (root): pods of which it cannot say that nothing of theirs has to end are always found, whatever
// else goes on in the kernel's table. That it finds each kind of connection: HookBench.sever, in every test that sweeps.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { endianness } from "node:os";
import { after, describe, test } from "node:test";
import { ORLOP_IN_PASS, ORLOP_IN_REFUSE, orlopPod } from "../../agent/abi.ts";
import { PodThread } from "../../agent/keeper/addon.ts";
import { HookBench, POD_IDX, POD4 } from "./hook-bench.ts";

const PORT = 8000;
const little = endianness() === "LE";
const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const server = `
import socket, sys, threading
kept = []
def accept(s):
  while True: kept.append(s.accept()[0])
for port in ${PORT}, ${PORT + 1}:
  threading.Thread(target=accept, args=(socket.create_server(("", port), backlog=512),), daemon=True).start()
print("listening", flush=True); sys.stdin.read()`;

/** Holds a connection, and opens and resets others at the next port until its input ends. */
const churn = `
import socket, struct, sys, threading
held = socket.create_connection(("${POD4}", ${PORT}), 5); going = True
def open_and_reset():
  while going:
    try:
      s = socket.create_connection(("${POD4}", ${PORT + 1}), 5)
      s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); s.close()
    except OSError: pass
threads = [threading.Thread(target=open_and_reset) for _ in range(4)]
for t in threads: t.start()
print("up", flush=True); sys.stdin.read(); going = False
for t in threads: t.join()`;

describe("which pods a survey finds", { concurrency: 1 }, () => {
  const bench = new HookBench();
  after(() => bench.remove());

  const enrolAt = (cookie: bigint, podIdx: number): void => {
    const [key, value] = [new Uint8Array(8), new Uint8Array(orlopPod.size)];
    view(key).setBigUint64(0, cookie, little);
    view(value).setUint32(orlopPod.podIdx, podIdx, little);
    bench.map("pod_by_netns").put(key, value);
  };

  test("a namespace that no entry names as this pod's; and an index beyond all", async () => {
    assert.equal(await bench.survey(), true);
    await bench.enrol();
    assert.equal(await bench.survey(), false);
    for (const podIdx of [POD_IDX + 1, 0, 4097, 2 ** 31 - 1])
      assert.equal(await bench.survey(bench.netnsFd, podIdx), true, `${podIdx}`);
  });

  test("a pod whose connections the kernel keeps in a table of their own, beside pods that share a table", async (t) => {
    const script = "echo 64 > /proc/sys/net/ipv4/tcp_child_ehash_entries && exec unshare -n sh -c 'echo up; exec cat'";
    const holder = spawn("unshare", ["-n", "sh", "-c", script], { stdio: ["pipe", "pipe", "inherit"] });
    const ended = once(holder, "exit");
    t.after(() => {
      holder.stdin.end();
      return ended;
    });
    await once(holder.stdout, "data");
    const fd = openSync(`/proc/${holder.pid}/ns/net`, "r");
    t.after(() => closeSync(fd));
    const other = POD_IDX + 1;
    enrolAt((await bench.thread.podInfo(fd)).cookie, other);
    const found = await bench.thread.survey(Int32Array.of(bench.netnsFd, fd), Int32Array.of(POD_IDX, other));
    assert.deepEqual([...found], [other]);
  });

  test("a connection that must end is found each time while others come and go around it", async () => {
    bench.said("in_by_port", 0, ORLOP_IN_PASS);
    const app = bench.startInPod(server);
    await app.line();
    const caller = bench.startOutside(churn);
    assert.equal(await caller.line(), "up");
    bench.said("in_by_port", PORT, ORLOP_IN_REFUSE);
    for (let nth = 0; nth < 200; nth++) assert.equal(await bench.survey(), true, `survey ${nth}`);
    bench.said("in_by_port", PORT, ORLOP_IN_PASS);
    await caller.end();
    await app.end();
  });

  test("a thread that has opened no survey makes none", () => {
    const thread = new PodThread(bench.map("dst_of_sock").fd);
    try {
      assert.throws(() => thread.survey(Int32Array.of(bench.netnsFd), Int32Array.of(POD_IDX)), { code: "EOPNOTSUPP" });
    } finally {
      thread.close();
    }
  });
});
