// test model · steps in which pods end and come back, and in which a pod itself tries to get past what protects it.

import { setTimeout as sleep } from "node:timers/promises";
import { halfOf, isMember, podNames, refusesPlaintext } from "./mesh.ts";
import { pick } from "./step.ts";
import { touched } from "./steps-edits.ts";
import { killBoth } from "./steps-programs.ts";
import { type NodeKind, podOf, type World } from "./world.ts";

const sound = ({ mesh }: World): boolean => podNames.every((pod) => mesh.pods[pod].mistake === "");
/** Longer than the keeper takes to notice that a pod has ended. */
const NOTICED_MS = 700;

/** Same UID, cgroup path and addresses, new network namespace. */
export const sandbox: NodeKind = {
  name: "sandbox",
  can: (world, step) => sound(world) && !world.run.hasEnded && refusesPlaintext(world.mesh, podOf(step)),
  take: async (world, step) => {
    await world.pod(podOf(step)).stop();
    await sleep(pick(step.n, 0, 0, 100, NOTICED_MS));
    await world.startSandbox(podOf(step));
    await world.protects();
  },
};

/** A pod is deleted, and its workload with it; another takes its place, with its address. */
export const replacePod: NodeKind = {
  name: "replace-pod",
  can: (world, step) => sound(world) && !world.run.hasEnded && isMember(world.mesh, podOf(step)),
  take: async (world, step) => {
    await world.pod(podOf(step)).replace();
    await world.startSandbox(podOf(step));
    world.mesh = touched(world.mesh);
    world.writer.renamed(world.documents());
    await world.protects();
  },
};

/** An application waits for the tunnel's port to become free while both programs are dead. */
export const squat: NodeKind = {
  name: "squat",
  can: (world, step) => !world.run.hasEnded && isMember(world.mesh, podOf(step)),
  take: async (world, step) => {
    const app = world.pod(podOf(step)).run([world.programs.serve, "15008"]);
    world.run.signal("run", "SIGSTOP");
    await killBoth.take(world, step);
    await world.watched(60);
    world.run.signal("run", "SIGCONT");
    app.kill("SIGKILL");
    await app.finished;
  },
};

/**
 * The machine starts again: nothing is left of programs, pins and run directories. The pods' services come after the keeper, as the
 * systemd unit orders them; the mesh file may be half by then.
 */
export const reboot: NodeKind = {
  name: "reboot",
  can: (world) => sound(world) && !world.run.hasEnded,
  take: async (world, step) => {
    await world.run.killAll();
    for (const name of podNames) await world.pod(name).stop();
    const { bpffs, runDir } = world.node;
    await world.node.run(["rm", "-rf", `${bpffs}/orlop`, runDir, `${runDir}-keeper`]);
    if (pick(step.n, true, false)) world.writer.broken(halfOf(world.documents(), step));
    world.run.start();
    await world.keeperServes();
    await Promise.all(podNames.map((name) => world.startSandbox(name)));
    await world.protects();
  },
};
