// daemonset/Dockerfile without a container engine: what it copies is enough to start from, and the Debian packages of its last
// stage hold every library that the programs load.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { memoryEnvironment } from "../../agent/process/memory-environment.ts";
import { buildStage, builtAt, checkout, copiedPaths, imageConfig, isIgnored, lastStage } from "./dockerfile.ts";

const root = fileURLToPath(checkout);

test("everything it copies exists after make", () => {
  assert.ok(copiedPaths.length > 5, copiedPaths.join(" "));
  for (const path of copiedPaths) assert.ok(existsSync(join(root, builtAt(path))), path);
  const before = [...buildStage.matchAll(/^COPY ([^-].*) \S+$/gm)].flatMap(([, paths = ""]) => paths.split(" "));
  for (const path of before) assert.ok(existsSync(join(root, path)), path);
});

test("it says of memory what orlop run says", () => {
  const said = Object.fromEntries(imageConfig.Env.map((one) => one.split("=")));
  assert.equal(said.MALLOC_ARENA_MAX, memoryEnvironment.MALLOC_ARENA_MAX);
});

test("the copied tree alone is a program, without tests and fakes, and without test, demo and bench", () => {
  const image = mkdtempSync(join(tmpdir(), "orlop-image-"));
  try {
    for (const path of copiedPaths) {
      if (path === "node_modules") symlinkSync(join(root, path), join(image, path));
      // The build stage makes these itself; of the checkout it gets what is not ignored.
      else if (/^(native\/)?build\//.test(builtAt(path)))
        cpSync(join(root, builtAt(path)), join(image, path), { recursive: true });
      else {
        const filter = (from: string): boolean => !isIgnored(relative(root, from));
        cpSync(join(root, path), join(image, path), { recursive: true, filter });
      }
    }
    const folders = readdirSync(image);
    assert.deepEqual(
      ["test", "demo", "bench"].filter((name) => folders.includes(name)),
      [],
    );
    const files = readdirSync(join(image, "agent"), { recursive: true, encoding: "utf8" });
    assert.ok(files.includes("main.js"));
    assert.deepEqual(
      files.filter((file) => /\.(test|fake)\.|\.ts$/.test(file)),
      [],
      "tests, fakes, and what Node would have to strip",
    );
    const orlop = (...args: readonly string[]): string =>
      execFileSync(process.execPath, [join(image, "agent/main.js"), ...args], {
        encoding: "utf8",
        cwd: dirname(image),
      });
    assert.match(orlop("version"), /\d+\.\d+\.\d+/);
    assert.match(orlop("explain-code", "ORL1001"), /ORL1001/);
    for (const addon of ["keeper", "engine"]) {
      const file = join(image, `native/build/Release/${addon}.node`);
      execFileSync(process.execPath, ["-e", `process.dlopen({ exports: {} }, ${JSON.stringify(file)})`]);
    }
  } finally {
    rmSync(image, { recursive: true });
  }
});

test("whatever its JavaScript imports, or starts a thread from, is there as JavaScript", () => {
  const program = join(root, builtAt("agent"));
  const files = readdirSync(program, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".js"));
  assert.ok(files.length > 400, `${files.length} files`);
  const named = /(?:from |import |import\(|new URL\()"(\.{1,2}\/[^"]+\.[jt]s)"/g;
  const imports = files.flatMap((file) => {
    const text = readFileSync(join(program, file), "utf8");
    return [...text.matchAll(named)].map(([, to = ""]) => ({ file, to, at: join(program, dirname(file), to) }));
  });
  assert.ok(imports.some(({ to }) => to === "./data-thread.js"));
  assert.deepEqual(
    imports.filter(({ at }) => at.endsWith(".ts") || !existsSync(at)).map(({ file, to }) => `${file}: ${to}`),
    [],
  );
});

test("its Debian packages hold every library that Node and the addons load", () => {
  const installed = lastStage.replaceAll("\\\n", " ").split("--no-install-recommends ")[1]?.split("&&")[0] ?? "";
  const named = installed.split(/\s+/).filter(Boolean);
  // Of libbpf1 (zlib1g) and in every Debian (libc6, libgcc-s1).
  const present = new Set([...named, "libc6", "libgcc-s1", "zlib1g"]);
  const below = (folder: string): string[] =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".node") && !path.includes("obj.target"))
      .map((path) => join(root, folder, path));
  const programs = [
    realpathSync(process.execPath),
    join(root, "native/build/Release/keeper.node"),
    join(root, "native/build/Release/engine.node"),
    ...below("node_modules/ffi-napi/build/Release"),
    ...below("node_modules/ref-napi/build/Release"),
  ];
  for (const program of programs) {
    const text = execFileSync("ldd", [program], { encoding: "utf8" });
    assert.doesNotMatch(text, /not found/, program);
    for (const [, library = ""] of text.matchAll(/=> (\/\S+)/g)) {
      const owner = execFileSync("dpkg", ["-S", `*/${library.split("/").at(-1)}`], { encoding: "utf8" });
      const packages = owner.split("\n").map((line) => line.split(":")[0] ?? "");
      assert.ok(
        packages.some((name) => present.has(name)),
        `${library} of ${program} is in ${packages.join(" ")}`,
      );
    }
  }
});
