// installation.ts and node-files.ts on real directories: what is installed, kept and removed as the cluster and the primary plug-in change.
import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { OWN_CONFLIST, PLUGIN } from "./conflist.ts";
import { Installation } from "./installation.ts";
import { NodeFiles } from "./node-files.ts";

const root = mkdtempSync(join(tmpdir(), "orlop-installer-"));
after(() => rmSync(root, { recursive: true }));
let made = 0;
const LIST = "orlop namespaces 1\nshop\nend\n";
const conflist = (type: string): string => JSON.stringify({ cniVersion: "1.0.0", name: "net", plugins: [{ type }] });

function setUp() {
  const folder = join(root, String(++made));
  const at = (name: string): string => join(folder, name);
  for (const name of ["net.d", "bin"]) mkdirSync(at(name), { recursive: true });
  writeFileSync(at("built"), "the plug-in");
  writeFileSync(at("net.d/10-a.conflist"), conflist("bridge"));
  const said: string[] = [];
  const say = (message: string): void => void said.push(message);
  const log = { info: say, warn: say, error: say };
  const files = new NodeFiles({ confDir: at("net.d"), binDir: at("bin"), stateDir: at("state"), binary: at("built") });
  const options = { socket: "/run/k/cni.sock", withoutList: "pass", exempt: ["orlop-system"] } as const;
  const start = (): Installation => new Installation(files, options, log);
  const plugins = (): readonly string[] => {
    const { plugins: all } = JSON.parse(readFileSync(at(`net.d/${OWN_CONFLIST}`), "utf8"));
    return (all as readonly { readonly type: string }[]).map(({ type }) => type);
  };
  return { at, files, start, said, plugins };
}

function installed() {
  const all = setUp();
  const installation = all.start();
  installation.listed(LIST);
  installation.daemonSet(true);
  assert.equal(installation.look(), true);
  return { ...all, installation };
}

test("nothing is installed before both are known: the namespaces, and that the DaemonSet is there", () => {
  const { at, start, plugins } = setUp();
  const installation = start();
  assert.equal(installation.look(), false);
  installation.daemonSet(true);
  assert.equal(installation.look(), false);
  assert.equal(existsSync(at(`net.d/${OWN_CONFLIST}`)), false);
  installation.listed(LIST);
  assert.equal(installation.look(), true);
  assert.deepEqual(plugins(), ["bridge", PLUGIN]);
  assert.equal(readFileSync(at("state/namespaces"), "utf8"), LIST);
  assert.equal(readFileSync(at(`bin/${PLUGIN}`), "utf8"), "the plug-in");
});

test("each file has its mode, whatever the umask of the installer", (t) => {
  const before = process.umask(0o077);
  t.after(() => process.umask(before));
  const { at } = installed();
  const mode = (path: string): number => statSync(at(path)).mode & 0o777;
  assert.deepEqual(
    [mode(`bin/${PLUGIN}`), mode("state/namespaces"), mode(`net.d/${OWN_CONFLIST}`)],
    [0o755, 0o644, 0o600],
  );
});

test("a restart takes nothing away, renews the plug-in, and follows the primary while the API server is away", () => {
  const { at, start, plugins } = installed();
  writeFileSync(at("built"), "its next release");
  writeFileSync(at("net.d/10-a.conflist"), conflist("ptp"));
  const next = start();
  assert.equal(next.look(), true);
  assert.deepEqual(plugins(), ["ptp", PLUGIN]);
  assert.equal(readFileSync(at(`bin/${PLUGIN}`), "utf8"), "its next release");
  assert.equal(readFileSync(at("state/namespaces"), "utf8"), LIST);
});

test("the primary's upgrade: while it is away or half written ours stays, then ours is made of the new one", () => {
  const { at, installation, plugins, said } = installed();
  rmSync(at("net.d/10-a.conflist"));
  assert.equal(installation.look(), true);
  writeFileSync(at("net.d/05-b.conflist"), conflist("cilium").slice(0, 30));
  installation.look();
  assert.deepEqual(plugins(), ["bridge", PLUGIN]);
  writeFileSync(at("net.d/05-b.conflist"), conflist("cilium"));
  assert.equal(installation.look(), true);
  assert.deepEqual(plugins(), ["cilium", PLUGIN]);
  // Some move all others' files out of the way.
  renameSync(at(`net.d/${OWN_CONFLIST}`), at(`net.d/${OWN_CONFLIST}.bak`));
  assert.equal(installation.look(), true);
  assert.deepEqual(plugins(), ["cilium", PLUGIN]);
  assert.ok(said.includes("there is no CNI configuration to chain into"));
});

test("what has not changed is not written again", () => {
  const { at, installation } = installed();
  const before = [`net.d/${OWN_CONFLIST}`, `bin/${PLUGIN}`, "state/namespaces"].map((name) => statSync(at(name)).ino);
  installation.look();
  assert.deepEqual(
    [`net.d/${OWN_CONFLIST}`, `bin/${PLUGIN}`, "state/namespaces"].map((name) => statSync(at(name)).ino),
    before,
  );
});

test("with the DaemonSet all goes, and comes again with it", () => {
  const { at, installation, plugins } = installed();
  writeFileSync(at("state/namespaces.passed"), "...");
  installation.daemonSet(false);
  assert.equal(installation.look(), false);
  assert.deepEqual(readdirSync(at("net.d")), ["10-a.conflist"]);
  assert.deepEqual([readdirSync(at("bin")), readdirSync(at("state"))], [[], []]);
  assert.equal(installation.look(), false);
  installation.daemonSet(true);
  assert.equal(installation.look(), true);
  assert.deepEqual(plugins(), ["bridge", PLUGIN]);
});

test("pods that passed before there was a list are reported, and so is a configuration that is read before ours", () => {
  const { at, installation, said } = installed();
  writeFileSync(at("state/namespaces.passed"), "..");
  installation.look();
  installation.look();
  assert.equal(said.filter((line) => line.startsWith("pods began on this node")).length, 1);
  writeFileSync(at("net.d/00-.conflist"), conflist("first"));
  assert.equal(installation.look(), false);
  assert.match(said.at(-1) ?? "", /not called/);
});

test("a directory that cannot be written is said, and tried again", () => {
  const { at, installation, said } = installed();
  renameSync(at("net.d"), at("elsewhere"));
  assert.equal(installation.look(), false);
  assert.match(said.at(-1) ?? "", /trying again/);
  renameSync(at("elsewhere"), at("net.d"));
  assert.equal(installation.look(), true);
});
