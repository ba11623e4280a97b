// An authority on another machine: what is sent to it, what of its answers is believed, and what happens while it is away. The server is
// node:http2 with a double behind it; test/peers/authority holds the client against servers of other makes.
import assert from "node:assert/strict";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { FakeClock } from "../../test/support/fake-clock.ts";
import { spiffeId } from "../mesh/spiffe-id.ts";
import { type Behaviour, FakeAuthority, finish, newRoot, refuse, succeed } from "./authority.fake.ts";
import { encodeCertificateAnswer } from "./certificate-messages.ts";
import { Certificates } from "./certificates.ts";
import { newRequest } from "./csr.ts";
import { frameGrpcMessage } from "./grpc-message.ts";
import { RemoteAuthority } from "./remote-authority.ts";

const web = spiffeId("cluster.local", "shop", "web");
const never = new AbortController().signal;
const root = await newRoot();
const otherRoot = await newRoot();

async function setUp(t: TestContext, { server = root, trusted = root, names = ["localhost"] } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "orlop-authority-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const tokenFile = join(folder, "token");
  const rootsFile = join(folder, "roots.pem");
  writeFileSync(tokenFile, "first.token\n");
  writeFileSync(rootsFile, `# the mesh\n${trusted.pem}\n`);
  const fake = await FakeAuthority.start(root, server, names);
  t.after(() => fake.close().catch(() => {}));
  const provider = new RemoteAuthority(
    {
      ...{ address: fake.address, tokenFile, rootsFile, serverRootsFile: "" },
      ...{ cluster: "c1", trustDomain: "cluster.local", leafTtlSeconds: 600 },
    },
    { wallMs: Date.now, random: () => 0 },
  );
  t.after(() => provider.close());
  return { tokenFile, rootsFile, fake, provider };
}

test("it asks as ztunnel does, and what it gets is the asked key's certificate without the root", async (t) => {
  const { fake, provider } = await setUp(t);
  const issued = await provider.issue(web, never);
  const [{ headers, request } = assert.fail("nobody asked")] = fake.asked;
  assert.equal(headers.authorization, "Bearer first.token");
  assert.equal(headers.clusterid, "c1");
  assert.equal(headers.te, "trailers");
  assert.equal(headers["content-type"], "application/grpc");
  assert.deepEqual([request.validitySeconds, request.impersonatedIdentity], [600, web.text]);
  assert.doesNotMatch(request.csrPem, /PRIVATE/);
  const leaf = new X509Certificate(issued.chainPem);
  assert.equal(issued.chainPem.match(/BEGIN/g)?.length, 1);
  assert.equal(leaf.subjectAltName, `URI:${web.text}`);
  assert.equal(leaf.validToDate.getTime(), issued.notAfterMs);
  const key = issued.key.take((pkcs8) => createPrivateKey({ key: Buffer.from(pkcs8), format: "der", type: "pkcs8" }));
  assert.ok(leaf.checkPrivateKey(key));
  assert.deepEqual(await provider.roots(), [root.pem]);
});

test("one connection serves many questions; the token and the roots are read again each time", async (t) => {
  const { fake, provider, tokenFile, rootsFile } = await setUp(t);
  await Promise.all([1, 2, 3].map(async () => (await provider.issue(web, never)).key.wipe()));
  writeFileSync(tokenFile, "second.token");
  await provider.issue(web, never);
  assert.deepEqual([fake.sessions, fake.asked.length], [1, 4]);
  assert.equal(fake.asked.at(-1)?.headers.authorization, "Bearer second.token");
  writeFileSync(rootsFile, otherRoot.pem);
  await assert.rejects(provider.issue(web, never), /leads to no trusted root/);
  assert.deepEqual(await provider.roots(), [otherRoot.pem]);
});

test("a token that is none, and roots that are none, are errors that name the file and show nothing of it", async (t) => {
  const { fake, provider, tokenFile, rootsFile } = await setUp(t);
  for (const content of ["", "two tokens", "line\r\nx: y", "x".repeat(20_000)]) {
    writeFileSync(tokenFile, content);
    await assert.rejects(provider.issue(web, never), ({ message }: Error) => {
      assert.ok(message.includes(tokenFile) && !message.includes("two tokens"), message);
      return true;
    });
  }
  for (const content of ["", "x", root.pem.slice(0, -30), `${root.pem}\n-----BEGIN PRIVATE KEY-----`]) {
    writeFileSync(rootsFile, content);
    await assert.rejects(provider.roots(), new RegExp(rootsFile));
  }
  assert.equal(fake.asked.length, 0);
});

