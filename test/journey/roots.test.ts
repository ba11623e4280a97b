// A root is changed for another while calls run on tunnels between two nodes, as docs/upgrade.md says; certificates live a minute
// (docs/reference/failures.md, D6).
import assert from "node:assert/strict";
import { chownSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { newRootPem } from "../../agent/identity/csr.ts";
import { call, type Pinger, startChurn, startPing } from "../../demo/app/roles.ts";
import { logSince } from "../../demo/mesh/mesh-box.ts";
import { demoNodes, initialState, meshText } from "../../demo/mesh/mesh-file.ts";
import { until } from "../../demo/mesh/mesh-run.ts";
import { AGENT_UID } from "../box/cluster.ts";
import type { Running } from "../box/process.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";

const LEAF_TTL_SECONDS = 60;
/** Longer than a certificate lives. */
const LIFE_MS = 90_000;
const READ_MS = 60_000;
const ECHO = 8080;
const ONCE = 8084;
let journey: Journey;
before(async () => {
  journey = await startJourney({ nodes: demoNodes, leafTtlSeconds: LEAF_TTL_SECONDS }, (cluster) =>
    meshText(cluster, initialState),
  );
});
after(() => journey?.close());

const certificateOf = (root: string): string => root.slice(root.indexOf("-----BEGIN CERTIFICATE-----"));

const changesSaid = ({ stderr }: Running): number => stderr.split("the trusted roots changed").length - 1;

/** Replaces the root file of both nodes. Where that trusts other roots than before, both agents do when this returns. */
async function write(parts: readonly string[], { changes } = { changes: true }): Promise<void> {
  const { caFile } = journey.cluster;
  const programs = [...journey.programs.values()];
  const said = programs.map(changesSaid);
  writeFileSync(`${caFile}.draft`, parts.join("\n"), { mode: 0o600 });
  chownSync(`${caFile}.draft`, AGENT_UID, AGENT_UID);
  renameSync(`${caFile}.draft`, caFile);
  if (!changes) return;
  await until("both agents trust what is written", READ_MS, () =>
    programs.every((program, at) => changesSaid(program) > (said[at] ?? 0)) ? true : undefined,
  );
}

test("a root is changed without an outage; what is under a root ends when the root goes, what is under a certificate with it", async () => {
  const { cluster } = journey;
  const [web, vault] = [cluster.pod("web"), cluster.pod("vault")];
  const hold = (): Promise<Pinger> => startPing(web, { host: vault.ip4, port: ECHO }, 50);
  const logs = cluster.nodes.map(logSince);
  /** Both nodes verified a certificate. The node that reads the root file first ends the tunnel; the other loses it. */
  const wasEnded = (why: string) =>
    Promise.any(
      logs.map((log) =>
        log.find(why, ({ error = "" }) => error.startsWith("peer-certificate-ended") && error.endsWith(why)),
      ),
    );
  const old = readFileSync(cluster.caFile, "utf8");
  const next = (
    await newRootPem("cluster.local", new Date(Date.now() - 60_000), new Date(Date.now() + 3_600_000))
  ).toString();

  const churn = startChurn(web, { host: vault.ip4, port: ONCE }, 2, "through all of it");
  const first = await hold();
  await write([old, certificateOf(next)]);
  // Trusted are the same; who reads it first has new certificates first.
  await write([next, certificateOf(old)], { changes: false });
  // It goes on although roots came, and ends when its peer's certificate does.
  await first.dead(LIFE_MS);

  // By now every certificate in use is of the new root, so that the old one can go.
  const second = await hold();
  await write([next]);
  const result = await churn.finish();
  assert.ok(result.answered > 100, JSON.stringify(result));
  const { refused, cut, timedOut, other } = result;
  assert.deepEqual({ refused, cut, timedOut, other }, { refused: 0, cut: 0, timedOut: 0, other: {} });

  // The root that everything is under goes: nothing goes on, and nothing new is answered.
  await write([old]);
  await second.dead(10_000);
  await wasEnded("the root of the peer's certificate is no longer trusted");
  assert.equal((await call(web, { host: vault.ip4, port: ECHO })).reply, undefined);
});
