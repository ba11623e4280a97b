// Real programs between two pods, first without a mesh and then with: the outcome is the same, or docs/compatibility.md has the row
// that says why not.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";
import { initialState, meshText } from "../../demo/mesh/mesh-file.ts";
import { startMesh } from "../../demo/mesh/mesh-run.ts";
import { type Cluster, createCluster, type Host, type Pod } from "../box/cluster.ts";
import { alone, type Case, casesFor, type Place } from "./cases.ts";
import { makeDatabases, startZoo } from "./servers.ts";

const pods = (...names: string[]) => names.map((name) => ({ name, labels: { app: name } }));
const nodes = [
  { name: "node-a", pods: pods("client", "near") },
  { name: "node-b", pods: pods("far") },
];
const AT_ONCE = 4;
const RUN_MS = 60_000;

type Run = Case & { readonly place: Place; readonly family: string };
const nameOf = ({ name, place, family }: Run): string => `${name} · ${place} · ${family}`;

let cluster: Cluster;
let runs: readonly Run[] = [];
const without = new Map<string, string>();
const withMesh = new Map<string, string>();

before(
  async () => {
    cluster = await createCluster({ nodes, nodeConfig: "  dataThreads: 1\n" });
    const client = cluster.pod("client");
    const hosts: readonly (readonly [Place, Host])[] = [
      ["near", cluster.pod("near")],
      ["far", cluster.pod("far")],
      ["outside", cluster.outside],
    ];
    await makeDatabases(cluster);
    await Promise.all(hosts.map(([, host]) => startZoo(cluster, host)));
    runs = hosts.flatMap(([place, { ip4, ip6 }]) => [
      ...casesFor(client, ip4, ip6).map((given) => ({ ...given, place, family: "IPv4" })),
      ...casesFor(client, ip6, ip4).map((given) => ({ ...given, place, family: "IPv6" })),
    ]);
    await runAll(client, without);
    cluster.writeMesh(meshText(cluster, initialState));
    await startMesh(cluster);
    await runAll(client, withMesh);
  },
  { timeout: 420_000 },
);
after(() => cluster?.close());

async function runAll(client: Pod, outcomes: Map<string, string>): Promise<void> {
  const one = async (run: Run): Promise<void> => {
    const done = await client.run(["sh", "-c", run.script], RUN_MS);
    outcomes.set(nameOf(run), normal(`exit ${done.status}\n${done.stdout}${done.stderr}`));
  };
  const queue = runs.filter(({ name }) => !alone.has(name));
  const worker = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) await one(next);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  for (const run of runs.filter(({ name }) => alone.has(name))) await one(run);
}

/** Without what differs between any two runs. */
const normal = (text: string): string => text.replace(/after \d+ ms/g, "after … ms").replace(/0x[0-9a-f]+/g, "0x…");

describe("real programs with and without the mesh", () => {
  test("each outcome is the same, or differs as its row of docs/compatibility.md says", (t) => {
    const page = readFileSync(new URL("../../docs/compatibility.md", import.meta.url), "utf8");
    const wrong: string[] = [];
    const rows = new Set<string>();
    const seen = new Set<string>();
    for (const run of runs) {
      const [plain, meshed] = [without.get(nameOf(run)), withMesh.get(nameOf(run))];
      const row = run.differs[run.place];
      if (row !== undefined) rows.add(row);
      if (row === undefined && plain !== meshed) wrong.push(`${nameOf(run)}\n  without: ${plain}\n  with: ${meshed}`);
      // A reset may overtake the program's own look at its socket, so each run of a row may be the same, but not all of them.
      if (row !== undefined && plain !== meshed) seen.add(row);
    }
    for (const row of rows)
      if (!seen.has(row)) wrong.push(`the row ${row} of docs/compatibility.md explains nothing any more`);
    for (const row of rows) if (!page.includes(`| \`${row}\` |`)) wrong.push(`docs/compatibility.md has no row ${row}`);
    t.diagnostic(`${runs.length} runs, ${rows.size} rows explain the differences`);
    assert.equal(wrong.join("\n"), "");
  });

  test("without the mesh every program that should succeed does", () => {
    const failed = runs.filter(
      (run) => !/closed|second port|reset/.test(run.name) && !without.get(nameOf(run))?.startsWith("exit 0\n"),
    );
    assert.deepEqual(
      failed.map((run) => `${nameOf(run)}: ${without.get(nameOf(run))}`),
      [],
    );
  });
});
