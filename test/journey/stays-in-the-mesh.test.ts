// A STRICT pod leaves the mesh only when somebody takes it out: edits, mistakes and broken files under a prober that speaks
// plaintext from outside all the while. It never gets an answer.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { call, startChurn, startPing } from "../../demo/app/roles.ts";
import { demoNodes, initialState, meshText } from "../../demo/mesh/mesh-file.ts";
import { pidOf, until, view } from "../../demo/mesh/mesh-run.ts";
import { type Journey, startJourney } from "../support/journey-box.ts";

const ONCE = 8084;
let journey: Journey;
let good = "";
before(async () => {
  journey = await startJourney({ nodes: demoNodes }, (cluster) => meshText(cluster, initialState));
  good = meshText(journey.cluster, initialState);
});
after(() => journey?.close());

const vault = () => journey.cluster.pod("vault");
const vaultNode = () => journey.cluster.node(vault().node);
const webCalls = async (): Promise<true | undefined> =>
  (await call(journey.cluster.pod("web"), { host: vault().ip4, port: 8080 })).reply === undefined ? undefined : true;
const webReaches = (): Promise<true> => until("web to reach vault", 30_000, webCalls);

/** What `view workloads` says of the workload. */
async function workload(name: string) {
  return (await view(vaultNode(), "workloads")).items.find((item) => item.name === name);
}

/** Runs `steps` while both addresses of the vault are called in plaintext from outside; most calls must be refused. */
async function hammered(what: string, steps: () => Promise<void>): Promise<void> {
  const { outside } = journey.cluster;
  const churns = [vault().ip4, vault().ip6].map((host) => startChurn(outside, { host, port: ONCE }, 4, what));
  await steps();
  for (const churn of churns) {
    const result = await churn.finish();
    assert.equal(result.answered, 0, `${what}: ${JSON.stringify(result)}`);
    assert.ok(result.refused > 100, `${what}: ${JSON.stringify(result)}`);
  }
}

async function restartAgent(): Promise<void> {
  const pid = pidOf(vaultNode(), "agent");
  assert.ok(pid);
  process.kill(pid, "SIGKILL");
  await until("another agent", 30_000, () => {
    const other = pidOf(vaultNode(), "agent");
    return other !== undefined && other !== pid ? true : undefined;
  });
}

const edits: Readonly<Record<string, (text: string) => string>> = {
  "an address is removed": (text) => text.replace(`, "${vault().ip6}"]`, "]"),
  "the workload is renamed": (text) => text.replace("name: vault\n", "name: vault-renamed\n"),
  "the service account changes": (text) => text.replace("serviceAccount: vault\n", "serviceAccount: vault-2\n"),
};
for (const [what, edit] of Object.entries(edits)) {
  test(`${what}, and back: nobody is answered in plaintext, and no connection of others ends`, async () => {
    const ping = await startPing(journey.cluster.pod("web"), { host: journey.cluster.pod("api").ip4, port: 8080 }, 20);
    await hammered(what, async () => {
      for (const text of [edit(good), good, edit(good), good]) {
        const before_ = (await view(vaultNode(), "status")).source.appliedAt;
        journey.cluster.writeMesh(text);
        await until("the edit to be in force", 15_000, async () =>
          (await view(vaultNode(), "status")).source.appliedAt === before_ ? undefined : true,
        );
        await webReaches();
      }
    });
    await ping.finish();
  });
}

const mistakes: Readonly<Record<string, (text: string) => string>> = {
  "a wrong address": (text) => text.replace(`["${vault().ip4}", "${vault().ip6}"]`, '["10.90.2.250"]'),
  "a wrong UID": (text) => text.replace(vault().uid, "00000000-0000-4000-8000-000000000000"),
  "a wrong node": (text) =>
    text.replace(new RegExp(`(name: vault\\n(?:.*\\n)*?  node: )${vault().node}\\n`), "$1elsewhere\n"),
};
for (const [what, mistake] of Object.entries(mistakes)) {
  test(`${what} opens nothing, also for an agent that starts with it; it is said, and its correction is enough`, async () => {
    assert.notEqual(mistake(good), good);
    await hammered(what, async () => {
      journey.cluster.writeMesh(mistake(good));
      await until("a note", 15_000, async () => ((await workload("vault"))?.captureNote ? true : undefined));
      assert.notEqual((await view(vaultNode(), "status")).notes.length, 0);
      await restartAgent();
      await until("the agent", 15_000, async () => await view(vaultNode(), "status"));
      journey.cluster.writeMesh(good);
      await webReaches();
    });
  });
}

test("the keeper is told to end, by whichever signal, and nobody else is: it comes back, and nothing was released", async () => {
  const joined = await startPing(
    journey.cluster.pod("web"),
    { host: journey.cluster.pod("cache").ip4, port: 8080 },
    20,
  );
  await hammered("the keeper's end", async () => {
    for (const node of journey.cluster.nodes) {
      for (const signal of ["SIGTERM", "SIGINT", "SIGKILL", "SIGTERM"] as const) {
        // A keeper that has only begun does not ignore SIGINT yet.
        const pid = await until("a keeper", 30_000, () => pidOf(node, "keeper"));
        process.kill(pid, signal);
        if (signal === "SIGINT") continue;
        await until("another keeper", 30_000, () => ![pid, undefined].includes(pidOf(node, "keeper")) || undefined);
        await webReaches();
      }
    }
  });
  await joined.finish();
});

test("the node's own file breaks while agent and keeper are replaced: `orlop run` goes on, and so does the mesh", async () => {
  const file = vaultNode().configFile;
  const text = readFileSync(file, "utf8");
  const run = journey.programs.get(vault().node);
  await hammered("a broken file", async () => {
    for (const broken of [text.slice(0, text.indexOf("podsCgroup") + 5), "", "kind: ["]) {
      writeFileSync(file, broken);
      for (const program of ["agent", "keeper"] as const) {
        const pid = pidOf(vaultNode(), program);
        if (pid !== undefined) process.kill(pid, "SIGKILL");
      }
      await webReaches();
      assert.equal(run?.running, true);
    }
    writeFileSync(file, text);
  });
});
