// A rule that names a host above ASCII, against what clients of other makes send for it: Python's http.client (RFC 3490) and curl (libidn2)
// through the engine, to an application of node:http. A DENY takes each, and an ALLOW does too.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";
import { policy as readPolicy } from "../../agent/control/kinds/translate.fake.ts";
import { requestFacts } from "../../agent/l7/request-facts.ts";
import type { PolicyAction } from "../../agent/mesh/policies.ts";
import { requestOf } from "../../agent/plan/explain-request.ts";
import { compileRules } from "../../agent/policy/compile-rule.ts";
import { matchesRule } from "../../agent/policy/match.ts";
import { facts } from "../../agent/policy/policy.fake.ts";
import { refOf } from "./hbone-pair.ts";
import { application, type Decide, forward, reads } from "./read-engine.ts";

const HOST = "b\u00fccher.example";
const run = promisify(execFile);

/** An answer's status, as each client sees it when it asks for this host at this port. */
const clients = {
  "http.client": (host: string, port: number) =>
    run("python3", [
      "-c",
      `import http.client, socket, sys
caller = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]))
caller.sock = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
caller.request("GET", "/")
print(caller.getresponse().status)`,
      host,
      String(port),
    ]),
  curl: (host: string, port: number) =>
    run(
      "curl",
      [
        "-sS",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "--connect-to",
        `::127.0.0.1:${port}`,
        `http://${host}:${port}/`,
      ],
      { env: { ...process.env, LC_ALL: "C.UTF-8" } },
    ),
} as const;

/** Whether the rule of a policy of this action takes the request. */
const taking = (action: PolicyAction, host: string): ((event: Parameters<Decide>[0]) => boolean) => {
  const read = readPolicy(`apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: shop}
spec: {action: ${action}, rules: [{to: [{operation: {hosts: ["${host}"]}}]}]}
`);
  const compiled = compileRules(read, "cluster.local");
  return ({ method, target, authority, fields }) => {
    const request = requestFacts({ method, target, authority, header: fields.values });
    return compiled.some((rule) => matchesRule(rule, facts({ request }), null));
  };
};

for (const [name, asks] of Object.entries(clients))
  for (const host of [HOST, "*.example", `*.${HOST}`])
    test(`${name} asks for ${HOST}, and the rule is of ${host}`, async () => {
      const app = await application((_request, response) => response.end("served"));
      const [denies, allows] = [taking("DENY", host), taking("ALLOW", host)];
      const seen: string[] = [];
      const decide: Decide = (event) => {
        seen.push(event.authority);
        assert.equal(allows(event), denies(event));
        if (!denies(event)) return forward(event);
        return { ...refOf(event), type: "reply", request: event.request, status: 403, body: "denied" };
      };
      using under = reads("plaintext", app.port, decide);
      const asked = host.startsWith("*.b") ? `www.${HOST}` : HOST;
      assert.equal((await asks(asked, under.port)).stdout.trim(), "403", seen.join());
      assert.equal((await asks("shop.test", under.port)).stdout.trim(), "200");
      assert.equal(seen[0]?.startsWith(asked.replace("b\u00fccher", "xn--bcher-kva")), true, seen[0]);
      // `orlop explain --host` answers for what the client has sent.
      assert.equal(
        Reflect.get(requestOf("shop/api:80", { host: `${asked}:${under.port}` }) ?? {}, "authority"),
        seen[0],
      );
    });
