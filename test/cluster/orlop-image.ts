// test cluster · Orlop's own image without a container engine: what the last stage of daemonset/Dockerfile says, out of this checkout.
// In place of Debian's base it has the few programs and libraries of this machine that containers run.
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { tail } from "../box/process.ts";
import { builtAt, checkout, copiedPaths, imageConfig, isIgnored } from "../daemonset/dockerfile.ts";
import { imageArchive } from "./image.ts";

const root = fileURLToPath(checkout);
/** What the manifest's containers run beside Node, and an operator in `kubectl exec`. */
const PROGRAMS = ["sh", "env", "install", "chmod", "chown", "cat", "ls", "rm", "sleep"];
/** containerd gives a name without a registry this one (distribution/reference:normalize.go). */
const REGISTRY = "docker.io/library/";

type Lock = { readonly packages: Readonly<Record<string, { readonly dev?: boolean }>> };

/**
 * Writes the archive that `ctr images import` reads, under the name that daemonset/manifest.yaml gives the image.
 * @param folder is made; it holds the image's files meanwhile, about 200 MB
 * @throws Error when the checkout is not built
 */
export function orlopArchive(folder: string): string {
  const { version } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8")) as { readonly version: string };
  const tree = path.join(folder, "tree");
  const home = path.join(tree, imageConfig.WorkingDir);
  mkdirSync(home, { recursive: true });
  for (const copied of copiedPaths) {
    const from = path.join(root, builtAt(copied));
    if (!existsSync(from)) throw new Error(`${from} is not there: make`);
    if (copied === "node_modules") copyPackages(home);
    else {
      // The build stage makes these itself; of the checkout it gets what is not ignored.
      const isBuilt = /^(native\/)?build\//.test(builtAt(copied));
      const isKept = (file: string): boolean => isBuilt || !isIgnored(path.relative(root, file));
      cpSync(from, path.join(home, copied), { recursive: true, filter: isKept });
    }
  }
  copyMachine(tree, [
    ...PROGRAMS.map(programPath),
    process.execPath,
    ...["keeper", "engine"].map((name) => path.join(root, `native/build/Release/${name}.node`)),
  ]);
  const tar = ["tar", "--create", "--owner=0", "--group=0", "--numeric-owner", `--directory=${tree}`, "."];
  const archive = path.join(folder, "orlop.tar");
  writeFileSync(archive, imageArchive(`${REGISTRY}orlop:${version}`, run(tar), imageConfig));
  rmSync(tree, { recursive: true });
  return archive;
}

/** What `npm prune --omit=dev` leaves. Optional packages of other machines are not installed. */
function copyPackages(home: string): void {
  const { packages } = JSON.parse(readFileSync(path.join(root, "package-lock.json"), "utf8")) as Lock;
  const kept = Object.keys(packages).filter((name) => name !== "" && packages[name]?.dev !== true);
  for (const name of kept) {
    const from = path.join(root, name);
    // Node's headers and its npm are a third of the image, and nothing that runs there needs them.
    const isKept = (file: string): boolean => !/node-linux-[^/]+\/(include|lib|share)$/.test(file);
    // A package inside another one comes with it.
    if (existsSync(from) && !existsSync(path.join(home, name)))
      cpSync(from, path.join(home, name), { recursive: true, verbatimSymlinks: true, filter: isKept });
  }
  const bin = path.join(home, "node_modules/.bin");
  mkdirSync(bin, { recursive: true });
  symlinkSync(path.relative(path.join(root, "node_modules/.bin"), process.execPath), path.join(bin, "node"));
  symlinkSync("../../agent/main.js", path.join(bin, "orlop"));
}

/** Programs go to /usr/bin, and the libraries that they load to where the loader looks for them. */
function copyMachine(tree: string, programs: readonly string[]): void {
  const place = (from: string, at: string): void => {
    const to = path.join(tree, at);
    if (existsSync(to)) return;
    mkdirSync(path.dirname(to), { recursive: true });
    copyFileSync(from, to);
    chmodSync(to, 0o755);
  };
  for (const program of programs) {
    if (program.startsWith("/usr/bin/")) place(program, program);
    for (const [, library = ""] of run(["ldd", program])
      .toString()
      .matchAll(/(\/\S+) \(0x/g))
      place(library, library);
  }
  symlinkSync("usr/bin", path.join(tree, "bin"));
  // Mounts of a container, and what a Node program may want to write.
  for (const name of ["dev", "etc", "proc", "run", "sys", "tmp", "var"])
    mkdirSync(path.join(tree, name), { recursive: true, mode: name === "tmp" ? 0o1777 : 0o755 });
}

function programPath(name: string): string {
  const found = ["/usr/bin", "/bin"].map((folder) => path.join(folder, name)).find((file) => existsSync(file));
  if (found === undefined) throw new Error(`${name} is not on this machine`);
  return found;
}

function run(argv: readonly string[]): Buffer {
  const [program = "", ...words] = argv;
  const done = spawnSync(program, words, { maxBuffer: 1 << 30 });
  if (done.status === 0) return done.stdout;
  throw new Error(`${argv.slice(0, 3).join(" ")}: ${done.error?.message ?? tail(done.stderr.toString())}`);
}
