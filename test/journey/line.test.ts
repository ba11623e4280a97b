// The straight line of one connection, in every way an application may open one (E1, E8, E9, E13).
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { call, greet, transfer } from "../../demo/app/roles.ts";
import { logSince } from "../../demo/mesh/mesh-box.ts";
import { apiService, demoNodes, identityOf, initialState, meshText } from "../../demo/mesh/mesh-file.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";

let journey: Journey;
let oddConnect: string;
before(async () => {
  journey = await startJourney({ nodes: demoNodes }, (cluster) => meshText(cluster, initialState));
  oddConnect = path.join(journey.cluster.dir, "odd-connect");
  const source = fileURLToPath(new URL("../support/odd-connect.c", import.meta.url));
  execFileSync("cc", ["-O1", "-Wall", "-Werror", "-o", oddConnect, source, "-luring"]);
});
after(() => journey?.close());

describe("the line", () => {
  for (const [what, pick] of [
    ["IPv4", () => ({ host: journey.cluster.pod("vault").ip4, own: journey.cluster.pod("web").ip4 })],
    ["IPv6", () => ({ host: journey.cluster.pod("vault").ip6, own: `[${journey.cluster.pod("web").ip6}]` })],
    [
      "IPv4-mapped",
      () => ({ host: `::ffff:${journey.cluster.pod("vault").ip4}`, own: journey.cluster.pod("web").ip4 }),
    ],
  ] as const) {
    test(`${what}: both ends logged once, with the identities of both`, async () => {
      const { host, own } = pick();
      const [source, destination] = [
        logSince(journey.cluster.node("node-a")),
        logSince(journey.cluster.node("node-b")),
      ];
      const result = await call(journey.cluster.pod("web"), { host, port: 8080 });
      assert.equal(result.reply?.pod, "vault", JSON.stringify(result));
      assert.ok(result.reply.peer.startsWith(`${own}:`), `${result.reply.peer} is not ${own}`);
      assert.equal(result.remote, `${host.includes(":") ? `[${host}]` : host}:8080`);
      for (const [log, direction] of [
        [source, "outbound"],
        [destination, "inbound"],
      ] as const) {
        const entry = await log.find(direction, (entry) => entry.direction === direction);
        assert.equal(entry["src.identity"], identityOf("web"));
        assert.equal(entry["dst.identity"], identityOf("vault"));
        assert.equal(entry.security, "mtls");
        assert.equal(entry.error, undefined);
        assert.equal(entry["src.addr"]?.startsWith(`${own}:`), true, JSON.stringify(entry));
      }
    });
  }

  test("a service by its virtual addresses, and a port it does not have", async () => {
    const web = journey.cluster.pod("web");
    for (const host of [apiService.ip4, apiService.ip6]) {
      const result = await call(web, { host, port: apiService.port });
      assert.equal(result.reply?.pod, "api", JSON.stringify(result));
      assert.match(result.reply.self, /:8080$/);
      const refused = await call(web, { host, port: apiService.port + 1 });
      assert.equal(refused.reply, undefined);
      assert.notEqual(refused.error, "timeout");
    }
  });

  test("a port on which nobody listens is refused at once", async () => {
    const refused = await call(journey.cluster.pod("web"), { host: journey.cluster.pod("vault").ip4, port: 9 });
    assert.equal(refused.reply, undefined);
    assert.notEqual(refused.error, "timeout");
  });

  test("a server that speaks first", async () => {
    const result = await greet(journey.cluster.pod("web"), { host: journey.cluster.pod("api").ip6, port: 8081 });
    assert.match(result.greeting ?? "", /^220 api/);
  });

  for (const bytes of [0, 1, 16_383, 16_384, 16_385, 10_000_000]) {
    test(`${bytes} bytes both ways at once, then half-close`, async () => {
      const result = await transfer(
        journey.cluster.pod("web"),
        { host: journey.cluster.pod("api").ip4, port: 8082 },
        bytes,
      );
      assert.equal(result.error, undefined);
      for (const side of [result.client, result.server]) {
        assert.deepEqual([side?.bytes, side?.matches], [bytes, true], JSON.stringify(result));
      }
    });
  }

  test("a server that reads slowly", async () => {
    const result = await transfer(
      journey.cluster.pod("web"),
      { host: journey.cluster.pod("api").ip6, port: 8082 },
      3_000_000,
      5,
    );
    assert.equal(result.error, undefined);
    assert.ok(result.client?.matches && result.server?.matches);
  });
});

describe("odd ways to connect are captured all the same: vault is STRICT, so only what was captured gets an answer", () => {
  for (const mode of ["plain", "mptcp", "fastopen", "fastopen-connect", "reconnect", "uring", "sqpoll+mptcp"]) {
    for (const family of ["ip4", "ip6", "mapped"] as const) {
      test(`${mode} ${family}`, async () => {
        const vault = journey.cluster.pod("vault");
        const host = family === "mapped" ? `::ffff:${vault.ip4}` : vault[family];
        const log = logSince(journey.cluster.node("node-b"));
        const done = await journey.cluster.pod("web").run([oddConnect, mode, host, "8080"]);
        assert.match(done.stdout, /"pod":"vault"/);
        const entry = await log.find("the call", (entry) => entry["src.identity"] === identityOf("web"));
        assert.equal(entry.security, "mtls");
      });
    }
  }
});
