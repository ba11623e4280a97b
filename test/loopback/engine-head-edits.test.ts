// tests · what an answer changes in heads: replies with fields of their own, and requests that go on with others.
import assert from "node:assert/strict";
import http from "node:http";
import test from "node:test";
import type { HeaderEdit } from "../../agent/engine/head-edits.ts";
import { refOf } from "./hbone-pair.ts";
import { application, type Decide, reads } from "./read-engine.ts";

type Told = { readonly status: number; readonly headers: http.IncomingHttpHeaders; readonly body: string };
function get(port: number, path: string, headers: http.OutgoingHttpHeaders = {}): Promise<Told> {
  return new Promise((resolve, reject) => {
    const request = http.get({ host: "127.0.0.1", port, path, headers, agent: false }, async (response) => {
      let body = "";
      for await (const part of response) body += part;
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body });
    });
    request.on("error", reject);
  });
}

const decide =
  (given: { readonly authority?: string; readonly edits?: readonly HeaderEdit[] }): Decide =>
  (event) => {
    const { edits: requestHeaders = [], authority = "" } = given;
    return { ...refOf(event), type: "forward", request: event.request, target: "", authority, requestHeaders };
  };

test("a reply has the status, fields and body that the answer gives: a redirect, a preflight, a refusal", async () => {
  const replies: readonly (readonly [number, string, readonly HeaderEdit[]])[] = [
    [302, "", [{ op: "set", name: "location", value: "https://elsewhere/?a=b" }]],
    [204, "", [{ op: "set", name: "access-control-allow-origin", value: "*" }]],
    [404, "no route", []],
    [429, "x".repeat(8_192), [{ op: "set", name: "retry-after", value: "1" }]],
  ];
  const app = await application((_, response) => response.end("never"));
  for (const [status, body, headers] of replies) {
    using under = reads("plaintext", app.port, (event) => ({
      ...{ ...refOf(event), type: "reply", request: event.request, status, body, headers },
    }));
    const told = await get(under.port, "/");
    assert.deepEqual([told.status, told.body], [status, body]);
    for (const edit of headers) if (edit.op !== "remove") assert.equal(told.headers[edit.name], edit.value);
    assert.equal(told.headers["content-type"], body === "" ? undefined : "text/plain");
    assert.equal(told.headers["content-length"], status === 204 ? undefined : String(body.length));
  }
});

test("fields are set, added and taken out, and the host is another", async () => {
  const app = await application((request, response) => {
    const { host, "x-one": one, "x-two": two, "x-three": three } = request.headers;
    response.end(JSON.stringify({ host, one, two, three }));
  });
  const edits: readonly HeaderEdit[] = [
    { op: "set", name: "X-One", value: "ours" },
    { op: "add", name: "x-two", value: "ours" },
    { op: "remove", name: "x-three" },
  ];
  using under = reads("plaintext", app.port, decide({ authority: "web.shop:8080", edits }));
  const told = await get(under.port, "/", { "x-one": "theirs", "x-two": "theirs", "x-three": "theirs" });
  assert.deepEqual(JSON.parse(told.body), { host: "web.shop:8080", one: "ours", two: "theirs, ours" });
});

test("what no head may hold never gets there: the connection ends, and a reply is ours", async () => {
  const asked: string[] = [];
  const app = await application((request, response) => response.end(asked.push(String(request.url))));
  const wrong: readonly Parameters<typeof decide>[0][] = [
    { edits: [{ op: "set", name: "x", value: "a\r\nx-more: b" }] },
    { edits: [{ op: "set", name: "x y", value: "" }] },
    { edits: [{ op: "set", name: "content-length", value: "1" }] },
    { edits: [{ op: "remove", name: "host" }] },
    { authority: "web shop" },
    { authority: "user@web" },
  ];
  for (const given of wrong) {
    using under = reads("plaintext", app.port, decide(given));
    await assert.rejects(get(under.port, "/"), { code: "ECONNRESET" }, JSON.stringify(given));
    assert.equal((await under.engine.event("closed")).cause, "http-refused");
  }
  const headers: readonly HeaderEdit[] = [{ op: "set", name: "location", value: "/\r\n" }];
  using under = reads("plaintext", app.port, (event) => ({
    ...{ ...refOf(event), type: "reply", request: event.request, status: 302, body: "", headers },
  }));
  const told = await get(under.port, "/");
  assert.deepEqual([told.status, told.headers.location, told.body], [500, undefined, "internal error"]);
  assert.deepEqual(asked, []);
});