test("nobody but the authority gets the token: not a server of another root, nor of another name", async (t) => {
  for (const odd of [{ server: otherRoot }, { names: ["elsewhere.svc"] }]) {
    const { fake, provider } = await setUp(t, odd);
    await assert.rejects(provider.issue(web, never));
    assert.equal(fake.asked.length, 0);
  }
});

test("an identity of another trust domain is not asked for", async (t) => {
  const { fake, provider } = await setUp(t);
  await assert.rejects(provider.issue(spiffeId("elsewhere", "shop", "web"), never), /not of elsewhere/);
  assert.equal(fake.asked.length, 0);
});

describe("an answer that is not what was asked for is refused", () => {
  const cases: readonly (readonly [string, RegExp, (fake: FakeAuthority) => Behaviour])[] = [
    [
      "another key",
      /another key/,
      (fake) =>
        async (stream, { request }) => {
          const { csrPem, key } = await newRequest(web.text);
          key.wipe();
          succeed(stream, [await fake.sign({ ...request, csrPem })]);
        },
    ],
    ["nothing", /no certificate/, () => (stream) => succeed(stream, [])],
    ["no certificate", /something else/, () => (stream) => succeed(stream, ["hello"])],
    [
      "a certificate and something else",
      /something else/,
      (fake) =>
        async (stream, { request }) =>
          succeed(stream, [await fake.sign(request), "-----BEGIN PRIVATE KEY-----"]),
    ],
    [
      "bytes that are no certificate",
      /cannot be read/,
      () => (stream) => succeed(stream, ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]),
    ],
    [
      "too many certificates",
      /over 16/,
      (fake) =>
        async (stream, { request }) =>
          succeed(
            stream,
            [await fake.sign(request), ...Array<string>(16).fill(root.pem)].slice(0, 2).concat(root.pem.repeat(16)),
          ),
    ],
    [
      "its own root in the answer",
      /no trusted root/,
      (fake) =>
        async (stream, { request }) =>
          succeed(stream, [await fake.sign(request, otherRoot.issuer), otherRoot.pem]),
    ],
    [
      "a life that is longer",
      /asked for 600 s/,
      (fake) =>
        async (stream, { request }) =>
          succeed(stream, [
            await fake.sign(request, root.issuer, {
              notBefore: new Date(),
              notAfter: new Date(Date.now() + 3_600_000),
            }),
          ]),
    ],
    [
      "a life that is over",
      /expired already/,
      (fake) =>
        async (stream, { request }) =>
          succeed(stream, [
            await fake.sign(request, root.issuer, {
              notBefore: new Date(Date.now() - 7_200_000),
              notAfter: new Date(Date.now() - 3_600_000),
            }),
          ]),
    ],
    [
      "a life that has not begun",
      /not valid yet/,
      (fake) =>
        async (stream, { request }) =>
          succeed(stream, [
            await fake.sign(request, root.issuer, {
              notBefore: new Date(Date.now() + 900_000),
              notAfter: new Date(Date.now() + 1_000_000),
            }),
          ]),
    ],
    [
      "no message of gRPC",
      /not one message/,
      () => (stream) => finish(stream, Buffer.from("hello"), { "grpc-status": "0" }),
    ],
    [
      "no message of this service",
      /IstioCertificateResponse/,
      () => (stream) => finish(stream, frameGrpcMessage(Buffer.from([0x0b])), { "grpc-status": "0" }),
    ],
    [
      "a compressed message",
      /not one message/,
      () => (stream) => {
        const framed = Buffer.from(frameGrpcMessage(encodeCertificateAnswer([root.pem])));
        framed[0] = 1;
        finish(stream, framed, { "grpc-status": "0" });
      },
    ],
  ];
  for (const [name, expected, behaviour] of cases) {
    test(name, async (t) => {
      const { fake, provider } = await setUp(t);
      fake.behaviour = behaviour(fake);
      await assert.rejects(provider.issue(web, never), expected);
    });
  }

  test("another identity, which the authority has signed for the right key", async (t) => {
    const { fake, provider } = await setUp(t);
    const { signAnyone } = await import("./csr.fake.ts");
    fake.behaviour = async (stream, { request }) =>
      succeed(stream, [await signAnyone(root.issuer, request.csrPem, "spiffe://cluster.local/ns/shop/sa/admin")]);
    await assert.rejects(provider.issue(web, never), /asked for .*sa\/web, .* is of .*sa\/admin/);
  });
});

