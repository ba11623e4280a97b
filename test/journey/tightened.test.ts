// Plaintext that the kernel let pass without the agent ends when the port becomes STRICT or comes under policy (C14).
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { call, startPing } from "../../demo/app/roles.ts";
import { demoNodes, initialState, meshText } from "../../demo/mesh/mesh-file.ts";
import { until } from "../../demo/mesh/mesh-run.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";

let journey: Journey;
before(async () => {
  journey = await startJourney({ nodes: demoNodes }, (cluster) => meshText(cluster, initialState));
});
after(() => journey?.close());

const strict = `---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: cache-strict, namespace: demo}
spec:
  selector: {matchLabels: {app: cache}}
  mtls: {mode: STRICT}
`;
// Nothing that is not proved is allowed, so that plaintext ends whichever way it came: after a policy has gone, it may still come by
// the agent for a moment, which would go on judging it.
const policy = `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: cache-policy, namespace: demo}
spec:
  selector: {matchLabels: {app: cache}}
  rules: [{from: [{source: {principals: ["*"]}}], to: [{operation: {ports: ["8080"]}}]}]
`;

for (const [what, more] of [
  ["STRICT", strict],
  ["a policy", policy],
] as const) {
  for (const family of ["ip4", "ip6"] as const) {
    test(`plaintext from outside over ${family} ends with ${what}; a proved connection does not`, async () => {
      const { cluster } = journey;
      const cache = { host: cluster.pod("cache")[family], port: 8080 };
      const plain = await startPing(cluster.outside, cache, 20, "plain");
      const proved = await startPing(cluster.pod("api"), cache, 20, "proved");
      const before_ = meshText(cluster, initialState);
      const written = performance.timeOrigin + performance.now();
      cluster.writeMesh(`${before_}${more}`);
      const { atMs } = await plain.dead(10_000);
      console.log(`ended ${Math.round(atMs - written)} ms after the file was written`);
      await proved.finish();
      cluster.writeMesh(before_);
      await until("plaintext to be let pass again", 10_000, async () =>
        (await call(cluster.outside, cache, "again")).reply === undefined ? undefined : true,
      );
    });
  }
}

test("nothing is ended where nothing was tightened", async () => {
  const { cluster } = journey;
  const plain = await startPing(cluster.outside, { host: cluster.pod("cache").ip4, port: 8080 }, 20, "plain");
  cluster.writeMesh(meshText(cluster, { ...initialState, vaultCallers: ["web", "api"] }));
  await until("the change to have come", 10_000, async () =>
    (await call(cluster.pod("api"), { host: cluster.pod("vault").ip4, port: 8080 }, "now")).reply === undefined
      ? undefined
      : true,
  );
  const { replies } = await plain.finish();
  assert.ok(replies > 0);
});
