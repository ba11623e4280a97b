// test cluster · a process that takes a cluster away when its owner is gone, however the owner ended: a failure, a signal, kill -9.
import { spawn } from "node:child_process";
import path from "node:path";
import type { ClusterPlan } from "./plan.ts";

const main = path.join(import.meta.dirname, "main.ts");

/**
 * The janitor holds a pipe of this process, which the kernel closes when this process ends. It is in its own session, so that Ctrl-C
 * in the terminal does not take it along. `stop` ends it once the cluster is gone.
 */
export function startJanitor(plan: ClusterPlan): { stop(): void } {
  const script = 'cat > /dev/null; exec "$@"';
  const words = [process.execPath, main, "down", "--name", plan.name];
  const janitor = spawn("sh", ["-c", script, "janitor", ...words], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
    cwd: "/",
  });
  janitor.unref();
  // Its end may come before ours, and is no news.
  janitor.stdin.on("error", () => {});
  janitor.on("error", () => {});
  (janitor.stdin as unknown as { unref(): void }).unref();
  return { stop: () => void janitor.kill("SIGKILL") };
}

const LOOK_MS = 500;

/** Ends this process soon after the process that has started it: a test whose runner was ended would go on without a reader. */
export function endWithParent(): void {
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid !== parent) process.exit(1);
  }, LOOK_MS);
  timer.unref();
}
