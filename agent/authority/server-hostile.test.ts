// The authority and clients that no honest agent is: requests that are wrong, never end or come too many at once.
import assert from "node:assert/strict";
import type { ClientHttp2Session, IncomingHttpHeaders } from "node:http2";
import { buffer } from "node:stream/consumers";
import { describe, test } from "node:test";
import { CREATE_CERTIFICATE, encodeCertificateRequest } from "../identity/certificate-messages.ts";
import { newRequest } from "../identity/csr.ts";
import { frameGrpcMessage } from "../identity/grpc-message.ts";
import { api, never, setUp, web } from "./server.fake.ts";

describe("requests that no honest agent sends", () => {
  type Sent = {
    readonly body?: Uint8Array;
    readonly headers?: IncomingHttpHeaders;
    readonly identity?: string;
    readonly csrPem?: string;
    readonly validitySeconds?: number;
  };

  async function send(session: ClientHttp2Session, sent: Sent): Promise<string> {
    const { csrPem, key } = await newRequest(web.text);
    key.wipe();
    const request = {
      csrPem: sent.csrPem ?? csrPem,
      validitySeconds: sent.validitySeconds ?? 600,
      impersonatedIdentity: sent.identity ?? web.text,
    };
    const stream = session.request({
      ...{ ":method": "POST", ":path": CREATE_CERTIFICATE, "content-type": "application/grpc", te: "trailers" },
      ...{ authorization: "Bearer token-a", ...sent.headers },
    });
    let said: IncomingHttpHeaders = {};
    stream.on("response", (headers) => {
      said = { ...said, ...headers };
    });
    stream.on("trailers", (headers) => {
      said = { ...said, ...headers };
    });
    stream.on("error", () => {});
    stream.end(sent.body ?? frameGrpcMessage(encodeCertificateRequest(request)));
    await buffer(stream).catch(() => {});
    return `${said["grpc-status"]} ${decodeURIComponent(String(said["grpc-message"] ?? ""))}`;
  }

  test("each is refused with its reason", async (t) => {
    const { session: opened, lines } = await setUp(t);
    const session = opened();
    const { csrPem: ofApi, key } = await newRequest(api.text);
    key.wipe();
    const { csrPem: good, key: unused } = await newRequest(web.text);
    unused.wipe();
    const der = Buffer.from(good.replaceAll(/-----.*-----|\s/g, ""), "base64");
    const changed = Buffer.from(der);
    changed[changed.length - 3] = (changed[changed.length - 3] ?? 0) ^ 1;
    const pem = (bytes: Uint8Array): string =>
      `-----BEGIN CERTIFICATE REQUEST-----\n${Buffer.from(bytes).toString("base64")}\n-----END CERTIFICATE REQUEST-----\n`;
    const cases: readonly (readonly [Sent, RegExp])[] = [
      [{ headers: { ":path": "/istio.v1.auth.IstioCertificateService/Other" } }, /^12 /],
      [{ headers: { "content-type": "application/json" } }, /^3 no gRPC/],
      [{ headers: { authorization: "Basic dTpw" } }, /^16 no bearer/],
      [{ headers: { authorization: `Bearer ${"x".repeat(20_000)}` } }, /^16 no bearer/],
      [{ body: Buffer.alloc(0) }, /^3 no Istio/],
      [{ body: Buffer.alloc(20_000) }, /^3 the message is too long/],
      [{ body: frameGrpcMessage(Buffer.from([0x0b])) }, /^3 no Istio/],
      [{ identity: "" }, /^3 ImpersonatedIdentity/],
      [{ identity: "spiffe://cluster.local/ns/shop/sa/web/" }, /^3 ImpersonatedIdentity/],
      [{ identity: "spiffe://cluster.local/ns/..%2f/sa/web" }, /^3 ImpersonatedIdentity/],
      [{ identity: "spiffe://bank.example/ns/shop/sa/web" }, /^7 this authority is of cluster.local/],
      [{ csrPem: ofApi }, /^3 the request does not name the identity/],
      [{ csrPem: "" }, /^3 the request is no PEM/],
      [{ csrPem: good + good }, /^3 the request is no PEM/],
      [{ csrPem: pem(Buffer.from("hello")) }, /^3 the request cannot be read/],
      [{ csrPem: pem(Buffer.alloc(5_000, Buffer.from("3080", "hex"))) }, /^3 the request cannot be read/],
      [{ csrPem: pem(Buffer.alloc(7_000)) }, /^3 the request is too long/],
      [{ csrPem: pem(changed) }, /^3 the request is not signed by its own key|^3 the request cannot be read/],
      [{ validitySeconds: 59 }, /^3 a life of under 60 s/],
    ];
    for (const [sent, expected] of cases) assert.match(await send(session, sent), expected);
    assert.ok(lines.every((line) => line.startsWith("certificate refused")));
    assert.equal(lines.length, cases.length);
    assert.match(await send(session, {}), /^0 /);
  });

  test("a key of a kind that is not signed", async (t) => {
    const { session: opened } = await setUp(t);
    const { requestOfKind } = await import("../identity/csr.fake.ts");
    for (const kind of ["RSA", "Ed25519", "P-521"] as const) {
      assert.match(await send(opened(), { csrPem: await requestOfKind(kind, web.text) }), /^3 a key of a kind/, kind);
    }
    assert.match(await send(opened(), { csrPem: await requestOfKind("P-384", web.text) }), /^0 /);
  });

  test("a life that is longer than the authority gives is cut", async (t) => {
    const { session: opened, lines } = await setUp(t);
    assert.match(await send(opened(), { validitySeconds: 1_000_000 }), /^0 /);
    const [, text = ""] = /"notAfter":"([^"]+)"/.exec(lines.join()) ?? [];
    const leftMs = Date.parse(text) - Date.now();
    assert.ok(leftMs > 3_500_000 && leftMs <= 3_600_000, String(leftMs));
  });

  test("an address whose requests never arrive takes nothing from another, and they end", async (t) => {
    const { session: opened } = await setUp(t);
    const sessions = Array.from({ length: 16 }, () => opened());
    const headers = { ":method": "POST", ":path": CREATE_CERTIFICATE, "content-type": "application/grpc" };
    const silent = sessions.flatMap((session) =>
      Array.from({ length: 16 }, () => session.request({ ...headers, authorization: "Bearer bogus" })),
    );
    const ended = silent.map((stream) => {
      stream.on("error", () => {}).resume();
      return new Promise<void>((resolve) => stream.once("close", () => resolve()));
    });
    // The server has seen the streams when it answers a ping that was sent after them.
    await Promise.all(sessions.map((session) => new Promise<void>((resolve) => void session.ping(() => resolve()))));
    assert.match(await send(opened("127.0.0.2"), {}), /^0 /);
    await Promise.all(ended);
    assert.match(await send(opened(), {}), /^0 /);
  });

  test("while the API server is slow, an address without a valid token takes few of the slots that all share", async (t) => {
    const { session: opened, cluster } = await setUp(t, { concurrency: 20 });
    const released = Promise.withResolvers<void>();
    const settled = Promise.withResolvers<void>();
    let pending = 20;
    const settle = (): void => {
      pending -= 1;
      if (pending === 0) settled.resolve();
    };
    cluster.hold = async () => {
      if (pending === 0) return;
      settle();
      await released.promise;
    };
    const asked = [opened(), opened()].flatMap((session) =>
      Array.from({ length: 10 }, async () => {
        const said = await send(session, { headers: { authorization: "Bearer bogus" } });
        if (said.startsWith("8 ")) settle();
        return said;
      }),
    );
    await settled.promise;
    const other = await send(opened("127.0.0.2"), {});
    released.resolve();
    assert.match(other, /^0 /);
    const refused = (await Promise.all(asked)).filter((said) =>
      said.startsWith("8 this address asks too much at once"),
    );
    assert.equal(refused.length, 4);
  });

  test("a client that goes in the middle leaves the others served", async (t) => {
    const { session: opened } = await setUp(t);
    for (let times = 0; times < 20; times++) {
      const session = opened();
      session.on("error", () => {});
      const stream = session.request({
        ":method": "POST",
        ":path": CREATE_CERTIFICATE,
        "content-type": "application/grpc",
        authorization: "Bearer token-a",
      });
      stream.on("error", () => {});
      stream.write(Buffer.alloc(3));
      if (times % 2 === 0) stream.close(8);
      else session.destroy();
    }
    assert.match(await send(opened(), {}), /^0 /);
  });
});

test("an address has so many connections, and what ends makes room", async (t) => {
  const { session, port, agent } = await setUp(t);
  const { connect: dial } = await import("node:net");
  const sockets = Array.from({ length: 64 }, () => dial(port, "127.0.0.1"));
  t.after(() => sockets.forEach((socket) => void socket.destroy()));
  await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once("connect", resolve))));
  const refused = session();
  await assert.rejects(new Promise((resolve, reject) => refused.once("connect", resolve).once("error", reject)));
  for (const socket of sockets) socket.destroy();
  for (;;) {
    const issued = await agent("token-a")
      .issue(web, never)
      .catch(() => undefined);
    issued?.key.wipe();
    if (issued !== undefined) break;
  }
});
