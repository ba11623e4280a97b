// Routes against the oracle: random sets of routes, and of each many requests. The rule that takes a request, and the reason for each
// entry that does not, are those of a search without an index.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { requestFacts } from "../../agent/l7/request-facts.ts";
import { missOf, type RoutedRequest, RouteTable } from "../../agent/l7/route-table.ts";
import { routesFor } from "../../agent/l7/route-view.ts";
import { pathOfWords } from "../../agent/l7/words-meaning.ts";
import { fullName } from "../../agent/mesh/full-name.ts";
import { HeadWords } from "../../agent/mesh/head-words.ts";
import type { HttpMatch } from "../../agent/mesh/http-rule.ts";
import { Dice } from "../support/dice.ts";
import { type AskedRequest, taken } from "./oracle.ts";
import { randomAsked, randomNamespace, randomPort, randomRoutes } from "./random-routes.ts";

const wanted = Number(process.env.ORLOP_REQUESTS ?? 100_000);
const seed = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 32));
const REQUESTS = 20;

/** Some escapes are written where none is needed, so that they must be decoded. */
function written(text: string, dice: Dice): string {
  return dice.chance(20)
    ? [...text].map((character) => `%${(character.codePointAt(0) ?? 0).toString(16).padStart(2, "0")}`).join("")
    : encodeURIComponent(text);
}

function sent({ method, path, query, headers }: AskedRequest, dice: Dice): RoutedRequest {
  const pairs = query.map(([name, value]) => `${written(name, dice)}=${written(value, dice)}`).join("&");
  const target = pairs === "" ? path : `${path}?${pairs}`;
  const header = (name: string): readonly string[] => headers.flatMap(([had, value]) => (had === name ? [value] : []));
  return { ...requestFacts({ method, target, authority: "api", header }), target };
}

/** Of requests that have come before. */
const known = new Map<string, HeadWords>();

function wordsOf(method: string, target: string): HeadWords {
  const key = `${method} ${target}`;
  const words = known.get(key) ?? new HeadWords({ method, target, authority: "api" });
  words.isRepeated = true;
  known.set(key, words);
  return words;
}

test(`${wanted} random requests: the oracle takes the same rule (ORLOP_SEED=${seed})`, (t) => {
  const dice = new Dice(seed);
  const seen = new Map<string, number>();
  for (let requests = 0; requests < wanted; ) {
    const routes = randomRoutes(dice);
    const port = randomPort(dice);
    const client = randomNamespace(dice);
    const inForce = routesFor(routes, port, { port: port.port, name: port.portName, appProtocol: "" }, client);
    const table = new RouteTable(inForce);
    const place = (): string => `seed ${seed}: ${JSON.stringify({ port, client, routes })}`;
    // Where no route is in force one request says all there is.
    const many = inForce.length === 0 ? 1 : REQUESTS;
    for (let count = 0; count < many; count += 1, requests += 1) {
      const asked = randomAsked(dice, inForce);
      const request = sent(asked, dice);
      const found = table.find(request);
      assert.ok(found !== "too-many", place());
      // The same words come with other fields, and to other lists of routes: what was found for them then is not taken for this.
      const words = wordsOf(request.method, request.target);
      const again = { ...request, path: pathOfWords(words), words };
      for (let times = 0; times < 2; times += 1)
        assert.equal(table.find(again), found, `${place()}: again, ${JSON.stringify(asked)}`);
      const said = taken(routes, port, client, asked);
      const mine =
        inForce.length === 0
          ? "no-route"
          : found === undefined
            ? null
            : { route: fullName(found.route), rule: found.index, match: found.rule.matches.indexOf(found.match) };
      if (!isDeepStrictEqual(mine, said)) assert.deepEqual(mine, said, `${place()} ${JSON.stringify(asked)}`);
      for (const entry of table.entries) {
        const isMissed = missOf(entry.match, request) !== null;
        if (found === undefined || entry.at < found.at ? !isMissed : entry === found && isMissed)
          assert.fail(`${place()} ${JSON.stringify(entry)}`);
      }
      const outcome = said === "no-route" ? said : said === null ? "no-rule" : `taken by ${shapeOf(found?.match)}`;
      seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
    }
  }
  t.diagnostic(JSON.stringify(Object.fromEntries([...seen].toSorted())));
  // Requests that all go one way would prove nothing.
  for (const outcome of [
    "no-route",
    "no-rule",
    "taken by exact",
    "taken by expression",
    "taken by prefix",
    "taken by prefix with more",
  ])
    assert.ok((seen.get(outcome) ?? 0) > wanted / 100, `${outcome}: ${seen.get(outcome)} of ${wanted}, seed ${seed}`);
});

function shapeOf(match: HttpMatch | undefined): string {
  if (match === undefined) return "nothing";
  const more = match.method !== null || match.headers.length + match.query.length > 0;
  return `${match.path.kind}${more ? " with more" : ""}`;
}
