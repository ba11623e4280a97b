// What a change asks for is done piece by piece: a pod with thousands of connections, or with policies that take long, keeps no other waiting, and
// nothing that a change forbids is forgotten.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { seeded } from "../../test/support/dice.ts";
import { FakeMesh, workload } from "../mesh/mesh.fake.ts";
import type { Permission } from "../plan/permission.ts";
import { allow, deny } from "../policy/policy.fake.ts";
import type { Connection } from "./connection.ts";
import { type Change, LiveConnections } from "./rejudge.ts";
import { api, Bench } from "./traffic.fake.ts";

const none: Change = { workloads: new Set(), authorizationPolicies: new Set(), peerAuthentications: new Set() };
const policyChanged: Change = { ...none, authorizationPolicies: new Set(["shop/rules"]) };

test("500 connections of which each takes a millisecond to judge again: a few end at once, all of them soon, and what is new is judged between", () => {
  const bench = new Bench().serve();
  for (let port = 1; port <= 500; port++) bench.engine.feed(bench.connect(`10.0.0.1:${port}`));
  const closed = (): number => bench.engine.answers.filter(({ type }) => type === "close").length;
  bench.judge = () => {
    bench.clock.nowMs += 1;
    return deny("denied-by-policy");
  };
  bench.traffic.storeChanged(policyChanged);
  assert.ok(closed() >= 1 && closed() <= 8, `${closed()} at once`);
  assert.equal(bench.engine.feed(bench.connect("10.0.0.1:9000"))?.type, "refuse");
  let slices = 0;
  for (; closed() < 500 && slices < 500; slices++) {
    const before = closed();
    bench.clock.advance(5);
    assert.ok(closed() - before <= 16, `${closed() - before} in 5 ms`);
  }
  assert.equal(closed(), 500);
  assert.equal(bench.clock.pending, 0, "and then nothing waits");
});

type Held = { readonly connection: Connection; readonly port: number };

test("random connections, permissions and changes, judged in random pieces: what is denied since the last change ends, and nothing else", () => {
  const seed = randomInt(1, 2 ** 31);
  console.log(`seed ${seed}`);
  const random = seeded(seed);
  const below = (most: number): number => Math.floor(random() * most);
  const web = workload("web", { addresses: ["10.0.0.1"] });
  for (let run = 0; run < 300; run++) {
    const live = new LiveConnections();
    const mesh = new FakeMesh([web, api], []);
    const denied = new Set<number>();
    const held = new Map<Connection, Held>();
    const world = {
      mesh,
      judge: ({ destinationPort }: { destinationPort: number }) =>
        denied.has(destinationPort) ? deny("denied-by-policy") : allow,
    };
    const permission = (port: number, reading: Permission["reading"]): Permission => ({
      source: null,
      reading,
      judged: {
        ...{ sourceAddress: "10.0.0.2", sourcePort: 1, sourceIdentity: api.identity, security: "mtls" },
        ...{ destinationUid: web.uid, destinationAddress: "10.0.0.1", destinationPort: port },
      },
    });
    const slice = (pieces: number): void => {
      let left = pieces;
      const list = live.rejudge(
        world,
        (error) => assert.fail(String(error)),
        () => --left <= 0,
      );
      for (const { connection, revocation } of list) {
        if (revocation === null) continue;
        const known = held.get(connection);
        assert.ok(known !== undefined && denied.has(known.port), `a connection to ${known?.port} ends`);
        live.remove(connection);
        held.delete(connection);
      }
    };
    for (let act = below(60); act > 0; act--) {
      const port = below(8);
      const some = [...held.values()][below(held.size)];
      switch (below(6)) {
        case 0:
        case 1: {
          // Judged as it comes.
          if (denied.has(port)) break;
          const connection = { allowedWith: null, place: 0, openRequest: null } as unknown as Connection;
          live.add(connection, permission(port, below(2) === 0 ? "or-pass" : "unread"));
          held.set(connection, { connection, port });
          break;
        }
        case 2:
          // Its application speaks something else: nobody judges it here.
          if (some !== undefined) live.add(some.connection, permission(some.port, "unread"));
          break;
        case 3:
          if (some === undefined) break;
          live.remove(some.connection);
          held.delete(some.connection);
          break;
        case 4:
          if (!denied.delete(port)) denied.add(port);
          live.changed(policyChanged, mesh);
          break;
        case 5:
          slice(1 + below(3));
          break;
      }
    }
    while (live.isDue) slice(1 + below(4));
    for (const { port } of held.values()) assert.ok(!denied.has(port), `seed ${seed}: a connection to ${port} stays`);
  }
});
