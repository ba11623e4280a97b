// test model · all kinds of steps of the model of the node.

import * as edits from "./steps-edits.ts";
import * as files from "./steps-files.ts";
import * as machine from "./steps-machine.ts";
import * as pods from "./steps-pods.ts";
import * as programs from "./steps-programs.ts";
import type { NodeKind } from "./world.ts";

const settle: NodeKind = {
  name: "settle",
  can: (world) => !world.run.hasEnded,
  take: async (world) => {
    world.writer.renamed(world.documents());
    await world.served();
  },
};

export const kinds: readonly NodeKind[] = [
  edits.touch,
  edits.rename,
  edits.addresses,
  edits.secondAddress,
  edits.account,
  edits.label,
  edits.tighten,
  edits.loosen,
  edits.wrongAddress,
  edits.wrongUid,
  edits.wrongNode,
  edits.correct,
  ...edits.membership,
  files.half,
  files.away,
  files.empty,
  files.bad,
  files.paused,
  files.clock,
  programs.killAgent,
  programs.killKeeper,
  programs.killBoth,
  programs.endAgent,
  programs.hangAgent,
  programs.killUnit,
  programs.otherLayout,
  programs.brokenConfig,
  programs.brokenStart,
  programs.oneBehind,
  programs.operatorStop,
  pods.sandbox,
  pods.replacePod,
  pods.squat,
  pods.reboot,
  machine.fullTables,
  machine.fullDisk,
  settle,
];
