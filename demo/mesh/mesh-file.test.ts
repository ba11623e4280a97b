import assert from "node:assert/strict";
import { test } from "node:test";
import { loadConfig } from "../../agent/config/load.ts";
import { translateTexts } from "../../agent/control/static-file/read.ts";
import { createCluster } from "../../test/box/cluster.ts";
import { apiService, initialState, meshText, nodesWithHttp } from "./mesh-file.ts";
import { readAccessLine } from "./mesh-run.ts";

test("the files a cluster writes for its nodes, and the demo's mesh file, are read without a word", async () => {
  const cluster = await createCluster({ nodes: nodesWithHttp, nodeConfig: "  dataThreads: 1\n", leafTtlSeconds: 60 });
  try {
    for (const node of cluster.nodes) {
      const { agent, keeper } = loadConfig(node.configFile, {});
      assert.equal(keeper.podsCgroup, node.podsCgroup);
      assert.equal(keeper.bpffs, node.bpffs);
      assert.equal(agent.source.kind === "file" && agent.source.path, cluster.meshFile);
      assert.equal(agent.log.access, node.accessLog);
      assert.deepEqual([agent.dataThreads, agent.ca.leafTtlSeconds], [1, 60]);
      const text = meshText(cluster, initialState);
      const { updates, findings } = translateTexts([{ file: "mesh.yaml", text }], agent.settings);
      assert.deepEqual(findings, []);
      const of = (kind: string) => updates.filter((update) => update.kind === kind && update.op === "upsert");
      assert.equal(of("workload").length, 8);
      assert.equal(of("authorization-policy").length, 3);
      assert.equal(of("peer-authentication").length, 1);
      for (const update of updates) {
        if (update.op !== "upsert") continue;
        if (update.kind === "workload") {
          assert.equal(update.value.protocol, update.value.name === "legacy" ? "none" : "hbone");
          assert.equal(update.value.podUid, update.value.node === node.name ? cluster.pod(update.value.name).uid : "");
          // The form every reader compares with: addresses of the plan are canonical already.
          assert.deepEqual(update.value.addresses, [
            cluster.pod(update.value.name).ip4,
            cluster.pod(update.value.name).ip6,
          ]);
        }
        if (update.kind === "service" && update.value.name === "api")
          assert.deepEqual(update.value.vips, [apiService.ip4, apiService.ip6]);
      }
    }
  } finally {
    await cluster.close();
  }
});

test("access-log lines: bare and quoted fields, escapes, no field from within a quoted one", () => {
  const line =
    "2026-11-21T09:00:00.000000Z\tinfo\taccess\tconnection complete\t" +
    'src.addr=[fd90::1]:1 src.workload="web" error="a \\"b\\" policy=\\"no\\"\\u001b" policy="demo/x[0]" bytes_sent=5';
  const entry = readAccessLine(line);
  assert.equal(entry["src.addr"], "[fd90::1]:1");
  assert.equal(entry["src.workload"], "web");
  assert.equal(entry.error, 'a "b" policy="no"\u001b');
  assert.equal(entry.policy, "demo/x[0]");
  assert.equal(entry.bytes_sent, "5");
  assert.equal(entry.message, "connection complete");
});
