// What the authority makes of an API server's answers: its own words for absence, and no word of a token or a key in an error.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ApiAnswer, AskOptions } from "../control/kubernetes/api-answer.ts";
import { jsonAnswer } from "./api.fake.ts";
import { ClusterApi } from "./cluster.ts";

const signal = new AbortController().signal;
const html = (answer: ApiAnswer): ApiAnswer => ({ ...answer, contentType: "text/html" });

function answering(answer: () => ApiAnswer) {
  const asked: [string, AskOptions][] = [];
  const api = new ClusterApi(async (path, options) => {
    asked.push([path, options]);
    return answer();
  });
  return { api, asked };
}

test("an error shows nothing of what the server said", async () => {
  const secret = { kind: "Other", data: { "tls.key": "LS0tLS1 very secret" }, spec: { token: "very secret" } };
  for (const answer of [
    jsonAnswer(200, secret),
    jsonAnswer(500, secret),
    jsonAnswer(404, secret),
    html(jsonAnswer(200, secret)),
    jsonAnswer(409, secret),
  ]) {
    const { api } = answering(() => ({ ...answer, body: jsonAnswer(200, secret).body }));
    for (const work of [
      () => api.review("very secret", "orlop-ca", signal),
      () => api.stored("Secret", "orlop-system", "orlop-control-root", signal),
      () => api.pod("orlop-system", "agent", signal),
    ]) {
      await assert.rejects(work, ({ message }: Error) => !message.includes("secret") && !message.includes("LS0t"));
    }
  }
});

test("only the server's own word that this object is not there makes it absent", async () => {
  const notFound = { kind: "Status", reason: "NotFound", details: { name: "agent" } };
  const { api } = answering(() => jsonAnswer(404, notFound));
  assert.equal(await api.pod("orlop-system", "agent", signal), undefined);
  for (const odd of [
    jsonAnswer(404, { ...notFound, kind: "Pod" }),
    jsonAnswer(404, { ...notFound, reason: "Gone" }),
    jsonAnswer(404, { ...notFound, details: { name: "orlop-system" } }),
    html(jsonAnswer(404, notFound)),
  ]) {
    await assert.rejects(answering(() => odd).api.pod("orlop-system", "agent", signal), /not of this object/);
  }
});

test("a review that lacks what it must say is none that counts", async () => {
  const reviews: readonly object[] = [
    {},
    { status: null },
    { status: { authenticated: "true", user: { username: 7, extra: [] }, audiences: "orlop-ca" } },
    {
      status: {
        user: {
          extra: { "authentication.kubernetes.io/pod-uid": ["a", "b"], "authentication.kubernetes.io/pod-name": "a" },
        },
      },
    },
  ];
  for (const review of reviews) {
    const { api } = answering(() => jsonAnswer(201, { kind: "TokenReview", ...review }));
    assert.deepEqual(await api.review("t", "orlop-ca", signal), {
      ...{ isAuthenticated: false, audiences: [], username: "" },
      extra: { podName: "", podUid: "", nodeName: "" },
    });
  }
});

test("names go into a path as names, whatever is in them", async () => {
  const { api, asked } = answering(() => jsonAnswer(200, { kind: "PodList", items: null }));
  assert.deepEqual(await api.podsOf("a/../b", "c,spec.nodeName=d", "e&limit=1", signal), []);
  const { pathname, searchParams } = new URL(asked[0]?.[0] ?? "", "https://api");
  assert.equal(pathname, "/api/v1/namespaces/a%2F..%2Fb/pods");
  assert.deepEqual([searchParams.getAll("limit"), searchParams.has("fieldSelector")], [["200"], true]);
});
