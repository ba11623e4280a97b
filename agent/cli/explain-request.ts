// CLI · orlop explain --method … --path … --host … --header …: a request that need not exist, out of the command line.
import { requestFacts } from "../l7/request-facts.ts";
import type { RequestFacts } from "../mesh/facts.ts";
import { CliFailure, exits } from "./output.ts";

export type RequestOptions = {
  readonly method?: string;
  /** With its query, if any. */
  readonly path?: string;
  readonly host?: string;
  /** Each `name=value`, in the order of the command line. */
  readonly header?: readonly string[];
};

export type ExplainOptions = RequestOptions & { readonly expect?: "allow" | "deny" };

/** RFC 9110 section 5.6.2: a name of a header, or a method. */
const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/**
 * null: none of the options is given, so the connection is asked about. Without a method it is a GET, without a path `/`, without a
 * host that of `dst`.
 * @throws CliFailure: exit 64 for what cannot be part of a request.
 */
export function requestOf(dst: string, { method, path, host, header = [] }: RequestOptions): RequestFacts | null {
  if (method === undefined && path === undefined && host === undefined && header.length === 0) return null;
  if (method !== undefined && !token.test(method)) throw unusable(`--method ${method}`, "a method has no space in it");
  const fields = header.map((field) => {
    const [, name = "", value = ""] = /^([^=]*)=(.*)$/s.exec(field) ?? [];
    if (!token.test(name)) throw unusable(`--header ${field}`, "a header is written name=value");
    return [name.toLowerCase(), value.trim()] as const;
  });
  return requestFacts({
    method: method ?? "GET",
    target: path ?? "/",
    // A name with its namespace is not how anybody calls a host.
    authority: host ?? dst.slice(dst.indexOf("/") + 1),
    header: (name) => fields.flatMap(([sent, value]) => (sent === name ? [value] : [])),
  });
}

function unusable(what: string, why: string): CliFailure {
  const fix = "orlop explain SRC DST:PORT -f mesh.yaml --method GET --path /a --host api --header x-role=admin";
  return new CliFailure(exits.usage, { code: "ORL6004", what, why, fix });
}

export function requestText({ method, path, host }: RequestFacts): string {
  const at = path.ambiguity === null ? path.text : `${path.text}, an ambiguous path (${path.ambiguity})`;
  return `${method} ${at}, host ${host.ambiguity === null ? host.text : "unreadable"}`;
}