describe("answers that are none", () => {
  const cases: readonly (readonly [string, RegExp, Behaviour])[] = [
    [
      "a page of a proxy",
      /no gRPC: HTTP status 200, "text\/html"/,
      (stream) => {
        stream.respond({ ":status": 200, "content-type": "text/html" });
        stream.end("<html>");
      },
    ],
    [
      "a 503 of a proxy",
      /no gRPC: HTTP status 503/,
      (stream) => {
        stream.respond({ ":status": 503 });
        stream.end();
      },
    ],
    [
      "no trailers",
      /cut off/,
      (stream) => {
        stream.respond({ ":status": 200, "content-type": "application/grpc" });
        stream.end();
      },
    ],
    ["too many bytes", /over 262144 bytes/, (stream) => finish(stream, Buffer.alloc(300_000), { "grpc-status": "0" })],
    ["the end of the connection", /./, (stream) => stream.session?.destroy()],
  ];
  for (const [name, expected, behaviour] of cases) {
    test(`${name}: asked three times, then an error`, async (t) => {
      const { fake, provider } = await setUp(t);
      fake.behaviour = behaviour;
      await assert.rejects(provider.issue(web, never), expected);
      assert.equal(fake.asked.length, 3);
    });
  }

  test("what passes is forgotten", async (t) => {
    const { fake, provider } = await setUp(t);
    fake.behaviour = (stream) => {
      if (fake.asked.length === 2) fake.behaviour = null;
      refuse(stream, "UNAVAILABLE", "in a moment");
    };
    (await provider.issue(web, never)).key.wipe();
    assert.equal(fake.asked.length, 3);
  });

  test("a refusal is no outage: it is not asked again, and its text is fit for a log", async (t) => {
    const { fake, provider } = await setUp(t);
    fake.behaviour = (stream) => refuse(stream, "PERMISSION_DENIED", `no pod\n of shop/web here ${"x".repeat(999)}`);
    await assert.rejects(provider.issue(web, never), /^Error: PERMISSION_DENIED: no pod {2}of shop\/web here x{270,}$/);
    assert.equal(fake.asked.length, 1);
  });

  test("silence ends with the caller's patience", async (t) => {
    const { fake, provider } = await setUp(t);
    const patience = new AbortController();
    fake.behaviour = () => patience.abort(new Error("no answer in 10 s"));
    await assert.rejects(provider.issue(web, patience.signal), /no answer in 10 s/);
  });
});

test("while the authority is away a certificate serves to its notAfter, then there is none, and the reason is said", async (t) => {
  const { fake, provider } = await setUp(t);
  const clock = new FakeClock();
  const happened: string[] = [];
  let waiting = Promise.withResolvers<void>();
  const happens = (what: string): void => {
    happened.push(what);
    waiting.resolve();
    waiting = Promise.withResolvers();
  };
  // Issued by the real clock, held by the test's clock: what counts is how long it is valid.
  clock.jumpWall(Date.now() - clock.wallMs());
  // Only what the network says ends a question here.
  const certificates = new Certificates(
    { issueTimeoutMs: 1_000_000_000 },
    {
      provider,
      clock,
      random: () => 0,
      install: () => happens("installed"),
      drop: () => happens("dropped"),
      failed: (_id, error, usableMs) => happens(usableMs > 0 ? "failed, still valid" : `failed: ${error.message}`),
    },
  );
  t.after(() => certificates.close());
  const next = (): Promise<void> => waiting.promise;
  const installed = next();
  certificates.hold(web);
  await installed;
  // Every connection ends without an answer.
  fake.behaviour = (stream) => stream.session?.destroy();
  let seen = next();
  await clock.advance(300_000);
  await seen;
  assert.deepEqual(happened, ["installed", "failed, still valid"]);
  assert.equal(certificates.view()[0]?.state, "available");
  for (let tries = 0; tries < 40 && happened.at(-1) === "failed, still valid"; tries++) {
    seen = next();
    await clock.advance(150_000);
    await seen;
  }
  assert.equal(certificates.view()[0]?.state, "unavailable");
  assert.ok(happened.includes("dropped"));
  assert.match(certificates.view()[0]?.lastError ?? "", /ended the|ECONNRESET|closed/);
  fake.behaviour = null;
  clock.jumpWall(Date.now() - clock.wallMs());
  // A question that was under way may fail once more.
  while (happened.at(-1) !== "installed") {
    seen = next();
    await clock.advance(150_000);
    await seen;
  }
  assert.equal(certificates.view()[0]?.state, "available");
});
