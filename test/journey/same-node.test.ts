// Two pods of one node talk without anybody in between, as long as policy lets them; and what that must not cost: identity,
// records, the end at a change of policy, survival of agent and keeper. The
// kernel knows the caller by its namespace and not by its address (docs/reference/failures.md, D4).
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { call, startPing, transfer } from "../../demo/app/roles.ts";
import { accessLog, pidOf, readiness, until, view } from "../../demo/mesh/mesh-run.ts";
import { initial, isJoined, type JoinedState, joinedMesh, joinedNodes, mixed, near } from "../support/joined-mesh.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";

const ECHO = 8080;
const CLOSED = 9;
const TRANSFER = 8082;
const CLIENT = "spiffe://cluster.local/ns/demo/sa/client";
const SERVER = "spiffe://cluster.local/ns/demo/sa/server";
let journey: Journey;
before(async () => {
  journey = await startJourney({ nodes: joinedNodes }, (cluster) => joinedMesh(cluster, initial));
  // The kernel learns of the last pod a moment after readiness.
  await untilJoined();
});
after(() => journey?.close());

const node = () => journey.cluster.node("node-a");
const pod = (name: string) => journey.cluster.pod(name);
const toServer = (said = "hello") => call(pod("client"), { host: pod("server").ip4, port: ECHO }, said);

async function metrics(): Promise<string> {
  const ask = 'exec 3<> /dev/tcp/127.0.0.1/15020 && printf "GET /metrics HTTP/1.0\\r\\n\\r\\n" >&3 && cat <&3';
  return (await node().run(["bash", "--norc", "-c", ask])).stdout;
}
/** What was instead is part of a failure. */
const untilJoined = (): Promise<true> =>
  until("a joined connection", 20_000, async (): Promise<true> => {
    const result = await toServer();
    if (isJoined(result)) return true;
    throw new Error(JSON.stringify(result));
  });
/** Writes the state; resolves when the agent has it, with the moment of writing (milliseconds since the epoch). */
async function write(state: JoinedState): Promise<number> {
  const before = (await view(node(), "status")).source.appliedAt;
  journey.cluster.writeMesh(joinedMesh(journey.cluster, state));
  const at = performance.timeOrigin + performance.now();
  await until("the new configuration", 10_000, async () =>
    (await view(node(), "status")).source.appliedAt === before ? undefined : true,
  );
  return at;
}

