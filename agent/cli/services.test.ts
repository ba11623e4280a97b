// What an operator reads of a Service: its DestinationRule and the limits of its workloads, in the table, by name and as data.
import assert from "node:assert/strict";
import { test } from "node:test";
import { aMesh, aSource } from "../admin/source.fake.ts";
import { aWorkload } from "../observe/record.fake.ts";
import { limit } from "../policy/policy.fake.ts";
import { fakeAgent } from "./cli.fake.ts";

const from = { file: "rules.yaml", line: 7, column: 1 };
const outliers = { consecutive5xx: 5, consecutiveGateway: 0, baseMs: 30_000, maxEjected: 10, minHealthy: 0 };
const held = { outliers, maxRequests: 100, hash: null, balance: null, warmUp: null, from } as const;

test("get services -o wide, describe and -o json say what a DestinationRule and limits say, and of a Service without them nothing", async (t) => {
  const labels = { app: "api" };
  const mesh = aMesh([aWorkload({ name: "api", addresses: ["10.0.1.2"], labels })]);
  const [service] = [...mesh.services()];
  assert.ok(service !== undefined);
  const other = { ...service, name: "other", hostname: "other", vips: [], selector: { app: "none" } };
  mesh.apply([
    { kind: "service", op: "upsert", value: { ...service, traffic: held } },
    { kind: "service", op: "upsert", value: other },
    { kind: "limit-policy", op: "upsert", value: limit("orders", { selector: labels }) },
  ]);
  const agent = await fakeAgent(t, aSource({ mesh }));
  const said = "100 requests at once; left out after 5 failures in a row, for 30 s and longer, 10 % at most";
  const wide = (await agent.run("get", "services", "-o", "wide")).out.split("\n");
  assert.match(wide[0] ?? "", /TRAFFIC +LIMITS +FROM$/);
  assert.ok(wide.find((line) => / api /.test(line))?.includes(`${said}  shop/orders`), wide.join("\n"));
  assert.ok(
    wide.some((line) => /shop +other .* - {2,}- {2,}\S+$/.test(line)),
    wide.join("\n"),
  );
  const described = (await agent.run("describe", "svc/api")).out;
  assert.ok(described.includes(`${said} (rules.yaml:7)`), described);
  assert.match(described, /^Limits +shop\/orders$/m);
  const { items } = JSON.parse((await agent.run("get", "services", "-o", "json")).out);
  assert.equal(items[0].traffic.connectionPool.http2MaxRequests, 100);
  assert.equal(items[0].traffic.outlierDetection.consecutive5xxErrors, 5);
  assert.deepEqual([items[0].limits, items[1].traffic, items[1].limits], [["shop/orders"], null, []]);
});
