// Random routes and requests that meet often: few names, paths of few elements.
import {
  type HttpMatch,
  type HttpRoute,
  type HttpRule,
  noEdits,
  type RouteParent,
  type ValueCondition,
} from "../../agent/mesh/http-rule.ts";
import { nowhere } from "../../agent/mesh/source-ref.ts";
import type { Dice } from "../support/dice.ts";
import type { AskedPort, AskedRequest } from "./oracle.ts";

const namespaces = ["shop", "shop", "bank", "ops"];
const elements = ["a", "a", "b", "ab", "a.b", "%2B", "c;v=1", "~"];
const methods = ["GET", "POST", "DELETE"];
const names = ["x-role", "x-tier", "accept"];
const values = ["1", "2", "a,b", "a b"];
const pathExpressions = ["/a(/.*)?", "(/[a-b]+){2}", ".*/b", "/.*", "/a|/b|/ab", "/[^/]*/?"];
const valueExpressions = ["[0-9]", ".", "1|2", "a.b", ".*,.*", "\\w+"];
const keys = ["q", "page", "a b"];

export const randomNamespace = (dice: Dice): string => dice.pick(namespaces);

export const randomPort = (dice: Dice): AskedPort => ({
  ...{ namespace: dice.pick(namespaces), name: dice.pick(["api", "api", "api", "web"]) },
  ...dice.pick([
    { port: 80, portName: "http", isOther: false },
    { port: 8080, portName: "", isOther: false },
    { port: 3306, portName: "mysql", isOther: true },
  ]),
});

function randomPath(dice: Dice, most: number): string {
  return Array.from({ length: dice.roll(most + 1) }, () => `/${dice.pick(elements)}`).join("");
}

function randomParent(dice: Dice): RouteParent {
  const { namespace, name, port, portName } = randomPort(dice);
  return {
    service: `${namespace}/${name}`,
    port: dice.chance(40) ? port : null,
    portName: dice.chance(20) ? portName : null,
  };
}

function onePerName<T extends { readonly name: string }>(all: readonly T[]): readonly T[] {
  return all.filter(({ name }, at) => all.findIndex((other) => other.name === name) === at);
}

const randomValue = (dice: Dice): Omit<ValueCondition, "name"> =>
  dice.chance(25)
    ? { kind: "expression", value: dice.pick(valueExpressions) }
    : { kind: "exact", value: dice.pick(values) };

function randomMatchOf(dice: Dice): HttpMatch {
  const path = randomPath(dice, 3);
  const exact = dice.chance(30);
  return {
    path: dice.chance(15)
      ? { kind: "expression", value: dice.pick(pathExpressions) }
      : exact
        ? { kind: "exact", value: path + (dice.chance(30) || path === "" ? "/" : "") }
        : { kind: "prefix", value: path },
    method: dice.chance(30) ? dice.pick(methods) : null,
    headers: onePerName(dice.some(30, 2, () => ({ name: dice.pick(names), ...randomValue(dice) }))),
    query: onePerName(dice.some(20, 2, () => ({ name: dice.pick(keys), ...randomValue(dice) }))),
  };
}

function randomRule(dice: Dice): HttpRule {
  return {
    matches: Array.from({ length: 1 + dice.roll(3) }, () => randomMatchOf(dice)),
    ...{
      name: "",
      requestEdits: noEdits,
      responseEdits: noEdits,
      rewrite: null,
      redirect: null,
      cors: null,
      backends: [],
    },
    ...{ timeoutMs: 0, tryTimeoutMs: 0, retry: null, from: nowhere },
  };
}

export function randomRoutes(dice: Dice): readonly HttpRoute[] {
  const routes = Array.from(
    { length: dice.roll(9) },
    (_, index): HttpRoute => ({
      kind: "HTTPRoute",
      name: `${dice.pick(["r", "s", "t"])}${index}`,
      namespace: dice.pick(namespaces),
      parents: Array.from({ length: 1 + dice.roll(2) }, () => randomParent(dice)),
      createdMs: dice.roll(3),
      rules: Array.from({ length: 1 + dice.roll(4) }, () => randomRule(dice)),
      from: nowhere,
    }),
  );
  return routes;
}

/** About half the requests are near to what some rule compares. */
export function randomAsked(dice: Dice, routes: readonly HttpRoute[]): AskedRequest {
  const near = routes.length > 0 && dice.chance(60) ? dice.pick(dice.pick(dice.pick(routes).rules).matches) : null;
  const more = near?.path.kind === "exact" && dice.chance(80) ? "" : randomPath(dice, near === null ? 4 : 1);
  const begin = near === null || near.path.kind === "expression" ? "" : near.path.value;
  const path = begin + more + (dice.chance(10) ? "/" : "");
  const pairOf = ({ kind, name, value }: ValueCondition): readonly [string, string] => [
    name,
    kind === "exact" ? value : dice.pick(values),
  ];
  const headers = dice.some(40, 2, () => [dice.pick(names), dice.pick(values)] as const);
  const query = dice.some(40, 2, () => [dice.pick(keys), dice.pick(values)] as const);
  return {
    method: dice.chance(70) ? (near?.method ?? dice.pick(methods)) : dice.pick(methods),
    path: path.startsWith("/") ? path : `/${path}`,
    headers: near !== null && dice.chance(70) ? [...near.headers.map(pairOf), ...headers] : headers,
    query: near !== null && dice.chance(70) ? [...near.query.map(pairOf), ...query] : query,
  };
}
