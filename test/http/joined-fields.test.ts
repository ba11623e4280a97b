// What node:http makes of a list that comes as several fields: a DENY that names the list as the application reads it takes the request.
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { connect } from "node:net";
import { after, test } from "node:test";
import { requestFacts } from "../../agent/l7/request-facts.ts";
import { compileRules } from "../../agent/policy/compile-rule.ts";
import { matchesRule } from "../../agent/policy/match.ts";
import { condition, facts, policy, rule, text } from "../../agent/policy/policy.fake.ts";

const server = http.createServer((request, response) => response.end(JSON.stringify(request.headers)));
after(() => server.close());

test("a field that is sent in parts", async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  for (const [name, parts] of [
    ["x-team", ["red", "blue"]],
    ["accept", ["a/b", "c/d", "e/f"]],
    ["cookie", ["session=1", "role=admin"]],
  ] as const) {
    const socket = connect(address.port, "127.0.0.1");
    const fields = parts.map((part) => `${name}: ${part}\r\n`).join("");
    socket.write(`GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n${fields}\r\n`);
    let answer = "";
    for await (const chunk of socket) answer += String(chunk);
    const read: unknown = JSON.parse(answer.slice(answer.indexOf("{"), answer.lastIndexOf("}") + 1));
    const meant: unknown = Reflect.get(Object(read), name);
    assert.ok(typeof meant === "string" && meant.includes(parts[1]), answer);
    const denied = policy("p", {
      action: "DENY",
      rules: [rule({ when: [condition(`request.headers[${name}]`, { http: true, strings: [text(meant)] })] })],
    });
    const header = (asked: string): readonly string[] => (asked === name ? parts : []);
    const request = requestFacts({ method: "GET", target: "/", authority: "a", header });
    const [compiled] = compileRules(denied, "cluster.local");
    assert.ok(compiled && matchesRule(compiled, facts({ request }), null), meant);
  }
});
