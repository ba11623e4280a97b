// Certificates over time, on a clock that tests turn: half-life, jitter, an authority that is down (docs/reference/failures.md, D5 and D7).
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { FakeClock, settle } from "../../test/support/fake-clock.ts";
import { HostileAuthority, uri } from "../../test/support/hostile-certificates.ts";
import { type SpiffeId, spiffeId } from "../mesh/spiffe-id.ts";
import { Certificates, type CertificatesOptions, type Installed } from "./certificates.ts";
import type { IssuedCertificate, Provider } from "./provider.ts";
import { Secret } from "./secret.ts";

const DAY = 86_400_000;
const web = spiffeId("cluster.local", "shop", "web");
const id = (name: string): SpiffeId => spiffeId("cluster.local", "shop", name);
const signer = new HostileAuthority();

/** An authority that can be down, slow, wrong; real certificates with the fake clock's times. */
class FakeAuthority implements Provider {
  readonly name = "fake";
  readonly asked: string[] = [];
  readonly keys: Secret[] = [];
  behaviour: "answers" | "fails" | "hangs" | "lies" | "expired" = "answers";
  skewMs = 0;
  readonly #clock: FakeClock;

  constructor(clock: FakeClock) {
    this.#clock = clock;
  }

  async issue(identity: SpiffeId): Promise<IssuedCertificate> {
    this.asked.push(identity.text);
    if (this.behaviour === "fails") throw new Error("authority is down");
    if (this.behaviour === "hangs") await new Promise(() => undefined);
    const now = this.#clock.wallMs() + this.skewMs;
    const notBeforeMs = now - 300_000;
    const notAfterMs = this.behaviour === "expired" ? now - 1 : now + DAY;
    const text = this.behaviour === "lies" ? id("somebody-else").text : identity.text;
    const made = signer.named(uri(text));
    const key = new Secret(made.pkcs8);
    this.keys.push(key);
    return { chainPem: made.pem, key, notBeforeMs, notAfterMs };
  }

  async roots(): Promise<readonly string[]> {
    return [signer.root.pem];
  }
}

type Setup = {
  readonly clock: FakeClock;
  readonly ca: FakeAuthority;
  readonly certificates: Certificates;
  readonly installed: (Omit<Installed, "pkcs8"> & { readonly keyBytes: number; readonly pkcs8: Uint8Array })[];
  readonly dropped: number[];
  readonly failures: number[];
};

function setup(random: () => number = () => 0.5, options: CertificatesOptions = {}): Setup {
  const clock = new FakeClock();
  const ca = new FakeAuthority(clock);
  const installed: Setup["installed"] = [];
  const dropped: number[] = [];
  const failures: number[] = [];
  const certificates = new Certificates(options, {
    provider: ca,
    clock,
    random,
    install: (one) => void installed.push({ ...one, keyBytes: one.pkcs8.length }),
    drop: (identity) => void dropped.push(identity),
    failed: (_, __, usableMs) => void failures.push(usableMs),
  });
  return { clock, ca, certificates, installed, dropped, failures };
}

test("the first holder gets a certificate, the key leaves at once, the last holder takes it along", async () => {
  const { certificates, installed, dropped, ca, clock } = setup();
  const identity = certificates.hold(web);
  assert.equal(certificates.hold(web), identity);
  assert.equal(certificates.isReady(web), false);
  await settle();
  assert.equal(certificates.isReady(web), true);
  assert.equal(installed.length, 1);
  assert.equal(installed[0]?.identity, identity);
  assert.equal(installed[0]?.rotated, false);
  assert.ok((installed[0]?.keyBytes ?? 0) > 100);
  assert.ok(
    installed[0]?.pkcs8.every((byte) => byte === 0),
    "overwritten once install returned",
  );
  assert.ok(ca.keys.every((key) => !key.held));
  assert.equal(certificates.view()[0]?.state, "available");
  assert.equal(
    certificates.view()[0]?.serial,
    new X509Certificate(installed[0]?.chainPem ?? "").serialNumber.toLowerCase(),
  );
  certificates.release(web);
  assert.deepEqual(dropped, []);
  certificates.release(web);
  assert.deepEqual(dropped, [identity]);
  assert.equal(certificates.isReady(web), false);
  assert.deepEqual(certificates.view(), []);
  assert.equal(clock.pending, 0);
  certificates.release(web);
  assert.deepEqual(dropped, [identity]);
});

