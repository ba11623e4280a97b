// test model · steps in which the machine runs out of something.
import path from "node:path";
import { pick } from "./step.ts";
import { account, tighten, touched, write } from "./steps-edits.ts";
import { killAgent, killKeeper } from "./steps-programs.ts";
import type { NodeKind, World } from "./world.ts";

/** Tables that a pod or a busy node could fill, and those that the mesh fills. */
const tables = ["dst_of_flow", "agent_flow", "joined_flow", "pair_verdict", "vip_backends", "traffic", "out_by_dst"];

/** Of whatever layout is in force. */
function pins(world: World, names: readonly string[]): string {
  return names.map((name) => path.join(world.node.bpffs, "orlop", world.node.name, "v*", name)).join(" ");
}

/** Tables are full while something changes. */
export const fullTables: NodeKind = {
  name: "full-tables",
  can: (world) => !world.run.hasEnded,
  take: async (world, step) => {
    const some = pins(world, pick(step.n, tables, tables.slice(0, 3), tables.slice(3)));
    await world.node.run(["sh", "-c", `${world.programs.fill} full ${some}`]);
    try {
      await pick(step.n, tighten, account, killAgent, killKeeper).take(world, step);
      await world.watched(60);
    } finally {
      await world.node.run(["sh", "-c", `${world.programs.fill} free ${some}`]);
    }
  },
};

/** No room for the copies of what is in force; then the agent is replaced. */
export const fullDisk: NodeKind = {
  name: "full-disk",
  can: (world) => !world.run.hasEnded,
  take: async (world, step) => {
    const fillers = world.stateFolders.map((folder) => `${folder}/filler`);
    await world.node.run(["sh", "-c", fillers.map((file) => `head -c 256k /dev/zero > ${file}`).join("; ")]);
    write(world, step, touched(world.mesh));
    await world.watched(40);
    if (pick(step.n, true, false)) await killAgent.take(world, step);
    await world.node.run(["rm", "-f", ...fillers]);
  },
};
