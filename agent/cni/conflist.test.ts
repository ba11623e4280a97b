// conflist.ts: which configuration is the node's, and what it becomes with our plug-in at its end.
import assert from "node:assert/strict";
import { test } from "node:test";
import { comesFirst, isConfName, OWN_CONFLIST, PLUGIN, type PluginEntry, primaryOf, withPlugin } from "./conflist.ts";

const entry: PluginEntry = { socket: "/run/k/cni.sock", list: "/var/l", withoutList: "pass", exempt: ["orlop-system"] };
const bridge = { type: "bridge", ipam: { type: "host-local" } };
const portmap = { type: "portmap", capabilities: { portMappings: true } };
const list = (extra: object = {}): string =>
  JSON.stringify({ cniVersion: "1.0.0", name: "cluster", disableCheck: true, plugins: [bridge, portmap], ...extra });
const read = (files: readonly (readonly [string, string])[]) =>
  primaryOf(files.map(([name, text]) => ({ name, text })));

test("the primary's list becomes ours, with all that it says and our plug-in at its end", () => {
  const primary = read([["10-cluster.conflist", list()]]) ?? assert.fail();
  assert.deepEqual(JSON.parse(withPlugin(primary, entry)), {
    ...JSON.parse(list()),
    plugins: [bridge, portmap, { type: PLUGIN, ...entry }],
  });
});

test("a configuration of a single plug-in becomes a list", () => {
  const primary =
    read([["10-a.conf", JSON.stringify({ cniVersion: "0.4.0", name: "net", ...bridge })]]) ?? assert.fail();
  const made = JSON.parse(withPlugin(primary, entry));
  assert.deepEqual(made, { cniVersion: "0.4.0", name: "net", plugins: [bridge, { type: PLUGIN, ...entry }] });
});

test("the first by name that can be read is the primary; our own file is not, nor are files of other kinds", () => {
  const name = (files: readonly (readonly [string, string])[]): string | undefined => read(files)?.file;
  assert.equal(
    name([
      ["20-b.conflist", list()],
      ["10-a.conflist", list()],
    ]),
    "10-a.conflist",
  );
  assert.equal(
    name([
      [OWN_CONFLIST, list()],
      ["10-a.conflist", list()],
    ]),
    "10-a.conflist",
  );
  assert.equal(
    name([
      ["05-half.conflist", list().slice(0, 40)],
      ["10-a.conflist", list()],
    ]),
    "10-a.conflist",
  );
  for (const text of [
    ...["", "null", "[]", "{}"],
    ...[{ name: 1 }, { cniVersion: "0.1.0" }, { plugins: [] }, { plugins: [{}] }, { plugins: {} }].map(list),
  ])
    assert.equal(
      name([
        ["05-strange.conflist", text],
        ["10-a.conflist", list()],
      ]),
      "10-a.conflist",
      text,
    );
  assert.equal(
    name([
      [OWN_CONFLIST, list()],
      ["notes.txt", list()],
      ["10-a.conflist.bak", list()],
    ]),
    undefined,
  );
  assert.equal(isConfName(`.${PLUGIN}.new`), false);
});

test("our plug-in is in the chain once, also where somebody has written it into the primary's", () => {
  const primary = read([["10-a.conflist", list({ plugins: [bridge, { type: PLUGIN }] })]]) ?? assert.fail();
  assert.deepEqual(JSON.parse(withPlugin(primary, entry)).plugins, [bridge, { type: PLUGIN, ...entry }]);
});

test("our file comes before what others call theirs", () => {
  for (const file of ["00-cilium.conflist", "00-multus.conf", "05-a.conflist", "10-calico.conflist", "a.conflist"])
    assert.ok(comesFirst({ file }), file);
  assert.equal(comesFirst({ file: "00-.conflist" }), false);
});
