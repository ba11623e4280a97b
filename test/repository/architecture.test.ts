// The rooms of ARCHITECTURE.md as a table: walks every import and fails with file:line.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { holdToAllowance } from "./allowances.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

type Import = { readonly from: string; readonly line: number; readonly target: string; readonly typeOnly: boolean };

/** What a room may import at run time, and what besides as types only. Prefixes of paths below agent/. */
const rooms: Record<string, { readonly run: readonly string[]; readonly types?: readonly string[] }> = {
  mesh: { run: [] },
  attempts: { run: [] },
  l7: { run: ["mesh/"] },
  policy: { run: ["mesh/", "l7/"] },
  identity: { run: ["mesh/", "attempts/"], types: ["observe/metric.ts"] },
  control: { run: ["mesh/", "l7/", "attempts/"], types: ["observe/metric.ts"] },
  observe: { run: ["mesh/", "l7/grpc-status.ts"], types: ["policy/"] },
  engine: { run: ["mesh/", "keeper/protocol.ts", "abi.ts", "attempts/backoff.ts"] },
  plan: { run: ["mesh/", "policy/", "l7/"], types: ["engine/", "observe/"] },
  traffic: {
    run: ["mesh/", "policy/", "l7/", "plan/", "observe/", "identity/peer-certificate.ts", "identity/request-token.ts"],
    types: ["engine/"],
  },
  kernel: {
    run: ["mesh/", "policy/", "plan/", "observe/", "abi.ts"],
    types: ["engine/"],
  },
  keeper: {
    run: [
      "mesh/ip.ts",
      "mesh/terminal-text.ts",
      "process/mounts.ts",
      "process/cgroup-files.ts",
      "process/cgroup-tree.ts",
      "abi.ts",
    ],
  },
  config: { run: ["control/kinds/", "control/static-file/parse.ts"], types: ["keeper/settings.ts"] },
  process: { run: ["attempts/backoff.ts"] },
  authority: {
    run: [
      "mesh/",
      "identity/",
      "control/kinds/",
      "control/kubernetes/",
      "control/static-file/parse.ts",
      "observe/",
      "admin/health.ts",
      "process/version.ts",
    ],
  },
  cni: {
    run: ["mesh/names.ts", "control/kubernetes/", "observe/", "admin/health.ts"],
    types: ["config/config.ts"],
  },
  threads: {
    run: [
      "mesh/",
      "policy/",
      "observe/",
      "engine/",
      "traffic/",
      "identity/peer-certificate.ts",
      "process/collect-garbage.ts",
    ],
    types: ["keeper/protocol.ts"],
  },
  admin: { run: ["mesh/", "control/left-out.ts"], types: [""] },
  node: {
    run: [
      "mesh/",
      "policy/",
      "plan/",
      "observe/",
      "kernel/",
      "threads/",
      "admin/",
      "abi.ts",
      "process/version.ts",
      "control/left-out.ts",
      "control/source-metrics.ts",
      "control/kubernetes/",
      "control/static-file/source.ts",
      "identity/",
      "process/collect-garbage.ts",
    ],
    types: [""],
  },
  cli: {
    run: [
      "admin/api.ts",
      "mesh/",
      "l7/",
      "policy/",
      "plan/",
      "control/kinds/",
      "control/static-file/",
      "process/command-line.ts",
      "process/preflight.ts",
      "process/mounts.ts",
    ],
    types: [""],
  },
};
/** Programs and harnesses of the checkout: what each folder may import besides itself. Tests may import all of them. */
const outside: Record<string, readonly string[]> = {
  "test/box": ["agent/process/mounts.ts"],
  demo: ["test/box/", "agent/admin/api.ts"],
  bench: ["test/box/", "test/peers/", "demo/", "agent/"],
};
/** The only files that lie beside the rooms, with what each may import. main.ts starts programs and may import any root. */
const loose: Record<string, readonly string[]> = {
  "abi.ts": [],
  "main.ts": [""],
};
/** Composition roots import every room; no room imports them. */
const roots = ["main.ts", "node/agent.ts"];

/** Each package may be imported by one file or one folder, so that it can be replaced in an hour. */
const packages: Record<string, string> = {
  "@peculiar/x509": "agent/identity/csr.ts",
  "reflect-metadata": "agent/identity/csr.ts",
  "ffi-napi": "agent/process/libc.ts",
  "ref-napi": "agent/process/libc.ts",
  "prom-client": "agent/observe/metrics.ts",
  pino: "agent/observe/log.ts",
  yaml: "agent/control/static-file/parse.ts",
  commander: "agent/cli/commands.ts",
};

