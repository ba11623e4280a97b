// tests · locality failover with real sockets, engines and data threads: requests go to the nearest endpoints that there are, and farther only where none
// of the nearer can have them: they are said to be unhealthy, have gone, refuse connections, or fail what they are asked.
import assert from "node:assert/strict";
import test, { type TestContext } from "node:test";
import type { LoadBalancing } from "../../agent/mesh/service.ts";
import { nowhere } from "../../agent/mesh/source-ref.ts";
import type { TrafficPolicy } from "../../agent/mesh/traffic-policy.ts";
import { Dice } from "../support/dice.ts";
import { callerOf, counted, numberedEndpoint, numberedEndpoints } from "./numbered-endpoints.ts";
import type { Place, SharesThread, ThreadEndpoint } from "./shares-thread.ts";
import { type SharingNode, sharingNode } from "./sharing-node.ts";

const seed = Number(process.env.ORLOP_SEED ?? Math.floor(Math.random() * 2 ** 31));
const THREADS = 2;
const CALLERS = 8;
const DEVIATIONS = 5;

const place = (region: string, zone: string): Place => ({
  region,
  zone,
  subzone: "",
});
const here = place("north", "a");
/** Two in the pod's zone, two in another zone of its region, and two in a region whose zone has the name of the pod's. */
const places = [here, here, place("north", "b"), place("north", "b"), place("south", "a"), place("south", "a")];
const ENDPOINTS = places.length;
const failover: LoadBalancing = {
  preference: ["region", "zone"],
  mode: "failover",
  health: "only-healthy",
};

const policy: TrafficPolicy = {
  ...{
    outliers: null,
    maxRequests: null,
    hash: null,
    warmUp: null,
    from: nowhere,
  },
  balance: "random",
};

async function placed(t: TestContext, given: Partial<SharesThread> = {}) {
  const servers = await numberedEndpoints(t, ENDPOINTS);
  const endpoints = servers.map(({ address, port }, nth): ThreadEndpoint & { readonly place: Place } => ({
    ...{ address, port, place: places[nth] ?? assert.fail() },
  }));
  const made = await sharingNode(t, THREADS, {
    ...{
      endpoints,
      policy,
      place: here,
      loadBalancing: failover,
      hasStoppedClock: true,
      seed,
      ...given,
    },
  });
  return { servers, endpoints, made, asked: callerOf(t) };
}

/** Nobody else is asked, and these share evenly. */
async function goTo(made: SharingNode, asked: ReturnType<typeof callerOf>, nearest: readonly number[]): Promise<void> {
  const count = 300;
  const got = await counted(made, asked, {
    count,
    callers: CALLERS,
    endpoints: ENDPOINTS,
  });
  const share = 1 / nearest.length;
  const bound = DEVIATIONS * Math.sqrt(count * share * (1 - share));
  for (const [nth, has] of got.entries())
    if (!nearest.includes(nth)) assert.equal(has, 0, `${got}, not to ${nth} (seed ${seed})`);
    else assert.ok(Math.abs(has - count * share) <= bound, `${got}, to ${nth} (seed ${seed})`);
}

for (const isOpaque of [false, true])
  test(`${isOpaque ? "connections" : "requests"} go to the pod's zone, then to its region, then elsewhere, and come back (seed ${seed})`, async (t) => {
    const { endpoints, made, asked } = await placed(t, { isOpaque });
    const without = (...gone: readonly number[]) =>
      endpoints.map((endpoint, nth) => ({
        ...endpoint,
        healthy: !gone.includes(nth),
      }));
    const steps: readonly (readonly [readonly ThreadEndpoint[], readonly number[]])[] = [
      [endpoints, [0, 1]],
      [without(1), [0]],
      [without(0, 1), [2, 3]],
      [endpoints.slice(2), [2, 3]],
      [endpoints.slice(4), [4, 5]],
      [without(0, 2, 3), [1]],
      [endpoints, [0, 1]],
    ];
    for (const [there, nearest] of steps) {
      await made.ask({ op: "endpoints", endpoints: there });
      if (isOpaque) {
        // Balanced by what is open: who is asked is what counts here.
        for (let nth = 0; nth < 20; nth += 1) {
          const agentless = await asked(made.ports[nth % THREADS] ?? 0, {
            connection: "close",
          });
          assert.ok(nearest.includes(agentless.nth), `${agentless.nth}, not ${nearest}`);
        }
      } else await goTo(made, asked, nearest);
    }
  });

