// The mesh file changes while traffic runs: a good change is applied, a bad change changes nothing and is reported.
import assert from "node:assert/strict";
import { closeSync, openSync, writeSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { call, startPing } from "../../demo/app/roles.ts";
import { demoNodes, initialState, type MeshState, meshText } from "../../demo/mesh/mesh-file.ts";
import { until, view } from "../../demo/mesh/mesh-run.ts";
import { keepWriting } from "../support/journey-acts.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";

const ECHO = 8080;
let journey: Journey;
before(async () => {
  journey = await startJourney({ nodes: demoNodes }, (cluster) => meshText(cluster, initialState));
});
after(() => journey?.close());

const text = (change: Partial<MeshState> = {}): string => meshText(journey.cluster, { ...initialState, ...change });
const toVault = () => call(journey.cluster.pod("web"), { host: journey.cluster.pod("vault").ip4, port: ECHO });

async function settled(state: "synced" | "rejected" | "held"): Promise<void> {
  for (const node of journey.cluster.nodes) {
    await until(`${node.name} ${state}`, 20_000, async () => {
      const status = await view(node, "status");
      return status.source.state === state ? true : undefined;
    });
  }
}

describe("the mesh file", () => {
  for (const [what, spoil, expected] of [
    ["YAML that is none", (good: string) => `${good}\n}{`, /mesh\.yaml:\d+:\d+/],
    [
      "a field nobody knows",
      (good: string) => good.replace("action: DENY", "action: DENY\n  severity: high"),
      /severity/,
    ],
    ["a wrong type", (good: string) => good.replace("port: 80,", "port: eighty,"), /port/],
    [
      "a bad CIDR",
      (good: string) => good.replace("rules:", "rules:\n    - from: [{source: {ipBlocks: [10.0.0.0/33]}}]"),
      /10\.0\.0\.0\/33/,
    ],
  ] as const) {
    test(`${what} changes nothing that runs, is told with its place, and is forgotten once mended`, async () => {
      const pinger = await startPing(
        journey.cluster.pod("web"),
        { host: journey.cluster.pod("vault").ip4, port: ECHO },
        10,
      );
      journey.cluster.writeMesh(spoil(text()));
      await settled("rejected");
      for (const node of journey.cluster.nodes) {
        const { source } = await view(node, "status");
        const told = source.errors.map((error) => `${error.at} ${error.what} ${error.why} ${error.fix}`).join("\n");
        assert.match(told, expected);
        assert.match(told, /:\d+:\d+/);
      }
      assert.equal((await toVault()).reply?.pod, "vault");
      journey.cluster.writeMesh(text());
      await settled("synced");
      await pinger.finish();
    });
  }

  test("a policy that denies ends the live connection and the next ones; written back, they are served", async () => {
    const pinger = await startPing(
      journey.cluster.pod("web"),
      { host: journey.cluster.pod("vault").ip4, port: ECHO },
      10,
    );
    const bystander = await startPing(
      journey.cluster.pod("web"),
      { host: journey.cluster.pod("api").ip4, port: ECHO },
      10,
    );
    journey.cluster.writeMesh(text({ vaultCallers: ["nobody"] }));
    await pinger.dead(20_000);
    assert.equal((await toVault()).reply, undefined);
    journey.cluster.writeMesh(text());
    await until("web allowed again", 20_000, async () => ((await toVault()).reply ? true : undefined));
    await bystander.finish();
  });

  test("a writer in place that pauses before a policy opens nothing, is told meanwhile, and what it ends with counts", async () => {
    const vault = { host: journey.cluster.pod("vault").ip4, port: ECHO };
    const plaintext = async (): Promise<unknown> => (await call(journey.cluster.outside, vault)).reply;
    for (const policy of ["PeerAuthentication", "AuthorizationPolicy"]) {
      const [half = "", ...rest] = text().split(new RegExp(`(?=---\napiVersion: \\S+\nkind: ${policy})`));
      const file = openSync(journey.cluster.meshFile, "w");
      writeSync(file, half);
      const pause = keepWriting(file);
      try {
        await settled("held");
        const { source } = await view(journey.cluster.node("node-b"), "status");
        assert.ok(source.errors.every(({ code }) => code === "ORL4108"));
        assert.match(source.errors.map(({ what }) => what).join(), new RegExp(`${policy} demo/\\S+ is gone`));
        assert.equal(await plaintext(), undefined);
        assert.equal((await call(journey.cluster.pod("batch"), vault)).reply, undefined);
        pause();
        writeSync(file, rest.join(""));
      } finally {
        pause();
        closeSync(file);
      }
      await settled("synced");
      assert.equal(await plaintext(), undefined);
      assert.equal((await toVault()).reply?.pod, "vault");
    }
  });

  test("written in place without its STRICT and left so, the file counts", async () => {
    const vault = { host: journey.cluster.pod("vault").ip4, port: ECHO };
    const documents = text().split("---\n");
    const open = documents.filter((document) => !/name: vault-/.test(document)).join("---\n");
    const file = openSync(journey.cluster.meshFile, "w");
    writeSync(file, open);
    const leave = keepWriting(file);
    try {
      await settled("held");
      assert.equal((await call(journey.cluster.outside, vault)).reply, undefined);
    } finally {
      leave();
      closeSync(file);
    }
    await settled("synced");
    await until("plaintext", 20_000, async () =>
      (await call(journey.cluster.outside, vault)).reply ? true : undefined,
    );
    journey.cluster.writeMesh(text());
    await settled("synced");
  });
});
