// CLI · orlop status: the node on one screen, and whatever is wrong with it below.
import type { StatusView } from "../admin/api.ts";
import { kindColumns, statusColumns } from "./columns.ts";
import type { Context } from "./options.ts";
import { type Exit, exits, json, printable, table, yaml } from "./output.ts";

export async function status(context: Context): Promise<Exit> {
  const view = await context.client().view("status");
  const { output, headers } = context.options;
  if (output === "json") context.print(json(view));
  else if (output === "yaml") context.print(yaml(view));
  else if (output === "name") context.print(`node/${printable(view.node)}\n`);
  else {
    context.print(
      table(statusColumns, [view], { wide: output === "wide", headers, namespaces: false, paint: context.paint }),
    );
    const { kinds } = view.source;
    if (kinds.length > 0) {
      const shown = { wide: output === "wide", headers, namespaces: false, paint: context.paint };
      context.print(`\n${table(kindColumns(context.env.now()), kinds, shown)}`);
    }
    for (const { at, what, why, fix, code } of view.source.errors) {
      context.print(
        `\n${printable(at)}: ${printable(what)}  ${code}\n  why: ${printable(why)}\n  do:  ${printable(fix)}\n`,
      );
    }
    if (view.source.state === "rejected") context.print("\nwhat was accepted before runs on\n");
    if (view.source.state === "held") context.print("\nwhat was accepted before runs until then\n");
    if (view.source.state === "stale") context.print("\nwhat was read before runs on\n");
    const { notHonoured, fromLastGood } = view.source;
    if (fromLastGood) context.print("note: the configuration that runs was read from the last good copy on disk\n");
    if (notHonoured.length > 0)
      context.print(`note: ${notHonoured.length} fields or objects have no effect here: orlop check\n`);
    context.print(readText(view.requestsRead ?? []));
    if (view.pending.length > 0) context.print(`\nnot ready, pending: ${printable(view.pending.join(", "))}\n`);
    if (!view.keeper.connected) context.print(`\nkeeper: ${printable(view.keeper.message || "not connected")}\n`);
    const { mode, problem } = view.nodeAccess;
    if (problem !== "") context.print(`\nnode access ${printable(mode)}: ${printable(problem)}\n`);
    for (const note of view.notes) context.print(`note: ${printable(note)}\n`);
  }
  const inForce = view.source.state === "synced" || view.source.state === "waiting";
  return inForce && view.keeper.connected ? exits.ok : exits.findings;
}

/** So many pods are named. */
const NAMED = 5;

/** Older agents say nothing of it. */
function readText(read: StatusView["requestsRead"]): string {
  if (read.length === 0) return "";
  const named = read.slice(0, NAMED).map(({ pod, ports }) => {
    return `${printable(pod)} (${ports.map((port) => port ?? "other ports").join(", ")})`;
  });
  const more = read.length > NAMED ? `, and ${read.length - NAMED} more pods` : "";
  return `note: requests are read of ${named.join(", ")}${more}: orlop describe pod/NAME\n`;
}
