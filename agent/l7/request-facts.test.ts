// What rules read of a request is read once.
import assert from "node:assert/strict";
import { test } from "node:test";
import { HeadWords } from "../mesh/head-words.ts";
import { FakeMesh, policy, workload } from "../mesh/mesh.fake.ts";
import type { Condition } from "../mesh/policies.ts";
import { evaluatorOf } from "../policy/evaluate.ts";
import { judgeRequest } from "../policy/judge-request.ts";
import { requestFacts, withoutProxyHeaders } from "./request-facts.ts";

const from = { file: "mesh.yaml", line: 9, column: 5 };
const asks = (name: string, value: string): Condition => ({
  ...{
    key: `request.headers[${name}]`,
    strings: [{ kind: "exact", value }],
    notStrings: [],
    http: true,
    from,
  },
  ...{ cidrs: [], notCidrs: [], ports: [], notPorts: [] },
});

test("a field is looked for once, however many conditions of rules ask for it, and each request for itself", () => {
  const api = workload("api", { addresses: ["10.0.0.2"] });
  const mesh = new FakeMesh([api]);
  const rules = Array.from({ length: 200 }, (_, at) => ({
    ...{ sources: [], operations: [], unreadable: [], from },
    when: [asks("x-a", "yes"), asks("x-none", ""), asks("x-a", `no ${at}`)],
  }));
  mesh.policies.push(policy("DENY", rules), policy("ALLOW", [{ ...rules[0], when: [asks("x-a", "yes")] } as never]));
  const looks: string[] = [];
  const header = (value: string) => (name: string) => {
    looks.push(name);
    return name === "x-a" ? [value] : [];
  };
  const connection = {
    ...{
      sourceAddress: "10.0.0.1",
      sourcePort: 1,
      sourceIdentity: null,
      security: "none" as const,
    },
    ...{
      destinationAddress: "10.0.0.2",
      destinationPort: 80,
      destination: api,
    },
  };
  const judged = (value: string): string => {
    const facts = requestFacts({
      method: "GET",
      target: "/",
      authority: "api",
      header: header(value),
    });
    return judgeRequest(connection, facts, evaluatorOf(mesh)).verdict;
  };
  assert.equal(judged("yes"), "allow");
  // Once by its own name, and once by all that are alike.
  assert.deepEqual(looks.toSorted(), ["x-a", "x-a", "x-none"]);
  assert.equal(judged("other"), "deny", "what was read of another request says nothing");
  const hidden = withoutProxyHeaders(header("yes"));
  const facts = requestFacts({
    method: "GET",
    target: "/",
    authority: "api",
    header: hidden,
  });
  assert.deepEqual([facts.header("x-envoy-a"), facts.header("x-a"), facts.header("x-a")], [[], ["yes"], ["yes"]]);
});

test("words that a head brings count where they are its own, and not where its target, authority or method was written anew", () => {
  const sent = { method: "GET", target: "/a?b=c", authority: "api" };
  const words = new HeadWords(sent);
  const header = (): readonly string[] => [];
  const { path } = requestFacts({ ...sent, words, header });
  assert.equal(path, words.path);
  assert.equal(requestFacts({ ...sent, target: "/other", words, header }).path.text, "/other");
  assert.equal(requestFacts({ ...sent, authority: "other", words, header }).host.text, "other");
  assert.equal(requestFacts({ ...sent, method: "POST", words, header }).method, "POST");
  assert.deepEqual([words.path?.text, words.host?.text], ["/a", "api"]);
});