test("renewal falls between 40 % and 50 % of the life, spread by chance", async () => {
  await fc.assert(
    fc.asyncProperty(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), async (chance) => {
      const { certificates, installed, clock } = setup(() => chance);
      certificates.hold(web);
      await settle();
      await clock.advance(DAY * 0.4 - 1);
      assert.equal(installed.length, 1);
      await clock.advance(DAY * 0.1 + 2);
      assert.equal(installed.length, 2);
      assert.equal(installed[1]?.rotated, true);
      assert.equal(installed[1]?.identity, installed[0]?.identity);
      certificates.close();
    }),
    { numRuns: 25 },
  );
});

test("an authority that is down at half-life: nothing is lost before notAfter, nothing is left after it", async () => {
  const { certificates, installed, dropped, failures, ca, clock } = setup();
  const identity = certificates.hold(web);
  await settle();
  ca.behaviour = "fails";
  await clock.advance(DAY - 1);
  assert.equal(certificates.view()[0]?.state, "available");
  assert.deepEqual(dropped, []);
  assert.ok(failures.length > 100, "it kept trying");
  assert.ok(failures.length < 1_000, "and did not hammer");
  assert.ok(failures.every((usableMs) => usableMs > 0));
  assert.match(certificates.view()[0]?.lastError ?? "", /down/);
  await clock.advance(1);
  assert.equal(certificates.view()[0]?.state, "unavailable");
  assert.deepEqual(dropped, [identity]);
  assert.equal(await certificates.ready(web, AbortSignal.abort()), false);
  ca.behaviour = "answers";
  await clock.advance(150_000);
  assert.equal(certificates.view()[0]?.state, "available");
  assert.equal(installed.length, 2);
  assert.equal(installed[1]?.rotated, false);
  assert.deepEqual(dropped, [identity]);
});

test("a renewal that fails for an hour and then works drops nothing", async () => {
  const { certificates, installed, dropped, ca, clock } = setup();
  certificates.hold(web);
  await settle();
  ca.behaviour = "fails";
  await clock.advance(DAY / 2 + 3_600_000);
  ca.behaviour = "answers";
  await clock.advance(150_000);
  assert.equal(installed.length, 2);
  assert.deepEqual(dropped, []);
  assert.equal(certificates.view()[0]?.lastError, "");
});

test("retries grow to 150 s at most, from at most 1 s", async () => {
  const { certificates, ca, clock } = setup(() => 0.999);
  ca.behaviour = "fails";
  certificates.hold(web);
  await settle();
  assert.equal(ca.asked.length, 1);
  await clock.advance(1_000);
  assert.equal(ca.asked.length, 2);
  await clock.advance(3_600_000);
  const before = ca.asked.length;
  await clock.advance(150_000);
  assert.equal(ca.asked.length, before + 1);
});

test("an authority that never answers is given up and asked again; it does not block the others", async () => {
  const { certificates, ca, clock, installed } = setup(undefined, { concurrency: 1, issueTimeoutMs: 10_000 });
  ca.behaviour = "hangs";
  certificates.hold(web);
  certificates.hold(id("api"));
  await settle();
  assert.deepEqual(ca.asked, [web.text]);
  ca.behaviour = "answers";
  await clock.advance(10_000);
  assert.deepEqual(ca.asked.slice(0, 2), [web.text, id("api").text]);
  await clock.advance(1_000);
  assert.deepEqual(new Set(installed.map((one) => one.spiffeId.text)), new Set([web.text, id("api").text]));
});