describe("two pods of one node", { concurrency: 1 }, () => {
  const asked = [
    ["IPv4", () => pod("server").ip4, ECHO, (port: number) => `${pod("server").ip4}:${port}`],
    ["IPv6", () => pod("server").ip6, ECHO, (port: number) => `[${pod("server").ip6}]:${port}`],
    ["v4-mapped", () => `::ffff:${pod("server").ip4}`, ECHO, (port: number) => `[::ffff:${pod("server").ip4}]:${port}`],
    ["a Service by IPv4", () => near.ip4, 80, (port: number) => `${near.ip4}:${port}`],
    ["a Service by IPv6", () => near.ip6, 80, (port: number) => `[${near.ip6}]:${port}`],
  ] as const;
  for (const [name, host, port, remote] of asked) {
    test(`${name}: nobody in between, each sees what it should`, async () => {
      const result = await call(pod("client"), { host: host(), port });
      assert.ok(isJoined(result), JSON.stringify(result));
      assert.ok(result.reply?.pod === "server" || result.reply?.pod === "twin");
      const own = result.reply.peer.startsWith("[") ? `[${pod("client").ip6}]` : pod("client").ip4;
      assert.ok(result.reply.peer.startsWith(`${own}:`), result.reply.peer);
      assert.equal(result.remote, remote(port));
    });
  }

  test("a Service is shared among its endpoints; one with an endpoint elsewhere is the agent's", async () => {
    const ask = async (host: string, joined: boolean): Promise<string[]> => {
      const seen = new Set<string>();
      for (let count = 0; count < 16; count += 1) {
        const result = await call(pod("client"), { host, port: 80 });
        assert.equal(isJoined(result), joined, JSON.stringify(result));
        seen.add(result.reply?.pod ?? "");
      }
      return [...seen].sort();
    };
    assert.deepEqual(await ask(near.ip4, true), ["server", "twin"]);
    assert.deepEqual(await ask(mixed.ip4, false), ["far", "server"]);
  });

  test("20 MB both ways, with their sums; half-close", async () => {
    const bytes = 20_000_000;
    const { client, server, error } = await transfer(pod("client"), { host: pod("server").ip4, port: TRANSFER }, bytes);
    assert.deepEqual(
      [error, client?.bytes, client?.matches, server?.bytes, server?.matches],
      [undefined, bytes, true, bytes, true],
    );
  });

  test("one record at the dialling end: both identities, the service, the bytes, and one in the metrics", async () => {
    const opened = async () => {
      const page = await metrics();
      const lines = page.split("\n").filter((line) => line.startsWith("istio_tcp_connections_opened_total{"));
      return lines
        .filter((line) => line.includes('source_workload="client"') && line.includes('destination_service_name="near"'))
        .map((line) => {
          assert.match(line, /reporter="source"/);
          return Number(line.split(" ").at(-1));
        })
        .reduce((sum, count) => sum + count, 0);
    };
    // Of the calls to the echo: the bytes of the test before went to another port, and their line may come later.
    const records = () =>
      accessLog(node()).filter(
        (entry) => entry["src.workload"] === "client" && String(entry["dst.addr"]).endsWith(`:${ECHO}`),
      );
    const ofService = () => records().filter((entry) => String(entry["dst.service"]).startsWith("near."));
    // The page is a second old at most, and so is the log. All calls before have ended.
    const before = await until("each call before in page and log", 20_000, async () => {
      const count = await opened();
      return count > 0 && count === ofService().length ? count : undefined;
    });
    const start = records().length;
    const { reply } = await call(pod("client"), { host: near.ip4, port: 80 }, "a record");
    assert.ok(reply);
    await until("the call in page and log", 20_000, async () =>
      (await opened()) > before && records().length > start ? true : undefined,
    );
    const entries = records().slice(start);
    assert.equal(entries.length, 1, JSON.stringify(entries));
    assert.partialDeepStrictEqual(entries[0], {
      direction: "outbound",
      security: "socket",
      "src.identity": CLIENT,
      "dst.identity": `spiffe://cluster.local/ns/demo/sa/${reply.pod}`,
      "dst.addr": `${pod(reply.pod).ip4}:${ECHO}`,
      "dst.service": "near.demo.svc.cluster.local",
    });
    assert.equal(await opened(), before + 1);
  });

  test("a pair that is denied: by the agent, with its reason; the outside: by the kernel", async () => {
    const start = accessLog(node()).length;
    const { reply } = await call(pod("stranger"), { host: pod("server").ip4, port: ECHO });
    assert.equal(reply, undefined);
    const entry = await until("the refusal", 20_000, () =>
      accessLog(node())
        .slice(start)
        .find((entry) => entry["src.workload"] === "stranger"),
    );
    assert.equal(entry.reason, "no-allow-matched");
    const outside = await call(journey.cluster.outside, { host: pod("server").ip4, port: ECHO });
    assert.equal(outside.error, "ECONNREFUSED");
  });

  test("a change of policy ends what stands, within its record; nothing of others; and back", async (context) => {
    const ping = await startPing(pod("client"), { host: pod("server").ip4, port: ECHO }, 20);
    const back = await startPing(pod("client"), { host: pod("far").ip4, port: ECHO }, 20);
    const start = accessLog(node()).length;
    const writtenAt = await write({ callers: ["server"] });
    const dead = await ping.dead(20_000);
    context.diagnostic(`${dead.how} ${Math.round(dead.atMs - writtenAt)} ms after the file was written`);
    await back.dead(20_000);
    const entry = await until("its record", 20_000, () =>
      accessLog(node())
        .slice(start)
        .find((entry) => entry["dst.identity"] === SERVER && entry["src.identity"] === CLIENT),
    );
    assert.partialDeepStrictEqual(entry, { reason: "no-allow-matched", security: "socket" });
    assert.equal((await toServer()).reply, undefined);
    // The other way is another pair, now allowed.
    assert.ok(isJoined(await call(pod("server"), { host: pod("client").ip4, port: ECHO })));
    await write(initial);
    assert.ok(isJoined(await toServer()));
  });

  test("what an AUDIT policy watches goes by the agent; what stands may stay", async () => {
    const ping = await startPing(pod("client"), { host: pod("server").ip6, port: ECHO }, 20);
    await write({ ...initial, audit: true });
    const watched = await toServer();
    assert.ok(watched.reply?.pod === "server" && !isJoined(watched), JSON.stringify(watched));
    await write(initial);
    await ping.finish();
  });

  test("a port at which nobody listens: refused by the kernel as without a mesh; by way of the agent reset, and at once", async () => {
    const closed = (name: string, family: "ip4" | "ip6") =>
      call(pod("client"), { host: pod(name)[family], port: CLOSED });
    for (const family of ["ip4", "ip6"] as const) {
      assert.equal((await closed("server", family)).error, "ECONNREFUSED", family);
      // docs/compatibility.md, closed-port: the agent accepts before it knows the far end.
      assert.equal((await closed("far", family)).error, "ECONNRESET", family);
    }
    await write({ ...initial, audit: true });
    for (const family of ["ip4", "ip6"] as const)
      assert.equal((await closed("server", family)).error, "ECONNRESET", family);
    await write(initial);
    await untilJoined();
  });

  test("a caller that becomes somebody else loses what it had as the former", async () => {
    const ping = await startPing(pod("client"), { host: pod("server").ip4, port: ECHO }, 20);
    await write({ callers: ["client", "other"], account: "other" });
    await ping.dead(20_000);
    await untilJoined();
    await write(initial);
    await untilJoined();
  });

  test("kill -9 of agent and keeper: what stands goes on, new ones come; and policy still ends the former", async () => {
    const { cluster } = journey;
    const bytes = 50_000_000;
    const ping = await startPing(pod("client"), { host: pod("server").ip4, port: ECHO }, 20);
    const moving = transfer(pod("client"), { host: pod("server").ip6, port: TRANSFER }, bytes);
    await sleep(300);
    const pids = (["agent", "keeper"] as const).map((program) => pidOf(cluster.node("node-a"), program) ?? 0);
    for (const pid of pids) process.kill(pid, "SIGKILL");
    const during = await toServer("nobody is there");
    assert.ok(isJoined(during), JSON.stringify(during));
    const { client, server } = await moving;
    assert.deepEqual([client?.matches, server?.matches, server?.bytes], [true, true, bytes]);
    await until("their successors", 20_000, async () =>
      (await readiness(node())) === "ready" && !pids.includes(pidOf(node(), "agent") ?? 0) ? true : undefined,
    );
    await untilJoined();
    await write({ callers: ["nobody"] });
    await ping.dead(20_000);
    await write(initial);
  });
});
