// first-acts.ts as root: what the agent is given, and what an agent that an attacker took over cannot obtain this way.
import assert from "node:assert/strict";
import {
  chownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { giveDirectory, giveToAgent } from "./first-acts.ts";

const agent = { agentUid: 61008, agentGid: 61008 };
const FORMER = 65534;
const asRoot = { skip: process.getuid?.() !== 0 };

function scratch(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), "orlop-hand-over-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const at = (name: string): string => join(folder, name);
  const owner = (name: string): number => lstatSync(at(name)).uid;
  return { folder, at, owner };
}

test("files and directories become the agent's; what a link points to does not", asRoot, (t) => {
  const { folder, at, owner } = scratch(t);
  for (const name of ["plain", "secret", "linked"]) writeFileSync(at(name), "");
  mkdirSync(at("directory"));
  symlinkSync(at("secret"), at("symbolic"));
  symlinkSync(folder, at("symbolic-directory"));
  linkSync(at("linked"), at("hard"));
  for (const name of ["plain", "directory", "symbolic", "symbolic-directory", "hard"]) giveToAgent(at(name), agent);
  assert.deepEqual([owner("plain"), owner("directory")], [61008, 61008]);
  assert.deepEqual([owner("secret"), owner("linked"), statSync(folder).uid], [0, 0, 0]);
});

test("what an agent with another user kept becomes the agent's, and nothing else of that user", asRoot, (t) => {
  const { at, owner } = scratch(t);
  for (const name of ["state", "state/last-good", "state/last-good/deeper"]) mkdirSync(at(name));
  const kept = ["state/last-good.json", "state/last-good/0a1b", "state/last-good-cluster.jsonl"];
  const others = ["state/notes", "state/last-good/deeper/file"];
  for (const name of [...kept, ...others]) writeFileSync(at(name), "");
  const all = ["state", "state/last-good", "state/last-good/deeper", ...kept, ...others];
  for (const name of all) chownSync(at(name), FORMER, FORMER);
  const give = (): void =>
    giveDirectory(at("state"), ["last-good.json", "last-good", "last-good-cluster.jsonl"], agent);
  give();
  const given = ["state", "state/last-good", ...kept];
  assert.deepEqual(
    all.filter((name) => owner(name) === 61008),
    all.filter((name) => given.includes(name)),
  );
  assert.deepEqual([statSync(at(kept[0] ?? "")).gid, owner("state/notes")], [61008, FORMER]);
  // From then on the directory is the agent's, and the former user's file is nobody's business.
  writeFileSync(at("state/last-good/late"), "");
  chownSync(at("state/last-good/late"), FORMER, FORMER);
  give();
  assert.equal(owner("state/last-good/late"), FORMER);
});

test("links that the former user planted are not followed, and files of others stay theirs", asRoot, (t) => {
  const { folder, at, owner } = scratch(t);
  const names = ["symbolic", "hard", "others", "socket-directory", "texts", "swapped"];
  for (const name of ["state", "state/texts", "elsewhere"]) mkdirSync(at(name));
  for (const name of ["secret", "linked", "elsewhere/shadow", "state/others"]) writeFileSync(at(name), "");
  symlinkSync(at("secret"), at("state/symbolic"));
  linkSync(at("linked"), at("state/hard"));
  symlinkSync(at("elsewhere"), at("state/socket-directory"));
  symlinkSync(at("elsewhere/shadow"), at("state/texts/in"));
  linkSync(at("elsewhere/shadow"), at("state/texts/hard"));
  // A directory of the former user's in a place that leads outside only by its name.
  renameSync(at("state/texts"), at("state/texts.moved"));
  symlinkSync(folder, at("state/texts"));
  for (const name of ["state", "state/texts.moved"]) chownSync(at(name), FORMER, FORMER);
  giveDirectory(at("state"), [...names, "texts.moved"], agent);
  assert.deepEqual([owner("state"), owner("state/texts.moved")], [61008, 61008]);
  for (const name of ["secret", "linked", "elsewhere", "elsewhere/shadow", "state/others", "state/hard"])
    assert.equal(owner(name), 0, name);
  assert.equal(statSync(folder).uid, 0);
});

test(
  "a hard link to a file of the former user's that lies elsewhere is left alone; so is a link for a directory",
  asRoot,
  (t) => {
    const { at, owner } = scratch(t);
    for (const name of ["state", "real"]) mkdirSync(at(name));
    writeFileSync(at("exporter"), "");
    linkSync(at("exporter"), at("state/last-good.json"));
    symlinkSync(at("real"), at("link"));
    for (const name of ["state", "exporter", "real"]) chownSync(at(name), FORMER, FORMER);
    giveDirectory(at("state"), ["last-good.json"], agent);
    giveDirectory(at("link"), ["last-good.json"], agent);
    assert.deepEqual([owner("exporter"), owner("real"), owner("state")], [FORMER, FORMER, 61008]);
  },
);
