// CLI · orlop get workloads|services|policies|routes|limits|ejected|certs|connections|bpf: filters first, then the format, so that all formats agree.
import { apiVersion } from "../admin/api.ts";
import {
  bpfColumns,
  certColumns,
  connectionColumns,
  ejectedColumns,
  limitColumns,
  policyColumns,
  routeColumns,
  serviceColumns,
  workloadColumns,
} from "./columns.ts";
import type { Context } from "./options.ts";
import { CliFailure, type Column, type Exit, exits, json, printable, table, yaml } from "./output.ts";

/** The word a user may write → the view. */
export const resources = {
  workloads: ["workloads", "workload", "wl", "pods", "pod"],
  services: ["services", "service", "svc"],
  policies: ["policies", "policy", "pol"],
  routes: [
    "routes",
    "route",
    "httproutes",
    "httproute",
    "grpcroutes",
    "grpcroute",
    "tlsroutes",
    "tlsroute",
    "tcproutes",
    "tcproute",
  ],
  limits: ["limits", "limit", "limitpolicies", "limitpolicy"],
  ejected: ["ejected", "ejection", "ejections"],
  certs: ["certs", "cert", "certificates", "certificate"],
  connections: ["connections", "connection", "conn", "conns"],
  bpf: ["bpf"],
} as const;
export type Resource = keyof typeof resources;

/** undefined: no view has this word. */
export function resourceNamed(word: string): Resource | undefined {
  for (const [name, words] of Object.entries(resources)) {
    if ((words as readonly string[]).includes(word)) return name as Resource;
  }
  return undefined;
}

function resourceOf(word: string): Resource {
  const resource = resourceNamed(word);
  if (resource !== undefined) return resource;
  throw new CliFailure(exits.usage, {
    code: "ORL6004",
    what: `there is no ${word} to get`,
    why: `it is none of ${Object.keys(resources).join(", ")}`,
    fix: "orlop get workloads",
  });
}

export async function get(context: Context, word: string, names: readonly string[]): Promise<Exit> {
  const resource = resourceOf(word);
  const client = context.client();
  const now = context.env.now();
  switch (resource) {
    case "workloads": {
      const items = (await client.view("workloads")).items.filter((workload) =>
        selects(context.options.selector, workload.labels),
      );
      return show(context, {
        kind: "WorkloadList",
        word: "workload",
        items,
        columns: workloadColumns,
        names,
        name: nameOf,
      });
    }
    case "services": {
      const { items } = await client.view("services");
      return show(context, {
        kind: "ServiceList",
        word: "service",
        items,
        columns: serviceColumns,
        names,
        name: nameOf,
      });
    }
    case "policies": {
      const { items } = await client.view("policies");
      return show(context, { kind: "PolicyList", word: "policy", items, columns: policyColumns, names, name: nameOf });
    }
    case "routes": {
      const { items } = await client.view("routes");
      return show(context, { kind: "RouteList", word: "route", items, columns: routeColumns, names, name: nameOf });
    }
    case "limits": {
      const { items } = await client.view("limits");
      return show(context, { kind: "LimitList", word: "limit", items, columns: limitColumns, names, name: nameOf });
    }
    case "ejected": {
      const { items } = await client.view("ejected");
      return show(context, {
        kind: "EjectedList",
        word: "ejected",
        items,
        columns: ejectedColumns,
        names,
        name: nameOf,
      });
    }
    case "certs": {
      const all = (await client.view("certs")).items.map((cert) => ({
        ...cert,
        namespace: namespaceOfIdentity(cert.identity),
      }));
      const name = (cert: { readonly identity: string }): string => cert.identity;
      return show(context, {
        kind: "CertificateList",
        word: "cert",
        items: all,
        columns: certColumns(now),
        names,
        name,
      });
    }
    case "connections": {
      const { items, truncated = 0 } = await client.view("connections");
      if (truncated > 0) context.env.stderr(`${truncated} more connections are not shown\n`);
      const name = (connection: { readonly id: string }): string => connection.id;
      return show(context, {
        kind: "ConnectionList",
        word: "connection",
        items,
        columns: connectionColumns(now),
        names,
        name,
      });
    }
    case "bpf": {
      const items = (await client.view("bpf")).items.map((row) => ({ ...row, namespace: "" }));
      return show(context, { kind: "BpfList", word: "bpf", items, columns: bpfColumns, names, name: nameOf });
    }
  }
}

type Shown<Item> = {
  readonly kind: string;
  readonly word: string;
  readonly items: readonly Item[];
  readonly columns: readonly Column<Item>[];
  readonly names: readonly string[];
  readonly name: (item: Item) => string;
};

function show<Item extends { readonly namespace: string }>(context: Context, shown: Shown<Item>): Exit {
  const { namespace, output, headers } = context.options;
  const inNamespace = shown.items.filter(
    (item) => namespace === undefined || item.namespace === namespace || shown.word === "bpf",
  );
  const items =
    shown.names.length === 0 ? inNamespace : inNamespace.filter((item) => shown.names.includes(shown.name(item)));
  const missing = shown.names.filter((name) => !items.some((item) => shown.name(item) === name));
  switch (output) {
    case "json":
      context.print(json({ apiVersion, kind: shown.kind, items }));
      break;
    case "yaml":
      context.print(yaml({ apiVersion, kind: shown.kind, items }));
      break;
    case "name":
      context.print(items.map((item) => `${shown.word}/${printable(shown.name(item))}\n`).join(""));
      break;
    default:
      if (items.length === 0) context.env.stderr(`no ${shown.word} found${namespace ? ` in ${namespace}` : ""}\n`);
      else {
        const wide = output === "wide";
        context.print(
          table(shown.columns, items, { wide, headers, namespaces: namespace === undefined, paint: context.paint }),
        );
      }
  }
  if (missing.length === 0) return exits.ok;
  throw new CliFailure(exits.failed, {
    code: "ORL6004",
    what: `no ${shown.word} ${missing.join(", ")}`,
    why:
      namespace === undefined
        ? "the agent knows none of this name"
        : `the agent knows none of this name in ${namespace}`,
    fix: `see what there is: orlop get ${shown.word}s`,
  });
}

function nameOf(item: { readonly name: string }): string {
  return item.name;
}

function namespaceOfIdentity(identity: string): string {
  return /^spiffe:\/\/[^/]*\/ns\/([^/]*)\//.exec(identity)?.[1] ?? "";
}

/** kubectl's equality selectors: `a=b`, `a==b`, `a!=b`, `a`, `!a`, comma-separated; all must hold. */
export function selects(selector: string | undefined, labels: Readonly<Record<string, string>>): boolean {
  if (selector === undefined) return true;
  return selector.split(",").every((part) => {
    const [, not = "", key = "", operator = "", value = ""] =
      /^(!?)([A-Za-z0-9./_-]+)(?:(==?|!=)([A-Za-z0-9._-]*))?$/.exec(part.trim()) ?? [];
    if (key === "" || (not !== "" && operator !== "")) {
      throw new CliFailure(exits.usage, {
        code: "ORL6004",
        what: `cannot read the selector ${part}`,
        why: "a part of it is neither key, !key, key=value nor key!=value",
        fix: "orlop get workloads -l app=web",
      });
    }
    const has = Object.hasOwn(labels, key);
    if (operator === "") return not === "" ? has : !has;
    return operator === "!=" ? labels[key] !== value : has && labels[key] === value;
  });
}
