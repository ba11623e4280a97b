// tests · HTTP/2 that is read: each stream an event, bodies and trailers past it, answers of ours as HTTP and as gRPC.
import assert from "node:assert/strict";
import { createHash, randomBytes, randomInt } from "node:crypto";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { RequestEnded, RequestEvent } from "../../agent/engine/events.ts";
import { Dice } from "../support/dice.ts";
import { ask, h2cApplication, h2cCaller } from "./h2c.ts";
import { reads, type Under, ways } from "./read-engine.ts";

const ended = (under: Under): RequestEnded[] => under.engine.events.filter((event) => event.type === "request-ended");
const asked = (under: Under): RequestEvent[] => under.engine.events.filter((event) => event.type === "request");
const digest = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");

for (const way of ways) {
  test(`${way}: requests of every shape arrive as they were sent, many at once, and each is reported and ended once`, async () => {
    const app = await h2cApplication((stream, headers) => {
      const chunks: Buffer[] = [];
      let trailers: unknown = {};
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("trailers", ({ "x-after": after = "" }) => {
        trailers = { after };
      });
      stream.on("end", () => {
        const [, kind, size = "0"] = headers[":path"]?.split(/[/?]/) ?? [];
        const { ":method": method, ":authority": authority, ":scheme": scheme, cookie, te } = headers;
        const said = { method, authority, scheme, cookie, te, digest: digest(Buffer.concat(chunks)), trailers };
        const fields = {
          ":status": 200,
          "x-said": JSON.stringify(said),
          "x-orlop": String(headers["x-orlop-identity"]),
        };
        if (kind === "empty" || method === "HEAD") return stream.respond(fields, { endStream: true });
        const isTrailed = kind === "trailers";
        stream.respond(fields, { waitForTrailers: isTrailed });
        if (isTrailed) stream.on("wantTrailers", () => stream.sendTrailers({ "x-after": "all", "grpc-status": "0" }));
        return stream.end(Buffer.alloc(Number(size), "z"));
      });
    });
    using under = reads(way, app.port);
    const seed = randomInt(2 ** 31);
    const dice = new Dice(seed);
    using caller = h2cCaller(under.port);
    const count = 150;
    const all = Array.from({ length: count }, async (_, nth) => {
      const kind = dice.pick(["empty", "body", "trailers", "denied"]);
      const size = dice.pick([0, 1, 1_000, 70_000, 600_000]);
      const method = dice.pick(["GET", "POST", "HEAD", "PUT"]);
      const hasBody = method === "POST" || method === "PUT";
      const body = hasBody ? [randomBytes(dice.roll(20_000)), randomBytes(dice.roll(400_000))] : [];
      const trailers = hasBody && dice.chance(50) ? { "x-after": String(nth) } : undefined;
      const headers = {
        ...{ ":method": method, ":path": `/${kind}/${size}?nth=${nth}`, ":authority": "app.shop:80" },
        ...{ te: "trailers", "x-orlop-identity": "admin", cookie: ["a=1", "b=2"] },
      };
      const got = await ask(caller.session, { headers, body, ...(trailers && { trailers }) });
      const where = `seed ${seed}, ${nth}: ${method} /${kind}/${size}`;
      assert.equal(got.code, 0, where);
      if (kind === "denied") {
        assert.equal(got.status, 403, where);
        assert.equal(got.body.toString(), method === "HEAD" ? "" : "RBAC: access denied", where);
        return;
      }
      const said = {
        ...{ method, authority: "app.shop:80", scheme: "http", cookie: "a=1; b=2", te: "trailers" },
        ...{ digest: digest(Buffer.concat(body)), trailers: trailers ? { after: String(nth) } : {} },
      };
      assert.equal(got.status, 200, where);
      assert.deepEqual(JSON.parse(String(got.headers["x-said"])), said, where);
      assert.equal(got.headers["x-orlop"], "undefined", where);
      assert.equal(got.body.length, kind === "empty" || method === "HEAD" ? 0 : size, where);
      if (kind === "trailers" && method !== "HEAD") assert.equal(got.trailers["grpc-status"], "0", where);
    });
    await Promise.all(all);
    while (ended(under).length < count) await sleep(5);
    assert.equal(asked(under).length, count);
    assert.deepEqual([...new Set(ended(under).map(({ outcome }) => outcome))].sort(), ["answered", "replied"]);
    assert.deepEqual(under.engine.errors, []);
    const key = (event: RequestEvent | RequestEnded): string => `${event.conn}/${event.generation}/${event.request}`;
    assert.deepEqual(ended(under).map(key).sort(), asked(under).map(key).sort());
    assert.ok(asked(under).every(({ protocol }) => protocol === "http2"));
    caller.session.close();
    assert.equal((await under.engine.event("closed")).cause, "finished");
  });

  test(`${way}: the end of a call says what gRPC's own status was: in trailers, in a head alone, ours, none, or none of gRPC's`, async () => {
    const said: Readonly<Record<string, readonly [status: string | undefined, number | undefined]>> = {
      "trailers 0": ["0", 0],
      "trailers 14": ["14", 14],
      "head 5": ["5", 5],
      "trailers 17": ["17", 2],
      "head +7": ["+7", 2],
      "trailers 007": ["007", 2],
      "trailers none": [undefined, -1],
      "no-call 3": ["3", undefined],
      denied: ["7", 7],
      reset: [undefined, -1],
    };
    const app = await h2cApplication((stream, headers) => {
      const [kind, status] = decodeURIComponent(headers[":path"] ?? "")
        .slice(1)
        .split(" ");
      stream.resume();
      if (kind === "reset") return stream.close(2);
      const fields = status === "none" ? {} : { "grpc-status": status };
      if (kind === "head") return stream.respond({ ":status": 200, ...fields }, { endStream: true });
      stream.respond({ ":status": 200 }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "x-after": "1", ...fields }));
      return stream.end("message");
    });
    using under = reads(way, app.port);
    using caller = h2cCaller(under.port);
    for (const [path, [status, wanted]] of Object.entries(said)) {
      const type = path.startsWith("no-call") ? "text/plain" : "application/grpc";
      const headers = { ":method": "POST", ":path": `/${encodeURIComponent(path)}`, "content-type": type };
      const got = await ask(caller.session, { headers, body: [Buffer.alloc(5)] });
      assert.equal(got.trailers["grpc-status"] ?? got.headers["grpc-status"], status, path);
      while (ended(under).at(-1)?.request !== asked(under).at(-1)?.request) await sleep(2);
      assert.equal(ended(under).at(-1)?.grpcStatus, wanted, path);
    }
  });

  test(`${way}: a refused call of gRPC is answered by its head alone`, async () => {
    const app = await h2cApplication((stream) => stream.respond({ ":status": 200 }, { endStream: true }));
    using under = reads(way, app.port);
    using caller = h2cCaller(under.port);
    for (const type of ["application/grpc", "application/grpc+proto", "application/grpc;x=y"]) {
      const headers = { ":method": "POST", ":path": "/denied.Greeter/Hello", "content-type": type, te: "trailers" };
      const got = await ask(caller.session, { headers, body: [Buffer.from([0, 0, 0, 0, 0])] });
      assert.deepEqual(got, {
        status: 200,
        headers: {
          ":status": 200,
          "content-type": "application/grpc",
          "grpc-status": "7",
          "grpc-message": "RBAC: access denied",
        },
        ...{ body: Buffer.alloc(0), trailers: {}, code: 0, isHeadAlone: true },
      });
    }
    const web = { ":method": "POST", ":path": "/denied", "content-type": "application/grpc-web" };
    assert.equal((await ask(caller.session, { headers: web })).status, 403);
    assert.ok(ended(under).every(({ outcome }) => outcome === "replied"));
  });
}
