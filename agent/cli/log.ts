// CLI · orlop log get, orlop log set NAME=LEVEL --for 10m: levels of the agent's own log; a set level reverts by itself.
import type { Context } from "./options.ts";
import { CliFailure, type Exit, exits, json, printable, table, yaml } from "./output.ts";

export async function logGet(context: Context): Promise<Exit> {
  show(context, await context.client().view("log"));
  return exits.ok;
}

export async function logSet(
  context: Context,
  settings: readonly string[],
  forText: string | undefined,
): Promise<Exit> {
  const forSeconds = forText === undefined ? null : parseSeconds(forText);
  const changes = settings.map((setting) => {
    const [, room = "", level = ""] = /^([a-z]+)=([a-z]+)$/.exec(setting) ?? [];
    if (room === "")
      throw usage(`cannot read ${setting}`, "it is not NAME=LEVEL", "orlop log set policy=debug --for 10m");
    return { room, level, forSeconds };
  });
  const client = context.client();
  for (const change of changes) {
    const levels = await client.setLog(change);
    const until = levels.items.find(({ room }) => room === change.room)?.until ?? "";
    context.print(`${change.room} ${change.level}${until === "" ? "" : ` until ${printable(until)}`}\n`);
  }
  return exits.ok;
}

function show(
  context: Context,
  levels: { readonly items: readonly { room: string; level: string; until: string }[] },
): void {
  const { output, headers } = context.options;
  if (output === "json") context.print(json(levels));
  else if (output === "yaml") context.print(yaml(levels));
  else if (output === "name") context.print(levels.items.map(({ room }) => `log/${printable(room)}\n`).join(""));
  else {
    const columns = [
      { header: "ROOM", value: (row: { room: string }) => row.room },
      { header: "LEVEL", value: (row: { level: string }) => row.level },
      { header: "UNTIL", value: (row: { until: string }) => row.until },
    ];
    context.print(table(columns, levels.items, { wide: false, headers, namespaces: false, paint: context.paint }));
  }
}

const unitSeconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** `90s`, `10m`, `1h30m`; between a second and a day. */
export function parseSeconds(text: string): number {
  const parts = [...text.matchAll(/(\d{1,6})([smhd])/g)];
  const seconds = parts.reduce((sum, [, count = "0", unit = ""]) => sum + Number(count) * (unitSeconds[unit] ?? 0), 0);
  const whole = parts.map(([part]) => part).join("") === text;
  if (!whole || seconds < 1 || seconds > 86_400) {
    throw usage(
      `cannot use the time ${text}`,
      "it must be between 1s and 1d, like 90s, 10m or 1h30m",
      "orlop log set policy=debug --for 10m",
    );
  }
  return seconds;
}

function usage(what: string, why: string, fix: string): CliFailure {
  return new CliFailure(exits.usage, { code: "ORL6004", what, why, fix });
}
