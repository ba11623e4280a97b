// first-acts.ts as root: what the agent is given, and what an agent that an attacker took over cannot obtain this way.
import assert from "node:assert/strict";
import { linkSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { giveToAgent } from "./first-acts.ts";

const agent = { agentUid: 65534, agentGid: 65534 };

test("files and directories become the agent's; what a link points to does not", {
  skip: process.getuid?.() !== 0,
}, (t) => {
  const folder = mkdtempSync(join(tmpdir(), "orlop-hand-over-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const at = (name: string): string => join(folder, name);
  const owner = (name: string): number => statSync(at(name)).uid;
  for (const name of ["plain", "secret", "linked"]) writeFileSync(at(name), "");
  mkdirSync(at("directory"));
  symlinkSync(at("secret"), at("symbolic"));
  symlinkSync(folder, at("symbolic-directory"));
  linkSync(at("linked"), at("hard"));
  for (const name of ["plain", "directory", "symbolic", "symbolic-directory", "hard"]) giveToAgent(at(name), agent);
  assert.deepEqual([owner("plain"), owner("directory")], [65534, 65534]);
  assert.deepEqual([owner("secret"), owner("linked"), statSync(folder).uid], [0, 0, 0]);
});
