// any thread · LimitPolicy (orlop.dev/v1alpha1): schema and translation. A field that is not known refuses the policy: it could be what
// makes the limit smaller.
import { pathTemplate } from "../../l7/path-template.ts";
import type { LimitKeyPart, LimitPolicy } from "../../mesh/limit-policy.ts";
import { type Condition, emptyOperation, emptySource, type PathMatch, type Rule } from "../../mesh/policies.ts";
import { namespacedMetadata, pathMatch, port, some, stringMatch, workloadSelector } from "./fields.ts";
import { fieldName } from "./http-route-match.ts";
import {
  growingObject,
  ignored,
  integer,
  object,
  oneOf,
  optional,
  type Read,
  type Reader,
  required,
  text,
  wrongValue,
} from "./schema.ts";
import { quoted, type Report, type Value, wrong } from "./value.ts";

const header = object({ name: required(fieldName), values: required(some(stringMatch)) });

/** `pkg.Service/Method` or `pkg.Service/*`, as gRPC has it in its paths. */
const grpcMethod = text(
  "a method of gRPC",
  (written) => (/^[A-Za-z_][A-Za-z0-9_.]*\/(?:[A-Za-z_][A-Za-z0-9_]*|\*)$/.test(written) ? written : undefined),
  "no call has such a path",
  "write package.Service/Method, or package.Service/*",
);

/** As of an AuthorizationPolicy; there a template that nobody can read may stay, since a rule has a closed form. */
const readablePath: Reader<PathMatch> = (value, place, report) => {
  const read = pathMatch(value, place, report);
  if (read?.kind !== "template" || pathTemplate(read.value) !== undefined) return read;
  const what = `${place}: ${quoted(read.value)} is no template of a path`;
  return wrongValue(
    value.from,
    what,
    "nobody could say which requests count",
    "write {*} for a segment, {**} at the end",
    report,
  );
};

const match = object({
  identities: optional(some(stringMatch), []),
  namespaces: optional(some(stringMatch), []),
  ports: optional(some(port), []),
  methods: optional(some(stringMatch), []),
  paths: optional(some(readablePath), []),
  headers: optional(some(header, 16), []),
  grpcMethods: optional(some(grpcMethod), []),
});
type ReadMatch = Read<typeof match>;
const everything: ReadMatch = {
  ...{ identities: [], namespaces: [], ports: [], methods: [], paths: [], headers: [], grpcMethods: [] },
};

const keyPart = text(
  "what a limit can count by",
  (written): LimitKeyPart | undefined => {
    if (written === "source" || written === "method" || written === "path") return { by: written };
    const [, name] = /^header:([A-Za-z0-9!#$%&'*+.^_`|~-]{1,256})$/.exec(written) ?? [];
    return name === undefined ? undefined : { by: "header", name: name.toLowerCase() };
  },
  "the bucket of a request would be unknown",
  "write source, method, path, or header:NAME",
);

const unitsMs = { second: 1_000, minute: 60_000, hour: 3_600_000 } as const;

/** More than this in a second is no limit, and its interval would be less than a microsecond. */
const MOST_REQUESTS = 1_000_000;

export const limitPolicyKind = object({
  apiVersion: required(oneOf("orlop.dev/v1alpha1")),
  kind: required(oneOf("LimitPolicy")),
  metadata: required(growingObject(namespacedMetadata)),
  spec: required(
    object({
      selector: optional(workloadSelector, null),
      mode: optional(oneOf("enforce", "shadow", "standby"), "enforce"),
      priority: optional(integer(0, 1_000), 0),
      match: optional(match, everything),
      local: required(
        object({
          requests: required(integer(1, MOST_REQUESTS)),
          per: required(oneOf("second", "minute", "hour")),
          burst: optional(integer(1, MOST_REQUESTS), null),
        }),
      ),
      per: optional(some(keyPart, 4), []),
    }),
  ),
  status: ignored,
});
type LimitPolicyDocument = Read<typeof limitPolicyKind>;

/** @returns undefined: its fields contradict each other (reported). */
export function toLimitPolicy(
  { metadata: { name, namespace }, spec }: LimitPolicyDocument,
  document: Value,
  report: Report,
): LimitPolicy | undefined {
  const { selector, mode, priority, local, per } = spec;
  if (spec.match.paths.length > 0 && spec.match.grpcMethods.length > 0) {
    const what = "spec.match has paths and grpcMethods";
    return wrong(
      document.from,
      what,
      "a method of gRPC is a path: nobody says which of them counts",
      "keep one",
      report,
    );
  }
  return {
    ...{ name, namespace, selector, mode, priority, per, from: document.from },
    match: toRule(spec.match, document),
    requests: local.requests,
    unitMs: unitsMs[local.per],
    burst: local.burst ?? local.requests,
  };
}

function toRule(read: ReadMatch, { from }: Value): Rule {
  const { identities, namespaces, ports, methods, headers, grpcMethods } = read;
  const calls = grpcMethods.map((written) =>
    written.endsWith("/*")
      ? ({ kind: "prefix", value: `/${written.slice(0, -1)}` } as const)
      : ({ kind: "exact", value: `/${written}` } as const),
  );
  const paths = [...read.paths, ...calls];
  const hasSource = identities.length + namespaces.length > 0;
  const hasOperation = ports.length + methods.length + paths.length > 0;
  return {
    sources: hasSource ? [{ ...emptySource, principals: identities, namespaces }] : [],
    operations: hasOperation ? [{ ...emptyOperation, ports, methods, paths }] : [],
    when: headers.map(
      ({ name, values }): Condition => ({
        ...{ key: `request.headers[${name}]`, strings: values, notStrings: [], http: true, from },
        ...{ cidrs: [], notCidrs: [], ports: [], notPorts: [] },
      }),
    ),
    unreadable: [],
    from,
  };
}
