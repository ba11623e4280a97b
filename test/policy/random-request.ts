// Random requests, and rules about them, for the oracle: few texts, nearly alike, and the forms in which one is taken for another.
import { requestFacts } from "../../agent/l7/request-facts.ts";
import type { RequestFacts } from "../../agent/mesh/facts.ts";
import type { Condition, Operation, PathMatch, StringMatch } from "../../agent/mesh/policies.ts";
import { nowhere } from "../../agent/mesh/source-ref.ts";
import type { Dice } from "../support/dice.ts";
import { randomMatch } from "./random-match.ts";
import type { OracleRequest } from "./request-oracle.ts";

const methods = ["GET", "GET", "POST", "DELETE", "get", "post", "PURGE"];
const hosts = [
  "api",
  "api.prod",
  "API.prod",
  "api.prod:80",
  "api.prod-evil",
  "api.prod.",
  "Api.:8080",
  "[FD00:0::1]:80",
];
const malformedHosts = ["", "a@api", "api..prod", "api:x", "api:99999", ".", "[::1", "[10.0.0.1]", "é"];
const paths = [
  ...["/", "/a", "/a/b", "/a/b/c", "/a/c/b", "/admin", "/admin/x", "/Admin", "/a.png", "/ab", "/caf%c3%a9", "/a%2Cb"],
  ...["/a:b", "/a%3Ab", "/a%3ab", "/caf\u00e9", "/a b", "/a%20b", "/a(b", "/a%28b/c"],
  ...["/a/", "/a/b/", "/admin/", "/%61dmin", "/a%62", "/admin;v=1", "/a;v/b", "/a;v/b/", "/a%3Bv", "/;v", "/a/;v", "*"],
];
const ambiguousPaths = [
  ...[
    "//a",
    "/a//b",
    "/a/../admin",
    "/a/.",
    "/a/..;/admin",
    "/a%2fb",
    "/a%5Cb",
    "/%2e%2e/admin",
    "/%252e/a",
    "/%25%32%66",
  ],
  ...["/a\\b", "/a#b", "/a%", "/a%zz", "/a%00", "/%c0%af", "/%e0%80%af", "/a/;v/b", "", "a", "http://api/a", "/a b"],
];
/** Pieces of paths that nobody would write. */
const pieces = [
  "a",
  "b",
  "admin",
  "/",
  "/",
  ";",
  ".",
  "..",
  "%61",
  "%2e",
  "%2F",
  "%25",
  "61",
  "%3b",
  "%3A",
  ":",
  "%c3",
  "%e0",
  "%80",
  "\\",
];
const templates = [
  "/a%28b/{*}",
  "/a(b/{**}",
  "/a/{*}",
  "/{*}",
  "/{**}",
  "/a/{**}",
  "/a/{**}/b",
  "/{*}/b",
  "/{*}/{*}",
  "/a/{*}/",
];
const badTemplates = ["/{x}", "/a/{x}", "/a{*}", "/{**}/{*}", "{*}"];
const headerNames = ["x-role", "x-role", "X-Role", "x-tenant", "x_role", "x.tenant", "cookie"];
/** Of a request, each character a byte: as rules have them, in Latin-1 and in UTF-8. */
const headerValues = [
  "admin",
  "admin",
  "guest",
  "a",
  "b",
  "a,b",
  "admin-evil",
  "",
  "\u00e9",
  "\u00c3\u00a9",
  "\u00e2\u0082\u00ac",
];
const ruleValues = [...headerValues, "\u20ac", "a, b", "a; b"];

export function randomRequest(dice: Dice): OracleRequest {
  const target = dice.chance(75)
    ? dice.pick(paths)
    : dice.chance(50)
      ? dice.pick(ambiguousPaths)
      : `/${dice.some(100, 5, () => dice.pick(pieces)).join("")}`;
  return {
    method: dice.pick(methods),
    target: dice.chance(10) ? `${target}?x=/admin` : target,
    authority: dice.chance(92) ? dice.pick(hosts) : dice.pick(malformedHosts),
    headers: dice.some(70, 3, () => [dice.pick(headerNames), dice.pick(headerValues)] as const),
  };
}

/** The request as the evaluator is shown it. */
export function factsOf({ headers, ...head }: OracleRequest): RequestFacts {
  const dashed = (name: string): string => name.toLowerCase().replace(/[_.]/g, "-");
  const header: RequestFacts["header"] = (name, spelled) =>
    headers.flatMap(([sent, value]) =>
      (spelled === undefined ? sent.toLowerCase() === name : dashed(sent) === dashed(name)) ? [value] : [],
    );
  return requestFacts({ ...head, header });
}

type RequestFields = Pick<Operation, "hosts" | "notHosts" | "methods" | "notMethods" | "paths" | "notPaths">;

/** @param percent of operations that have each list. */
export function randomRequestFields(dice: Dice, percent: number): RequestFields {
  const host = (): StringMatch => randomMatch(dice, dice.pick(hosts));
  const method = (): StringMatch => randomMatch(dice, dice.pick(methods));
  return {
    hosts: dice.some(percent / 2, 2, host),
    notHosts: dice.some(percent / 4, 1, host),
    methods: dice.some(percent, 2, method),
    notMethods: dice.some(percent / 3, 1, method),
    paths: dice.some(percent, 3, () => randomPathMatch(dice)),
    notPaths: dice.some(percent / 3, 1, () => randomPathMatch(dice)),
  };
}

function randomPathMatch(dice: Dice): PathMatch {
  if (dice.chance(25)) return { kind: "template", value: dice.pick(dice.chance(90) ? templates : badTemplates) };
  return randomMatch(dice, dice.pick(paths));
}

/** On a header, or on what looks like a header and no request shows. */
export function randomHeaderCondition(dice: Dice): Condition {
  const value = (): StringMatch => randomMatch(dice, dice.pick(ruleValues) || "x");
  const key = dice.chance(90) ? dice.pick(headerNames) : dice.pick([":path", "x-role][y", "", "é"]);
  return {
    key: dice.chance(97) ? `request.headers[${key}]` : dice.pick(["request.auth.claims[a]", "remote.ip"]),
    strings: dice.some(75, 2, value),
    notStrings: dice.some(35, 2, value),
    cidrs: [],
    notCidrs: [],
    ports: dice.some(3, 1, () => 80),
    notPorts: [],
    http: dice.chance(96),
    from: nowhere,
  };
}
