// Every relative link of the project's own Markdown leads somewhere, anchors included, and every fenced YAML block of docs/ is a
// mesh that the agent takes, without a finding.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { runCli } from "../../agent/cli/commands.ts";
import { summaryOf } from "../../agent/cli/explain-code.ts";
import { loadConfig } from "../../agent/config/load.ts";
import { controlConfigKind } from "../../agent/control/kinds/control-config.ts";
import { Report } from "../../agent/control/kinds/value.ts";
import { parseYaml } from "../../agent/control/static-file/parse.ts";
import { translateTexts } from "../../agent/control/static-file/read.ts";
import { EmbeddedAuthority } from "../../agent/identity/embedded.ts";
import { parseSpiffeId } from "../../agent/mesh/spiffe-id.ts";
import { isExpected, sectionsOf } from "../cluster/page.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const notOurs = new Set(["node_modules", "build", ".git"]);

function markdownBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (notOurs.has(entry.name)) return [];
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return markdownBelow(path);
    return entry.name.endsWith(".md") ? [path] : [];
  });
}

const pages = markdownBelow(root).map((path) => ({
  path,
  name: relative(root, path),
  text: readFileSync(path, "utf8"),
}));

/** Without code, in which brackets are no links. */
const prose = (text: string): string => text.replace(/^```[\s\S]*?^```/gm, "").replace(/`[^`\n]*`/g, "");

/** As GitHub makes it of a heading. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");

test("relative links lead somewhere", () => {
  const broken: string[] = [];
  for (const { path, name, text } of pages) {
    for (const [, target = ""] of prose(text).matchAll(/\]\(([^()\s]+)\)/g)) {
      if (/^[a-z][a-z+.-]*:/.test(target)) continue;
      const [file = "", anchor] = target.split("#");
      const to = file === "" ? path : resolve(dirname(path), file);
      if (!existsSync(to)) broken.push(`${name}: ${target}`);
      else if (anchor !== undefined && statSync(to).isFile()) {
        const headings = [...readFileSync(to, "utf8").matchAll(/^#+ (.+)$/gm)].map(([, title = ""]) => anchorOf(title));
        if (!headings.includes(anchor)) broken.push(`${name}: ${target} (no such heading)`);
      }
    }
  }
  assert.deepEqual(broken, []);
  assert.ok(pages.length > 40, `${pages.length} pages`);
});

test("docs/README.md leads to every page, and docs/troubleshooting.md to every reason and code, with its summary", () => {
  const textOf = (name: string): string => readFileSync(join(root, "docs", name), "utf8");
  const [index, words] = [textOf("README.md"), textOf("troubleshooting.md")];
  const missing = ["", "reference"].flatMap((folder) =>
    readdirSync(join(root, "docs", folder))
      .filter((file) => file.endsWith(".md") && file !== "README.md")
      .map((file) => join(folder, file))
      .filter((file) => !index.includes(`](${file})`)),
  );
  assert.deepEqual(missing, []);
  const rows = ["reasons", "codes"].flatMap((folder) =>
    readdirSync(join(root, "docs", folder)).map(
      (file) => `| [${file.slice(0, -3)}](${folder}/${file}) | ${summaryOf(textOf(join(folder, file)))} |`,
    ),
  );
  assert.deepEqual(
    rows.filter((row) => !words.split("\n").includes(row)),
    [],
    "write these rows into docs/troubleshooting.md",
  );
});

test("what docs/plain-machine.md says that `orlop explain` prints of a file is what it prints", async () => {
  const steps = [...sectionsOf(readFileSync(join(root, "docs/plain-machine.md"), "utf8")).values()].flat();
  const asked = steps.filter(({ command }) => /^orlop explain .* -f /.test(command));
  assert.ok(asked.length >= 2);
  const folder = process.cwd();
  process.chdir(root);
  try {
    for (const step of asked) {
      const printed: string[] = [];
      const print = (text: string): void => void printed.push(text);
      const env = { stdout: print, stderr: print, isTTY: false, vars: {}, now: Date.now };
      await runCli(step.command.split(" ").slice(1), env);
      const said = printed.join("");
      assert.ok(
        isExpected(said, step),
        `line ${step.line}: ${step.command} prints
${said}`,
      );
    }
  } finally {
    process.chdir(folder);
  }
});

test("files of the tree that pages name in code exist", () => {
  const broken: string[] = [];
  for (const { name, text } of pages) {
    if (!/^(docs\/[^/]+|[^/]+)\.md$/.test(name)) continue;
    for (const [, path = ""] of text.matchAll(/`((?:agent|bpf|daemonset|docs|native|test|bench)\/[\w./-]+\.\w+)`/g)) {
      if (!existsSync(join(root, path))) broken.push(`${name}: ${path}`);
    }
  }
  assert.deepEqual(broken, []);
});

/** @throws ConfigError */
function controlSpecOf(name: string, block: string): void {
  const report = new Report();
  for (const document of parseYaml(name, block)) controlConfigKind(document, "", report);
  report.throwIfAny();
}

describe("YAML of docs/", () => {
  const place = loadConfig(join(root, "docs/examples/two-nodes.yaml"), {}).agent.settings;
  for (const { name, text } of pages.filter((page) => page.name.startsWith("docs/"))) {
    const blocks = [...text.matchAll(/^```yaml\n([\s\S]*?)^```/gm)].map(([, block = ""]) => block);
    for (const [index, block] of blocks.entries()) {
      test(`${name}, block ${index + 1}`, async () => {
        if (block.includes("kind: ControlConfig")) return void controlSpecOf(name, block);
        const { findings } = await translateTexts([{ file: name, text: block }], place);
        assert.deepEqual(findings, []);
      });
    }
  }
});

test("the root that docs/upgrade.md makes is one that the agent takes", async () => {
  const page = pages.find(({ name }) => name === "docs/upgrade.md")?.text ?? "";
  const [commands = ""] = /^ {4}openssl[\s\S]*?root\.pem$/m.exec(page) ?? [];
  const folder = mkdtempSync(join(tmpdir(), "orlop-docs-"));
  try {
    execFileSync("sh", ["-ec", commands], { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
    chmodSync(join(folder, "root.pem"), 0o600);
    const authority = new EmbeddedAuthority(
      { rootFile: join(folder, "root.pem"), leafTtlSeconds: 3600, trustDomain: "cluster.local" },
      { wallMs: Date.now },
    );
    assert.equal((await authority.roots()).length, 1);
    const identity = parseSpiffeId("spiffe://cluster.local/ns/shop/sa/web");
    assert.ok(identity);
    const issued = await authority.issue(identity, new AbortController().signal);
    assert.match(issued.chainPem, /BEGIN CERTIFICATE/);
    issued.key.wipe();
  } finally {
    rmSync(folder, { recursive: true });
  }
});
