// Pods leave the mesh and come back while they talk; what was put into their namespace goes with it (F4).
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { call, startChurn, startPing } from "../../demo/app/roles.ts";
import { demoNodes, initialState, meshText } from "../../demo/mesh/mesh-file.ts";
import { until, view } from "../../demo/mesh/mesh-run.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";

const ONCE = 8084;
let journey: Journey;
before(async () => {
  journey = await startJourney({ nodes: demoNodes }, (cluster) => meshText(cluster, initialState));
});
after(() => journey?.close());

async function member(pod: string, inside: boolean): Promise<void> {
  const optedOut = new Set(initialState.optedOut);
  if (!inside) optedOut.add(pod);
  journey.cluster.writeMesh(meshText(journey.cluster, { ...initialState, optedOut }));
  const node = journey.cluster.node(journey.cluster.pod(pod).node);
  const wanted = inside ? "captured" : "not-enrolled";
  await until(`${pod} ${wanted}`, 10_000, async () => {
    const { items } = await view(node, "workloads");
    return items.some((item) => item.name === pod && item.capture === wanted) ? true : undefined;
  });
}

/** What a pod's namespace holds that enrollment could have put there. */
async function inside(pod: string): Promise<Record<string, string>> {
  const host = journey.cluster.pod(pod);
  const ask = async (...argv: string[]): Promise<string> => (await host.run(argv)).stdout.trim();
  const listeners = await ask("ss", "-Hltn");
  return {
    listeners: listeners
      .split("\n")
      .filter((line) => /:150(01|06|08)\b/.test(line))
      .join("\n"),
    rules4: await ask("ip", "-4", "rule"),
    rules6: await ask("ip", "-6", "rule"),
    routes4: await ask("ip", "-4", "route", "show", "table", "all", "type", "local", "dev", "lo"),
    routes6: await ask("ip", "-6", "route", "show", "table", "all", "type", "local", "dev", "lo"),
    mark: await ask("cat", "/proc/sys/net/ipv4/tcp_fwmark_accept"),
  };
}

describe("enrollment", () => {
  test("a caller leaves and comes back under its own traffic: no connection refused, none cut", async () => {
    const { cluster } = journey;
    const churn = startChurn(cluster.pod("api"), { host: cluster.pod("cache").ip4, port: ONCE }, 8, "caller");
    await sleep(200);
    for (let round = 0; round < 3; round += 1) {
      await member("api", false);
      await sleep(200);
      await member("api", true);
      await sleep(200);
    }
    const result = await churn.finish();
    assert.ok(result.answered > 100, JSON.stringify(result));
    assert.deepEqual(
      [result.refused, result.cut, result.timedOut, result.other],
      [0, 0, 0, {}],
      JSON.stringify(result),
    );
  });

  test("a destination leaves and comes back under traffic to it: it answers before, between and after", async () => {
    const { cluster } = journey;
    const toApi = () => call(cluster.pod("web"), { host: cluster.pod("api").ip6, port: 8080 });
    const answers = () =>
      until("an answer of api", 20_000, async () => ((await toApi()).reply?.pod === "api" ? true : undefined));
    const churn = startChurn(cluster.pod("web"), { host: cluster.pod("api").ip6, port: ONCE }, 8, "destination");
    await answers();
    await member("api", false);
    await answers();
    await member("api", true);
    await answers();
    const result = await churn.finish();
    assert.ok(result.answered > 100, JSON.stringify(result));
    assert.deepEqual([result.timedOut, result.other], [0, {}], JSON.stringify(result));
  });

  test("a connection over IPv6 outlives its pod's leaving, and with it the route by which it reaches the agent", async () => {
    const { cluster } = journey;
    const pinging = await startPing(cluster.pod("api"), { host: cluster.pod("cache").ip6, port: 8080 }, 50);
    const route = async (): Promise<boolean> => (await inside("api")).routes6?.includes("100::/64") ?? false;
    await member("api", false);
    try {
      // Longer than a tunnel that idles keeps anything.
      await sleep(4_000);
      assert.ok(await route());
      await pinging.finish();
      await until("the route's end", 10_000, async () => ((await route()) ? undefined : true));
    } finally {
      await member("api", true);
    }
  });

  test("a pod that left has no listener, rule or route of ours, and STRICT knows it no more", async () => {
    const bare = await inside("legacy");
    const enrolled = await inside("api");
    assert.match(enrolled.listeners ?? "", /:15008/);
    await member("api", false);
    try {
      // Rule and routes stay as long as a tunnel does: requests that are under way on it still reach the application.
      await until("an empty namespace", 10_000, async () => {
        const { listeners, routes4, routes6 } = await inside("api");
        return listeners === "" && !/default|127\.192|100::/.test(`${routes4} ${routes6}`) ? true : undefined;
      });
      const left = await inside("api");
      assert.deepEqual(left.rules4, bare.rules4);
      assert.deepEqual(left.rules6, bare.rules6);
      assert.match(`${enrolled.routes4} ${enrolled.routes6}`, /127\.192\.0\.0\/10.* 100::\/64/s);
      assert.doesNotMatch(`${left.routes4} ${left.routes6}`, /default|127\.192|100::/);
      const refused = await call(journey.cluster.pod("api"), { host: journey.cluster.pod("vault").ip4, port: 8080 });
      assert.equal(refused.error, "ECONNREFUSED");
    } finally {
      await member("api", true);
    }
  });
});
