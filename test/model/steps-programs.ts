// test model · steps that end, stop, starve or replace agent and keeper. None of them takes a pod out of the mesh, but the
// operator's own stop.
import { existsSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ORLOP_ABI_VERSION } from "../../agent/abi.ts";
import { orlopMain } from "../box/cluster.ts";
import { buildWithLayout } from "../support/revision.ts";
import { halfOf, podNames, withPod } from "./mesh.ts";
import { pick, type Step } from "./step.ts";
import { membership, takesEffect, touched, write } from "./steps-edits.ts";
import { type NodeKind, podOf, type World } from "./world.ts";

const kills = (name: string, take: (world: World, step: Step) => void): NodeKind => ({
  name,
  can: (world) => !world.run.hasEnded,
  take: async (world, step) => take(world, step),
});

export const killAgent = kills("kill-agent", ({ run }) => run.signal("agent", "SIGKILL"));
export const killKeeper = kills("kill-keeper", ({ run }) => run.signal("keeper", "SIGKILL"));
export const killBoth = kills("kill-both", ({ run }, step) => {
  for (const program of pick(step.n, ["agent", "keeper"] as const, ["keeper", "agent"] as const))
    run.signal(program, "SIGKILL");
});
export const endAgent = kills("end-agent", ({ run }) => run.signal("agent", "SIGTERM"));

/** It hangs while the mesh changes; shorter or longer than the limit of its heartbeat. */
export const hangAgent: NodeKind = {
  name: "hang-agent",
  can: (world) => !world.run.hasEnded,
  take: async (world, step) => {
    const pid = world.run.pid("agent");
    if (pid === undefined) return;
    process.kill(pid, "SIGSTOP");
    write(world, step, pick(step.n, touched(world.mesh), withPod(world.mesh, podOf(step), { account: step.n % 5 })));
    await sleep(pick(step.n, 100, 500, 2_600));
    try {
      process.kill(pid, "SIGCONT");
    } catch {
      // Its data threads' end of the world: nobody waits for it.
    }
  },
};

/** All programs of the unit die at once, and the unit is started again. */
export const killUnit: NodeKind = {
  name: "kill-unit",
  can: (world) => !world.run.hasEnded,
  take: async (world) => {
    await world.run.killAll();
    world.run.start();
  },
};

/** The same, and what starts has another layout of the kernel's tables. */
export const otherLayout: NodeKind = {
  name: "other-layout",
  can: (world) => !world.run.hasEnded,
  take: async (world) => {
    await world.run.killAll();
    world.run.main = world.run.main === orlopMain ? otherMain() : orlopMain;
    world.run.start();
  },
};

/** The node's own file is half or away when a program of the node is started again. */
export const brokenConfig: NodeKind = {
  name: "broken-config",
  onlyIn: { worlds: (world) => !world.oneFile, shareOfWorlds: 1 / 2 },
  can: (world) => !world.run.hasEnded && !world.oneFile,
  take: async (world, step) => {
    const half = world.nodeConfig.slice(0, world.nodeConfig.indexOf("podsCgroup") + 5);
    writeFileSync(world.node.configFile, pick(step.n, half, "", "kind: ["));
    for (const program of pick(step.n, ["agent"] as const, ["agent", "keeper"] as const, ["keeper"] as const))
      world.run.signal(program, "SIGKILL");
    await world.watched(100);
    writeFileSync(world.node.configFile, world.nodeConfig);
  },
};

/** The mesh file breaks, and then the agent is replaced: it begins with the last good mesh. */
export const brokenStart: NodeKind = {
  name: "broken-start",
  can: (world) => !world.run.hasEnded,
  take: async (world, step) => {
    world.writer.broken(halfOf(world.documents(), step));
    world.run.signal("agent", pick(step.n, "SIGKILL", "SIGTERM"));
  },
};

/**
 * The agent dies as soon as a pod that was open is strict and the copy on disk says so; the next agent has only this copy. That the
 * copy is written before the change takes effect is shown beside the code (agent/control/static-file/copy.test.ts).
 */
export const oneBehind: NodeKind = {
  name: "one-behind",
  can: (world, step) => membership.some(({ name, can }) => name === "permissive" && can(world, step)),
  take: async (world, step) => {
    await membership.find(({ name }) => name === "permissive")?.take(world, step);
    await world.kept();
    await membership.find(({ name }) => name === "strict")?.take(world, step);
    world.writer.broken(halfOf(world.documents(), step));
    world.run.signal("agent", "SIGKILL");
    await world.watched(150);
  },
};

/** The one end that takes everybody out, and a start after it. */
export const operatorStop: NodeKind = {
  name: "stop-and-start",
  // With a mistake in the file a pod that was let out would stay out.
  can: (world) => takesEffect(world) && world.writer.whole,
  take: async (world) => {
    // A keeper that is just being started does not hear of the stop, and then everything of it stays.
    await world.ready();
    for (const pod of podNames) world.allow(pod);
    await world.run.stop();
    await world.answers(podNames);
    world.run.start();
    await world.protects();
  },
};

/** The agent/main.ts of this revision with another layout, built when it is asked for first. */
export function otherMain(): string {
  const revision = buildWithLayout(ORLOP_ABI_VERSION + 1);
  const built = path.join("native", "build", "Release", "engine.node");
  const engine = path.join(revision, built);
  // The engine knows no layout but by the header that both share.
  if (!existsSync(engine)) symlinkSync(path.resolve(path.dirname(orlopMain), "..", built), engine);
  return path.join(revision, "agent", "main.ts");
}
