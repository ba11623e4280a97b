// 18 · any thread · what of a request tells to which endpoint it goes, where its Service hashes. Pure.
import { queryOf } from "../l7/query.ts";
import type { RequestFacts } from "../mesh/facts.ts";
import type { HashKey } from "../mesh/traffic-policy.ts";

type Keyed = {
  readonly client: { readonly address: string };
  /** Path and query as they came. */
  readonly target: string;
  readonly header: RequestFacts["header"];
};

/** null: the request lacks what the key is made of. All lines of a header make a single key. */
export function hashKeyOf(key: HashKey, { client, target, header }: Keyed): string | null {
  switch (key.of) {
    case "source-address":
      return client.address;
    case "query":
      return queryOf(target, key.name) ?? null;
    case "header": {
      const values = header(key.name);
      return values.length === 0 ? null : values.join(",");
    }
    case "cookie":
      return cookieOf(header("cookie"), key.name);
  }
}

/** The first of the name (RFC 6265 section 4.2.1). */
export function cookieOf(lines: readonly string[], name: string): string | null {
  for (const line of lines)
    for (const pair of line.split(";")) {
      const equals = pair.indexOf("=");
      if (equals > 0 && pair.slice(0, equals).trim() === name) return pair.slice(equals + 1).trim();
    }
  return null;
}