function filesBelow(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .map((path) => join(folder, path))
    .filter((path) => path.endsWith(".ts") && !path.includes("node_modules"));
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), "utf8");
  const pattern = /^(?:import|export)\s+(type\s+)?(?:[^"';]*?\sfrom\s+)?"([^"]+)"|\bimport\(\s*"([^"]+)"\s*\)/gm;
  return [...text.matchAll(pattern)].map((match) => {
    const specifier = match[2] ?? match[3] ?? "";
    const inType = match[3] !== undefined && /[:<|]\s*$/.test(text.slice(Math.max(0, match.index - 3), match.index));
    return {
      from: file,
      line: text.slice(0, match.index).split("\n").length,
      target: specifier.startsWith(".") ? normalize(join(dirname(file), specifier)) : specifier,
      typeOnly: match[1] !== undefined || inType,
    };
  });
}

const production = filesBelow("agent").filter((file) => !file.endsWith(".test.ts") && !file.endsWith(".fake.ts"));
const imports = production.flatMap(importsOf);
/** The rooms of agent/ that exist. */
const folders = production.flatMap((file) => (file.split("/").length > 2 ? [file.split("/")[1] ?? ""] : []));
const outsideImports = Object.keys(outside)
  .flatMap(filesBelow)
  .filter((file) => !file.endsWith(".test.ts"))
  .flatMap(importsOf);
const place = (edge: Import): string => `${edge.from}:${edge.line} imports ${edge.target}`;

test("every import stays inside what its room may know", () => {
  const broken: string[] = [];
  for (const edge of imports) {
    if (!edge.target.startsWith("agent/")) {
      if (edge.target.includes("/") && /^(test|demo|bench|native)\//.test(edge.target)) broken.push(place(edge));
      continue;
    }
    const from = relative("agent", edge.from);
    const to = relative("agent", edge.target);
    if (roots.includes(from)) continue;
    if (roots.includes(to)) {
      broken.push(`${place(edge)}: a composition root`);
      continue;
    }
    const room = from.split("/")[0] ?? "";
    const rule = rooms[room];
    const allowed = from.includes("/")
      ? [`${room}/`, ...(rule?.run ?? []), ...(edge.typeOnly ? (rule?.types ?? []) : [])]
      : (loose[from] ?? []);
    if (!allowed.some((prefix) => to.startsWith(prefix))) broken.push(place(edge));
  }
  assert.deepEqual(broken, []);
});

test("every file lies in a room that has a rule; two files lie beside the rooms", () => {
  const beside = production.map((file) => relative("agent", file)).filter((file) => !file.includes("/"));
  assert.deepEqual(beside.toSorted(), Object.keys(loose).toSorted());
  const homeless = production
    .map((file) => relative("agent", file))
    .filter((file) => {
      const [room = ""] = file.split("/");
      return file.includes("/") && rooms[room] === undefined;
    });
  assert.deepEqual(homeless, []);
});

test("each npm package has one importer", () => {
  const broken: string[] = [];
  for (const edge of imports) {
    if (edge.target.startsWith("agent/") || edge.target.startsWith("node:")) continue;
    const name = edge.target
      .split("/")
      .slice(0, edge.target.startsWith("@") ? 2 : 1)
      .join("/");
    const owner = packages[name];
    if (!owner || !edge.from.startsWith(owner)) broken.push(place(edge));
  }
  assert.deepEqual(broken, []);
});

/** Every way back to where it began, as text; each way that leads into a known one is followed once. */
function cyclesOf(edges: ReadonlyMap<string, ReadonlySet<string>>): string[] {
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (from: string, trail: readonly string[]): void => {
    if (trail.includes(from)) cycles.push([...trail.slice(trail.indexOf(from)), from].join(" → "));
    if (done.has(from) || trail.includes(from)) return;
    for (const next of edges.get(from) ?? []) visit(next, [...trail, from]);
    done.add(from);
  };
  for (const from of edges.keys()) visit(from, []);
  return cycles;
}

function graphOf(edges: readonly Import[], node: (file: string) => string): Map<string, Set<string>> {
  const graph = new Map<string, Set<string>>();
  for (const { from, target } of edges) {
    // An edge inside a node counts only when a file imports itself.
    const [start, end] = [node(from), node(target)];
    const ends = graph.get(start) ?? new Set();
    graph.set(start, start === end && from !== target ? ends : ends.add(end));
  }
  return graph;
}

test("no file imports back to itself, in agent, demo, bench or test/box, and types count", () => {
  const local = [...imports, ...outsideImports].filter(({ target }) => !target.startsWith("node:"));
  assert.deepEqual(cyclesOf(graphOf(local, (file) => file)), []);
});

test("rooms lie in storeys: none imports back up, and types count", () => {
  const inside = imports.filter(
    ({ from, target }) => target.startsWith("agent/") && !roots.includes(relative("agent", from)),
  );
  const room = (file: string): string => relative("agent", file).split("/")[0] ?? "";
  assert.deepEqual(cyclesOf(graphOf(inside, room)), []);
  // ARCHITECTURE.md shows the storeys; what it shows must be so.
  const page = readFileSync(join(root, "ARCHITECTURE.md"), "utf8");
  const storeys = new Map<string, number>();
  for (const [, storey = "", names = ""] of page.matchAll(/^\| (\d+) \| ((?:`[a-z0-9]+`(?: · )?)+) \|/gm)) {
    for (const [, name = ""] of names.matchAll(/`([^`]+)`/g)) storeys.set(name, Number(storey));
  }
  assert.deepEqual([...storeys.keys()].toSorted(), [...new Set(folders)].toSorted());
  const upwards = inside.filter(({ from, target }) => {
    const [above, below] = [storeys.get(room(from)), storeys.get(room(target))];
    return room(from) !== room(target) && above !== undefined && below !== undefined && below >= above;
  });
  assert.deepEqual(upwards.map(place), []);
});

test("demo, bench and test/box import no more than their table says", () => {
  const broken = outsideImports.filter(({ from, target }) => {
    if (!/^(agent|demo|bench|test|native)\//.test(target)) return false;
    const [folder = "", allowed = []] = Object.entries(outside).find(([name]) => from.startsWith(`${name}/`)) ?? [];
    return ![`${folder}/`, ...allowed].some((prefix) => target.startsWith(prefix));
  });
  assert.deepEqual(broken.map(place), []);
});

test("a name of a type means one thing in all of agent/", () => {
  const owners = new Map<string, string[]>();
  for (const file of production) {
    const text = readFileSync(join(root, file), "utf8");
    for (const [, name = ""] of text.matchAll(/^(?:export )?(?:abstract )?(?:type|interface|class) (\w+)/gm)) {
      owners.set(name, [...(owners.get(name) ?? []), file]);
    }
  }
  const twice = [...owners].filter(([, files]) => files.length > 1);
  holdToAllowance(
    "type names that exist twice",
    twice.flatMap(([name, files]) => files.map((key) => ({ key, what: `${name}, in ${files.join(" and ")}` }))),
  );
});

/** Everything a program loads, followed through its imports; dynamic imports count. */
function closure(start: string): string[] {
  const seen = new Set<string>();
  const queue = [start];
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (seen.has(file)) continue;
    seen.add(file);
    for (const edge of imports) if (edge.from === file && !edge.typeOnly) queue.push(edge.target);
  }
  return [...seen].filter((file) => file.startsWith("agent/"));
}

test("no program contains what its privilege forbids", () => {
  const forbidden = (start: string, patterns: readonly RegExp[]): string[] =>
    closure(start).filter((file) => patterns.some((pattern) => pattern.test(file)));
  assert.deepEqual(forbidden("agent/keeper/keeper.ts", [/^agent\/(engine|policy|l7|identity|control|admin)\//]), []);
  for (const start of ["agent/node/agent.ts", "agent/threads/data-thread.ts"]) {
    assert.deepEqual(forbidden(start, [/^agent\/keeper\/(?!protocol\.ts)/]), []);
  }
  assert.deepEqual(forbidden("agent/cli/commands.ts", [/\/addon\.ts$/]), []);
});

test("the first line of every file says what it promises", () => {
  const silent = production.filter((file) => {
    const [first = "", second = ""] = readFileSync(join(root, file), "utf8").split("\n");
    return !(first.startsWith("#!") ? second : first).startsWith("// ");
  });
  assert.deepEqual(silent, []);
});

test("the numbered line of ARCHITECTURE.md names files that exist and carry their number", () => {
  const text = readFileSync(join(root, "ARCHITECTURE.md"), "utf8");
  const steps = [...text.matchAll(/^\s*(\d+)\s{2,}((?:agent|bpf|native)\/\S+)\s/gm)];
  assert.ok(steps.length >= 15, "the line has fifteen steps");
  const broken = steps.filter(([, number = "", file = ""]) => {
    const first = readFileSync(join(root, file), "utf8").split("\n").slice(0, 3).join("\n");
    return !new RegExp(`(?:^|\\D)${number}(?:, \\d+)* ·`).test(first);
  });
  assert.deepEqual(
    broken.map(([, number, file]) => `${number} ${file}`),
    [],
  );
});

test("the top level has the rooms that the project has agreed on, and the files that tools look for there", () => {
  const rooms = [".ci", "agent", "bench", "bpf", "daemonset", "demo", "docs", "native", "test"];
  const made = [".git", "build", "node_modules"];
  const entries = readdirSync(root, { withFileTypes: true });
  const folders = entries.filter((entry) => entry.isDirectory() && !made.includes(entry.name));
  assert.deepEqual(folders.map(({ name }) => name).toSorted(), rooms);
  const leftByRuns = /^(?:\.git|core|.*\.log)$/;
  const files = entries.filter((entry) => entry.isFile() && !leftByRuns.test(entry.name)).map(({ name }) => name);
  assert.deepEqual(files.toSorted(), [
    ".gitignore",
    ".npmrc",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "package-lock.json",
    "package.json",
    "tsconfig.json",
  ]);
});