test("a certificate of somebody else, or one that has expired, is refused and the old one stays", async () => {
  for (const behaviour of ["lies", "expired"] as const) {
    const { certificates, ca, clock, installed, dropped } = setup();
    certificates.hold(web);
    await settle();
    ca.behaviour = behaviour;
    await clock.advance(DAY * 0.6);
    assert.equal(installed.length, 1);
    assert.deepEqual(dropped, []);
    assert.match(certificates.view()[0]?.lastError ?? "", behaviour === "lies" ? /somebody-else/ : /clocks/);
    assert.ok(
      ca.keys.every((key) => !key.held),
      "keys of refused answers are wiped too",
    );
    certificates.close();
  }
});

test("no more requests at once than allowed; one that a connection waits for goes first", async () => {
  const { certificates, ca, clock } = setup(undefined, { concurrency: 2 });
  ca.behaviour = "hangs";
  for (const name of ["a", "b", "c", "d", "e"]) certificates.hold(id(name));
  await settle();
  assert.equal(ca.asked.length, 2);
  const ready = certificates.ready(id("e"));
  ca.behaviour = "answers";
  await clock.advance(10_000);
  assert.equal(ca.asked[2], id("e").text);
  assert.equal(await ready, true);
});

test("ready ends without a certificate when nobody holds the identity, on abort and on close", async () => {
  const { certificates, ca } = setup();
  ca.behaviour = "hangs";
  assert.equal(await certificates.ready(id("nobody")), false);
  certificates.hold(web);
  const abort = new AbortController();
  const aborted = certificates.ready(web, abort.signal);
  const released = certificates.ready(web);
  await settle();
  abort.abort();
  assert.equal(await aborted, false);
  certificates.release(web);
  assert.equal(await released, false);
  certificates.hold(web);
  const closed = certificates.ready(web);
  certificates.close();
  assert.equal(await closed, false);
});

test("released while the authority is asked: the late answer installs nothing", async () => {
  const { certificates, installed, dropped, ca } = setup();
  certificates.hold(web);
  certificates.release(web);
  await settle();
  assert.equal(ca.asked.length, 1);
  assert.deepEqual(installed, []);
  assert.deepEqual(dropped, []);
  assert.ok(ca.keys.every((key) => !key.held));
});

test("a wall clock that jumps by an hour, either way, moves neither renewal nor end", async () => {
  for (const jump of [3_600_000, -3_600_000]) {
    const { certificates, installed, clock } = setup(() => 0);
    certificates.hold(web);
    await settle();
    clock.jumpWall(jump);
    await clock.advance(DAY / 2 - 1);
    assert.equal(installed.length, 1);
    await clock.advance(1);
    assert.equal(installed.length, 2);
    certificates.close();
  }
});

test("an authority whose clock is five minutes off: used, and never longer than its certificates say", async () => {
  for (const skewMs of [-300_000, 300_000]) {
    const { certificates, ca, clock } = setup();
    ca.skewMs = skewMs;
    certificates.hold(web);
    await settle();
    assert.equal(certificates.view()[0]?.state, "available");
    ca.behaviour = "fails";
    await clock.advance(DAY + 300_000);
    assert.equal(certificates.view()[0]?.state, "unavailable");
    certificates.close();
  }
});

test("an engine that refuses the certificate keeps the old one in force", async () => {
  const clock = new FakeClock();
  let refuse = false;
  const seen: Uint8Array[] = [];
  const certificates = new Certificates(
    {},
    {
      provider: new FakeAuthority(clock),
      clock,
      install: ({ pkcs8 }) => {
        seen.push(pkcs8);
        if (refuse) throw new Error("key does not match");
      },
      drop: () => assert.fail("dropped"),
    },
  );
  certificates.hold(web);
  await settle();
  refuse = true;
  await clock.advance(DAY * 0.7);
  assert.equal(certificates.view()[0]?.state, "available");
  assert.match(certificates.view()[0]?.lastError ?? "", /does not match/);
  assert.ok(seen.length > 1 && seen.every((bytes) => bytes.every((byte) => byte === 0)));
  certificates.close();
});
