// test peers · servers that Debian carries: installed where they are missing, with their services left off.
import { spawnSync } from "node:child_process";
import { Unavailable } from "./projects.ts";
import { unreachable } from "./unreachable.ts";

const installed = (name: string): boolean =>
  /^Status: .* installed$/m.test(spawnSync("dpkg-query", ["-s", name], { encoding: "utf8" }).stdout ?? "");

/** Throws Unavailable on a system without apt or without its registry, and Error when a package cannot be installed. */
export function installDebian(packages: readonly string[]): void {
  const missing = packages.filter((name) => !installed(name));
  if (missing.length === 0) return;
  const line = `apt-get install ${missing.join(" ")}`;
  // RUNLEVEL=1: the packages' own services are not wanted on this machine.
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1" };
  for (const words of [
    ["update", "-qq"],
    ["install", "-y", "-qq", "--no-install-recommends", ...missing],
  ]) {
    const done = spawnSync("apt-get", words, { encoding: "utf8", maxBuffer: 64 << 20, env });
    if (done.status === 0) continue;
    const said = `${done.stdout ?? ""}\n${done.stderr ?? ""}`.trim();
    if (done.error !== undefined || unreachable(said)) throw new Unavailable(`${missing.join(", ")} missing: ${line}`);
    throw new Error(`${line} ended with ${done.status}\n${said.slice(-2_000)}`);
  }
}
