// daemonset/systemd/orlop.service: it waits for what the keeper serves, ends orlop run in order, and never leaves it ended.
import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { loadConfig } from "../../agent/config/load.ts";

const unit = readFileSync(new URL("../../daemonset/systemd/orlop.service", import.meta.url), "utf8");
const value = (name: string): string => new RegExp(`^${name}=(.*)$`, "m").exec(unit)?.[1] ?? "";

test("the unit counts as started when the keeper of the defaults serves, on mounts that it needs", (t) => {
  const file = join(tmpdir(), `orlop-unit-${process.pid}.yaml`);
  t.after(() => rmSync(file));
  writeFileSync(file, "apiVersion: orlop.dev/v1alpha1\nkind: NodeConfig\nspec: {}\n");
  const { keeper, agent } = loadConfig(file, {});
  assert.ok(value("ExecStartPost").includes(`-f ${keeper.directory}/serving `));
  assert.equal(value("RequiresMountsFor"), `${agent.stateDir} ${keeper.stateDirectory}`);
  assert.match(value("ExecStart"), /orlop run -c \//);
});

test("orlop run alone is asked to stop, and is started again whatever else ends it", () => {
  assert.deepEqual([value("KillMode"), value("Restart"), value("WantedBy")], ["mixed", "always", "multi-user.target"]);
  assert.equal(value("ExecReload"), "/bin/kill -HUP $MAINPID", "a reload replaces the agent");
});
