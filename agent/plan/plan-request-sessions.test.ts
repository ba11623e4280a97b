// Sessions of a rule: at their endpoint, and begun anew where that cannot be.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { HttpRule } from "../mesh/http-rule.ts";
import { FakeMesh, routeBackend, service, workload } from "../mesh/mesh.fake.ts";
import { asked, forwarded, to, under, world } from "../traffic/planned-request.fake.ts";
import { planRequest } from "./plan-request.ts";

test("a session stays with its endpoint, whatever the weights; where that cannot be, it begins anew", () => {
  const three = ["10.1.0.1", "10.1.0.2", "10.1.0.3"].map((address, nth) =>
    workload(`many-${nth}`, { addresses: [address], node: "n2", labels: { app: "many" } }),
  );
  const many = service("many", { vips: ["10.96.0.9"] });
  const backends = [routeBackend("shop/many", { weight: 1 }), routeBackend("shop/far", { weight: 99 })];
  for (const [session, sent] of [
    [{ by: "cookie", name: "s", lastsMs: 0, isPermanent: false }, "cookie"],
    [{ by: "header", name: "x-session", lastsMs: 60_000, isPermanent: false }, "x-session"],
  ] as const) {
    const given = to(backends, { session, matches: under("/a") });
    let nowMs = 1_000;
    const change = (mesh: FakeMesh) => {
      mesh.list.push(...three);
      mesh.serviceList.push(many);
    };
    const within = { ...world({ ...given, change }), wallMs: () => nowMs };
    const ask = (value: string | null): { readonly at: string; readonly token: string | null } => {
      const header = (name: string): readonly string[] =>
        value !== null && name === sent ? ["other=1; x", value] : [];
      const single = (name: string): readonly string[] => header(name).slice(session.by === "cookie" ? 0 : 1);
      const found = forwarded(planRequest({ ...asked, target: "/a/b", header: single }, within));
      const edit = found.responseEdits.find(({ name }) => name === "set-cookie" || name === "x-session");
      const text = edit === undefined || edit.op === "remove" ? null : edit.value;
      return { at: found.route.target.address, token: text?.split(";")[0] ?? null };
    };
    // Until it begins at the backend with the least weight.
    let first = ask(null);
    for (let nth = 0; nth < 5_000 && !first.at.startsWith("10.1."); nth += 1) first = ask(null);
    assert.ok(first.at.startsWith("10.1.") && first.token !== null, JSON.stringify(first));
    for (let nth = 0; nth < 200; nth += 1) assert.deepEqual(ask(first.token), { at: first.at, token: null });
    // No session begins at somebody's wish: what is no endpoint of these counts for nothing.
    for (const other of [
      "s=",
      `s=${"A".repeat(22)}`,
      "A".repeat(22),
      first.token.replace(/.$/, "~"),
      `${first.token}!`,
    ])
      assert.notEqual(ask(other).token, null, other);
    if (session.lastsMs > 0) {
      nowMs += session.lastsMs - 1_000;
      assert.equal(ask(first.token).token, null);
      nowMs += 2_000;
      assert.notEqual(ask(first.token).token, null, "its time is over");
      nowMs = 1_000;
    }
    // Its endpoint has gone.
    const { mesh } = within;
    assert.ok(mesh instanceof FakeMesh);
    mesh.list = mesh.list.filter(({ addresses }) => addresses[0] !== first.at);
    const moved = ask(first.token);
    assert.ok(moved.at !== first.at && moved.token !== null);
  }
});

test("a cookie of a session says for which path, and how long a browser keeps it", () => {
  const cookie = (session: HttpRule["session"] & object, path = "/a"): unknown => {
    const given = to([routeBackend("shop/far")], { session, matches: under(path) });
    const found = planRequest({ ...asked, target: "/a" }, { ...world(given), wallMs: () => 0 });
    const edit = found.responseEdits.find(({ name }) => name === "set-cookie");
    return edit !== undefined && edit.op === "add" && edit.value;
  };
  const session = { by: "cookie", name: null, lastsMs: 90_000, isPermanent: true } as const;
  assert.match(
    String(cookie(session)),
    /^orlop-[0-9a-f]{8}=[A-Za-z0-9_-]{22}\.2i; Path=\/a; Max-Age=90; HttpOnly; SameSite=Lax$/,
  );
  assert.match(
    String(cookie({ ...session, lastsMs: 0, isPermanent: false }, "")),
    /=[A-Za-z0-9_-]{22}; Path=\/; HttpOnly; SameSite=Lax$/,
  );
});
