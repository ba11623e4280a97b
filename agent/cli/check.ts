// CLI · orlop check: the node's preflight here, and the agent's own findings when it can be reached.
import { apiVersion, type Finding } from "../admin/api.ts";
import { asSeenByAgent, lacksPrivilege } from "../process/preflight.ts";
import type { Context } from "./options.ts";
import { CliFailure, type Exit, exits, json, printable, yaml } from "./output.ts";

export type CheckOptions = {
  readonly failOn: "error" | "warning";
  readonly bpffs: string;
  readonly podsCgroup: string;
  /** Only what must hold before the agent starts. */
  readonly pre: boolean;
  /** Codes that are shown but never fail. */
  readonly skip: readonly string[];
  /** Whose container this is; auto: the agent's if an agent answers and this process has none of the keeper's privileges. */
  readonly in: "auto" | "keeper" | "agent";
};

/** The node's own checks; injected, so that tests need no node. */
export type Preflight = (options: {
  readonly bpffs: string;
  readonly podsCgroup: string;
  readonly ports: readonly number[];
}) => readonly Finding[];

const PORTS_IN_USE = "ORL1011";

const groups: Readonly<Record<string, string>> = {
  "1": "node",
  "2": "enrolment",
  "3": "network",
  "4": "configuration",
  "5": "identity",
  "6": "runtime",
};

export async function check(context: Context, options: CheckOptions, preflight: Preflight): Promise<Exit> {
  const agent = options.pre ? null : await agentFindings(context);
  const settings = { bpffs: options.bpffs, podsCgroup: options.podsCgroup, ports: [15_020, 15_021] };
  const preflighted = context.options.file === undefined ? preflight(settings) : [];
  const isAgents =
    options.in === "agent" || (options.in === "auto" && Array.isArray(agent) && lacksPrivilege(preflighted));
  const judgeable = isAgents ? asSeenByAgent(preflighted) : preflighted;
  // Its own ports are in use while the agent runs: that is as it should be.
  const here = judgeable.filter(({ code }) => !(Array.isArray(agent) && code === PORTS_IN_USE));
  const findings = [...here, ...(Array.isArray(agent) ? agent : [])].toSorted((a, b) =>
    a.code < b.code ? -1 : a.code > b.code ? 1 : 0,
  );
  const count = (status: Finding["status"]): number => findings.filter((finding) => finding.status === status).length;
  const counted = findings.filter(({ code }) => !options.skip.includes(code));
  const bad = counted.some(({ status }) => status === "fail" || (status === "warn" && options.failOn === "warning"));

  const { output } = context.options;
  if (output === "json") context.print(json({ apiVersion, kind: "FindingList", items: findings }));
  else if (output === "yaml") context.print(yaml({ apiVersion, kind: "FindingList", items: findings }));
  else if (output === "name")
    context.print(
      findings
        .filter(({ status }) => status === "warn" || status === "fail")
        .map(({ code }) => `${code}\n`)
        .join(""),
    );
  else {
    print(context, findings);
    if (typeof agent === "string")
      context.print(`agent\n  ${context.paint.word("warn")}  not asked: ${printable(agent)}\n`);
    const toKnow = count("info") === 0 ? "" : ` · ${count("info")} to know`;
    context.print(`${count("ok")} ok${toKnow} · ${count("warn")} warnings · ${count("fail")} failed\n`);
  }
  return bad ? exits.findings : exits.ok;
}

/** The agent's findings, or why it could not be asked. An agent that refuses is a failure; an absent agent is not. */
async function agentFindings(context: Context): Promise<readonly Finding[] | string> {
  try {
    return (await context.client().view("findings")).items;
  } catch (error) {
    if (error instanceof CliFailure && error.exit === exits.unreachable) return `${error.message} (${error.why})`;
    throw error;
  }
}

function print(context: Context, findings: readonly Finding[]): void {
  const width = Math.min(72, Math.max(0, ...findings.map(({ what }) => [...what].length)));
  let group = "";
  for (const { code, status, what, why, fix } of findings) {
    const next = groups[code.charAt(3)] ?? "other";
    if (next !== group) context.print(`${next}\n`);
    group = next;
    const word = status === "fail" ? "FAIL" : printable(status);
    const text = printable(what);
    const coded = status === "ok" ? text : `${text.padEnd(width)}  ${printable(code)}`;
    context.print(`  ${context.paint.word(word)}${" ".repeat(Math.max(1, 6 - word.length))}${coded}\n`);
    if (status !== "ok") context.print(`        why: ${printable(why)}\n        do:  ${printable(fix)}\n`);
  }
}
