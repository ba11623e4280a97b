// test peers · what every HBONE peer has to show, whatever it is made of: as a server that pods of the mesh call, and as a
// client that calls pods of the mesh.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import type { Target } from "../../../demo/app/client.ts";
import { call, startChurn, startPing, transfer } from "../../../demo/app/roles.ts";
import { appPorts } from "../../../demo/app/server.ts";
import { logSince } from "../../../demo/mesh/mesh-box.ts";
import { identityOf } from "../../../demo/mesh/mesh-file.ts";
import type { Host } from "../../box/cluster.ts";
import { openMany } from "../../support/many.ts";
import { peerCase } from "./cases.ts";
import { soak } from "./soak.ts";
import { abortMany, type World } from "./world.ts";

const AT_ONCE = 60;
const TRANSFERS = [0, 1, 16_385, 64_000_000] as const;
const aborts = soak(300, 10_000);
/** CONNECTs that a pod may abandon on one tunnel: a peer that answers slowly, as on a busy machine, sees no more of them at once. */
export const HALF_A_TUNNEL = 50;

/** Addresses of the peer's servers at port 15008; each leads to the applications of the host outside. */
export type Servers = {
  /** `name` is that of its Workload. */
  readonly plain: { readonly name: string; readonly address: string };
  /** It shows another identity than the mesh says. */
  readonly impostor: string;
  /** Its certificate chains to an unknown root. */
  readonly stranger: string;
};

/** `world` and addresses are read when a case runs, since the mesh comes up after the cases are declared. */
export function serverCases(part: string, world: () => World, servers: Servers): void {
  const web = () => world().cluster.pod("web");
  const { name, address } = servers.plain;
  const echo = { host: address, port: appPorts.echo };

  peerCase(part, "server: both know the other's identity", async () => {
    const log = logSince(world().cluster.node("node-a"));
    const result = await call(web(), echo);
    assert.equal(result.reply?.said, "hello", JSON.stringify(result));
    const entry = await log.find("the call", (line) => line["dst.workload"] === name);
    assert.deepEqual([entry["dst.identity"], entry.security], [identityOf(part), "mtls"]);
  });
  for (const bytes of TRANSFERS) {
    peerCase(part, `server: ${bytes} bytes both ways at once, then half-close`, () =>
      assertTransfer(web(), { host: address, port: appPorts.transfer }, bytes),
    );
  }
  peerCase(part, `server: ${AT_ONCE} connections at once`, () => assertMany(web(), echo, AT_ONCE));
  peerCase(part, "server: of another identity than the mesh says, it is not called", () =>
    assertRefused(web(), { ...echo, host: servers.impostor }),
  );
  peerCase(part, "server: of an unknown root, it is not called", () =>
    assertRefused(web(), { ...echo, host: servers.stranger }),
  );
  peerCase(part, "server: a port that it does not serve ends the call at once", () =>
    assertRefused(web(), { ...echo, port: 9 }),
  );
  peerCase(part, "server: many aborted connections beside a long one, which lives", () =>
    assertLivesBesideAborts(web(), echo, HALF_A_TUNNEL),
  );
}

/** Where the peer's clients listen, on the host outside: what connects there is tunnelled into the mesh. */
export type Entrances = {
  /** To `api` as the peer's own identity. */
  readonly echo: Target;
  readonly transfer: Target;
  /** To a port of `api` at which nobody listens. */
  readonly noPort: Target;
  /** To `vault`, which is STRICT, as `web`, which its policy names. */
  readonly vault: Target;
  /** To `api` as `batch`, which a policy denies. */
  readonly denied: Target;
  /** To `api`, where the client expects the identity of another server. */
  readonly wrongServer: Target;
  /** To `api` with a certificate of an unknown root. */
  readonly stranger: Target;
};

export function clientCases(part: string, world: () => World, entrances: Entrances): void {
  const outside = () => world().outside;
  peerCase(part, "client: it is known by its identity", async () => {
    const log = logSince(world().cluster.node("node-b"));
    const result = await call(outside(), entrances.echo);
    assert.equal(result.reply?.pod, "api", JSON.stringify(result));
    const entry = await log.find("the call", (line) => line.direction === "inbound");
    assert.deepEqual([entry["src.identity"], entry.security], [identityOf(part), "mtls"]);
  });
  for (const bytes of TRANSFERS) {
    peerCase(part, `client: ${bytes} bytes both ways at once, then half-close`, () =>
      assertTransfer(outside(), entrances.transfer, bytes),
    );
  }
  peerCase(part, `client: ${AT_ONCE} connections at once`, () => assertMany(outside(), entrances.echo, AT_ONCE));
  peerCase(part, "client: STRICT takes the caller that its policy names", async () => {
    const result = await call(outside(), entrances.vault);
    assert.equal(result.reply?.pod, "vault", JSON.stringify(result));
  });
  for (const [what, entrance] of [
    ["a policy denies its identity", entrances.denied],
    ["the server is not whom it expects", entrances.wrongServer],
    ["its root is unknown", entrances.stranger],
    ["nobody listens at the port", entrances.noPort],
  ] as const) {
    peerCase(part, `client: no answer when ${what}`, () => assertRefused(outside(), entrance));
  }
  peerCase(part, "client: many aborted connections beside a long one, which lives", () =>
    assertLivesBesideAborts(outside(), entrances.echo),
  );
}

export async function assertTransfer(from: Host, to: Target, bytes: number): Promise<void> {
  const result = await transfer(from, to, bytes);
  assert.equal(result.error, undefined);
  for (const side of [result.client, result.server]) {
    assert.deepEqual([side?.bytes, side?.matches], [bytes, true], JSON.stringify(result));
  }
}

/** All come up, each gets its answer, and all live until they are let go. */
export async function assertMany(from: Host, to: Target, count: number): Promise<void> {
  const many = await openMany(from, to, count);
  assert.deepEqual([many.up.up, many.up.failed], [count, {}]);
  assert.equal((await many.finish()).alive, count);
}

/**
 * The application resets the connection, since what it is sent is no request of its protocol. Orlop carries a reset as RST_STREAM with
 * CONNECT_ERROR; `arrives` is what the peer makes of that at the other side.
 */
export async function assertReset(from: Host, to: Target, arrives: "ECONNRESET" | "ended"): Promise<void> {
  assert.equal((await call(from, to, "no request")).error, arrives);
}

export async function assertRefused(from: Host, to: Target): Promise<void> {
  const result = await call(from, to);
  assert.equal(result.reply, undefined);
  assert.notEqual(result.error, "timeout");
}

/** `least`: how many have to come up before they are aborted; all, unless the peer is slow to answer. */
export async function assertLivesBesideAborts(from: Host, to: Target, least = aborts): Promise<void> {
  const pinger = await startPing(from, to, 20);
  await abortMany(from, to, aborts, 0, least);
  await pinger.finish();
}

/** A peer that ends its tunnels by GOAWAY again and again: every call is answered, and a long one lives. */
export async function assertLivesBesideGoaway(from: Host, host: string): Promise<void> {
  const pinger = await startPing(from, { host, port: appPorts.echo }, 20);
  // As many calls as end some tunnels, on whatever machine.
  for (let attempted = 0; attempted <= 100; ) {
    const churn = startChurn(from, { host, port: appPorts.once }, 4, "hello");
    await sleep(soak(4_000, 60_000));
    const result = await churn.finish();
    assert.ok(result.attempted > 0);
    assert.equal(result.answered, result.attempted, JSON.stringify(result));
    attempted += result.attempted;
  }
  await pinger.finish();
}
