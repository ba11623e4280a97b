// CLI · orlop version: this client, the agent when it can be reached, and whether they fit together.
import { readFileSync } from "node:fs";
import type { VersionView } from "../admin/api.ts";
import type { Context } from "./options.ts";
import { CliFailure, type Exit, exits, json, printable, yaml } from "./output.ts";

/** From package.json, so that there is one place. */
export function clientVersion(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  const value: unknown = JSON.parse(text);
  const version: unknown = typeof value === "object" && value !== null ? Reflect.get(value, "version") : undefined;
  return typeof version === "string" ? version : "unknown";
}

export async function version(context: Context): Promise<Exit> {
  const client = clientVersion();
  const agent = await agentVersion(context);
  const skew = agent === null ? "unknown" : agent.version === client ? "ok" : "differs";
  const value = { client, nodejs: process.versions.node, agents: agent ? [{ ...agent, skew }] : [] };
  const { output } = context.options;
  if (output === "json") context.print(json(value));
  else if (output === "yaml") context.print(yaml(value));
  else {
    context.print(`client  ${client}  node ${process.versions.node}\n`);
    if (agent)
      context.print(
        `agent   ${printable(agent.version)}  node ${printable(agent.nodejs)}  kernel layout v${agent.abi}  on ${printable(agent.node)}\n`,
      );
    else context.print("agent   not reachable\n");
  }
  return skew === "differs" ? exits.findings : exits.ok;
}

async function agentVersion(context: Context): Promise<VersionView | null> {
  try {
    return await context.client().view("version");
  } catch (error) {
    if (error instanceof CliFailure && (error.exit === exits.unreachable || error.exit === exits.notPermitted))
      return null;
    throw error;
  }
}