test("strict: nobody farther is asked, and without anybody near it is 503", async (t) => {
  const { endpoints, made, asked } = await placed(t, {
    loadBalancing: { ...failover, mode: "strict" },
  });
  await goTo(made, asked, [0, 1]);
  await made.ask({ op: "endpoints", endpoints: endpoints.slice(2) });
  for (const port of made.ports) assert.equal((await asked(port)).status, 503);
  await made.ask({ op: "endpoints", endpoints });
  await goTo(made, asked, [0, 1]);
});

test(`endpoints near that refuse connections fail no request: farther ones have them (seed ${seed})`, async (t) => {
  const { servers, made, asked } = await placed(t);
  await goTo(made, asked, [0, 1]);
  await Promise.all([servers[0]?.close(), servers[1]?.close()]);
  await goTo(made, asked, [2, 3]);
  // A request that nobody has got is tried at four endpoints: the last of them is all that is left of the region.
  await servers[2]?.close();
  await goTo(made, asked, [3]);
  await numberedEndpoint(t, 1, servers[1]?.port);
  await goTo(made, asked, [1]);
});

test(`endpoints near that fail are left out over all threads; when each has served its probe requests are near again (seed ${seed})`, async (t) => {
  const outliers = {
    consecutive5xx: 3,
    consecutiveGateway: 0,
    baseMs: 60_000,
    maxEjected: 50,
    minHealthy: 0,
  };
  const { servers, made, asked } = await placed(t, {
    policy: { ...policy, outliers },
  });
  for (const server of servers.slice(0, 2)) server.answers(500);
  let failures = 0;
  // One after the other, over both threads in turn: as many fail as it takes to leave both out. The caller has its answer before the thread has
  // counted that, and may have asked the other thread meanwhile: once for each of the two.
  for (let nth = 0; nth < 200; nth += 1) {
    const { status, nth: by } = await asked(made.ports[nth % THREADS] ?? 0);
    if (status === 500) failures += 1;
    else assert.ok(by === 2 || by === 3, `${by} (seed ${seed})`);
  }
  assert.ok(failures >= 6 && failures <= 8, `${failures} failed (seed ${seed})`);
  await goTo(made, asked, [2, 3]);
  for (const server of servers.slice(0, 2)) server.answers(200);
  await made.ask({ op: "later", ms: outliers.baseMs - 1 });
  await goTo(made, asked, [2, 3]);
  await made.ask({ op: "later", ms: 1 });
  const probes = [await asked(made.ports[0] ?? 0), await asked(made.ports[1] ?? 0)].map(({ nth }) => nth);
  assert.deepEqual(probes.toSorted(), [0, 1]);
  await goTo(made, asked, [0, 1]);
});

/** The reference: by hand, of these places and these two preferences alone. */
function nearestOf(from: Place, there: readonly (Place | null)[]): readonly number[] {
  const all = there.flatMap((each, nth) => (each === null ? [] : [{ ...each, nth }]));
  const region = all.filter((each) => each.region === from.region);
  const zone = region.filter((each) => each.zone === from.zone);
  return [zone, region, all].find((found) => found.length > 0)?.map(({ nth }) => nth) ?? [];
}

test(`random places, health and comings: each request goes to one of the nearest (seed ${seed})`, async (t) => {
  const dice = new Dice(seed);
  const some = (): Place => place(dice.pick(["north", "south", ""]), dice.pick(["a", "b", ""]));
  const from = some();
  const { endpoints, made, asked } = await placed(t, { place: from });
  for (let round = 0; round < 40; round += 1) {
    const moved = endpoints.map((each) => ({
      ...each,
      place: some(),
      healthy: dice.chance(70),
    }));
    const there = moved.filter(() => dice.chance(70));
    await made.ask({ op: "endpoints", endpoints: there });
    const usable = moved.map((each) => (there.includes(each) && each.healthy ? each.place : null));
    const nearest = nearestOf(from, usable);
    for (let nth = 0; nth < 6; nth += 1) {
      const heard = await asked(made.ports[nth % THREADS] ?? 0);
      const said = `round ${round}, seed ${seed}: ${JSON.stringify({ from, usable, heard })}`;
      if (nearest.length === 0) assert.equal(heard.status, 503, said);
      else assert.ok(heard.status === 200 && nearest.includes(heard.nth), said);
    }
  }
});
