// The root's Secret: made once, by the first of several replicas, never overwritten, and without it nothing is signed; a change of roots overlaps.
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test } from "node:test";
import type { ApiAnswer } from "../control/kubernetes/api-answer.ts";
import { FakeApi, jsonAnswer } from "./api.fake.ts";
import { ClusterApi } from "./cluster.ts";
import { NotIssued } from "./not-issued.ts";
import { CERTIFICATE, KEY, newRootData, ROOTS } from "./root.ts";
import { BUNDLE, RootKeeper } from "./root-keeper.ts";

const SECRET = "/api/v1/namespaces/orlop-system/secrets/orlop-control-root";
const CONFIG_MAP = "/api/v1/namespaces/orlop-system/configmaps/orlop-root-cert";
const SPREAD = 300_000;
const DAY = 86_400_000;
const signal = new AbortController().signal;

function setUp() {
  const api = new FakeApi();
  const clock = { now: Date.now() };
  const replica = () =>
    new RootKeeper(
      {
        ...{ namespace: "orlop-system", secret: "orlop-control-root", configMap: "orlop-root-cert" },
        ...{ trustDomain: "cluster.local", spreadMs: SPREAD, keepMs: DAY },
      },
      { api: new ClusterApi(api.ask), wallMs: () => clock.now },
    );
  const bundle = (): readonly string[] =>
    [...(api.dataOf(CONFIG_MAP)[BUNDLE] ?? "").matchAll(/-----BEGIN[^-]+-----[^-]+-----END[^-]+-----/g)].map(
      ([pem]) => new X509Certificate(pem).fingerprint256,
    );
  return { api, clock, replica, bundle };
}
const refuses = (keeper: RootKeeper, why: RegExp): void =>
  assert.throws(
    () => keeper.signing,
    (error) => error instanceof NotIssued && error.code === "FAILED_PRECONDITION" && why.test(error.message),
  );
const inBase64 = (text: string): string => Buffer.from(text).toString("base64");
const certificateIn = (data: Readonly<Record<string, string>>): X509Certificate =>
  new X509Certificate(Buffer.from(data[CERTIFICATE] ?? "", "base64"));

test("replicas that start at once come to one root, and both sign by it at once", async () => {
  const { api, replica, bundle } = setUp();
  const replicas = Array.from({ length: 5 }, replica);
  const keeper = replicas[0] ?? assert.fail();
  refuses(keeper, /not read yet/);
  await Promise.allSettled(replicas.map((each) => each.look(signal)));
  await Promise.all(replicas.map((each) => each.look(signal)));
  const fingerprints = new Set(replicas.map((each) => each.signing.fingerprint));
  assert.equal(fingerprints.size, 1);
  assert.deepEqual(new Set(bundle()), fingerprints);
  const secret = api.stored.get(SECRET);
  assert.equal(secret?.object.type, "kubernetes.io/tls");
  assert.ok(!api.asked.some((asked) => /^(PUT|DELETE) .*secrets/.test(asked)), "a Secret is never overwritten");
  const before = secret?.version;
  await keeper.look(signal);
  assert.equal(api.stored.get(SECRET)?.version, before);
});

test("a Secret that is gone: nothing is signed, none is made, and it says what to do; restored, all is as before", async () => {
  const { api, replica } = setUp();
  const keeper = replica();
  await keeper.look(signal);
  const { fingerprint } = keeper.signing;
  const backup = api.stored.get(SECRET)?.object ?? assert.fail();
  api.stored.delete(SECRET);
  const fresh = replica();
  for (const each of [keeper, fresh, keeper]) {
    await assert.rejects(each.look(signal), /is gone: restore it from a backup/);
    refuses(each, /restore it from a backup.*delete the ConfigMap orlop-root-cert/);
  }
  assert.equal(api.stored.get(SECRET), undefined);
  // A replica that has seen a root makes no other, even when the ConfigMap is gone too.
  const published = api.stored.get(CONFIG_MAP)?.object ?? assert.fail();
  api.stored.delete(CONFIG_MAP);
  await assert.rejects(keeper.look(signal), /is gone/);
  api.put(CONFIG_MAP, published);
  api.put(SECRET, backup);
  for (const each of [keeper, fresh]) {
    await each.look(signal);
    assert.equal(each.signing.fingerprint, fingerprint);
  }
});

test("what is no answer of the API server makes no root, and changes none", async () => {
  const faults: readonly (() => ApiAnswer)[] = [
    () => jsonAnswer(404, { kind: "Status", reason: "NotFound", details: { name: "another" } }),
    () => ({ ...jsonAnswer(404, {}), contentType: "text/html" }),
    () => jsonAnswer(403, { kind: "Status", reason: "Forbidden" }),
    () => jsonAnswer(503, {}),
    () => jsonAnswer(200, { kind: "Status" }),
    () => ({ ...jsonAnswer(200, {}), contentType: "text/html" }),
    () => {
      throw new Error("connection refused");
    },
  ];
  for (const fault of faults) {
    const { api, replica } = setUp();
    const keeper = replica();
    api.fault = fault;
    await assert.rejects(keeper.look(signal));
    refuses(keeper, /not read yet/);
    assert.ok(!api.asked.some((asked) => asked.startsWith("POST")), "nothing was made");
    api.fault = null;
    await keeper.look(signal);
    const { fingerprint } = keeper.signing;
    api.fault = fault;
    await assert.rejects(keeper.look(signal));
    assert.equal(keeper.signing.fingerprint, fingerprint);
  }
});

test("a changed root is published first, signs when every node has it, and the old one stays until its certificates have ended", async () => {
  const { api, clock, replica, bundle } = setUp();
  const keeper = replica();
  await keeper.look(signal);
  const old = keeper.signing.fingerprint;
  const data = await newRootData("cluster.local", clock.now);
  const fresh = certificateIn(data).fingerprint256;
  clock.now += DAY;
  api.put(SECRET, { data });
  await keeper.look(signal);
  assert.deepEqual(bundle(), [fresh, old]);
  assert.equal(keeper.signing.fingerprint, old);
  // A replica that starts now has no old key.
  const restarted = replica();
  await restarted.look(signal);
  refuses(restarted, /a new root is being published: certificates come from it in 300 s/);
  clock.now += SPREAD;
  for (const each of [keeper, restarted]) {
    await each.look(signal);
    assert.equal(each.signing.fingerprint, fresh);
  }
  assert.deepEqual(bundle(), [fresh, old]);
  clock.now += DAY;
  await keeper.look(signal);
  assert.deepEqual(bundle(), [fresh]);
});

test("a Secret that is wrong leaves in force what was read before, and says what is wrong without its key", async () => {
  const { api, clock, replica, bundle } = setUp();
  const keeper = replica();
  await keeper.look(signal);
  const { fingerprint } = keeper.signing;
  const good = api.dataOf(SECRET);
  const other = await newRootData("cluster.local", clock.now);
  const cases: readonly (readonly [Readonly<Record<string, string>>, RegExp])[] = [
    [{}, /has no tls\.crt/],
    [{ ...good, [KEY]: "" }, /has no tls\.key/],
    [{ ...good, [KEY]: other[KEY] ?? "" }, /does not belong to the first certificate/],
    [{ ...good, [KEY]: inBase64("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----") }, /tls\.key/],
    [{ ...good, [CERTIFICATE]: inBase64("-----BEGIN CERT") }, /cut off|something else/],
    [{ ...good, [ROOTS]: inBase64("") }, /no certificate/],
  ];
  for (const [data, why] of cases) {
    api.put(SECRET, { data });
    await assert.rejects(keeper.look(signal), why);
    assert.equal(keeper.signing.fingerprint, fingerprint);
    assert.deepEqual(bundle(), [fingerprint]);
    const fresh = replica();
    await assert.rejects(fresh.look(signal), why);
    refuses(fresh, /not read yet/);
  }
});

test("a ConfigMap that somebody changes becomes what it was; a root that somebody added is not kept", async () => {
  const { api, clock, replica, bundle } = setUp();
  const keeper = replica();
  await keeper.look(signal);
  const before = bundle();
  const theirs = Buffer.from((await newRootData("cluster.local", clock.now))[CERTIFICATE] ?? "", "base64").toString();
  const { object } = api.stored.get(CONFIG_MAP) ?? assert.fail();
  api.put(CONFIG_MAP, { ...object, data: { [BUNDLE]: `${api.dataOf(CONFIG_MAP)[BUNDLE]}${theirs}` } });
  await keeper.look(signal);
  assert.deepEqual(bundle(), before);
  api.put(CONFIG_MAP, { data: { [BUNDLE]: "nonsense", other: "theirs" } });
  await keeper.look(signal);
  assert.deepEqual([bundle(), api.dataOf(CONFIG_MAP).other], [before, "theirs"]);
});

for (const [what, lose] of [
  ["without its times", (api: FakeApi) => api.put(CONFIG_MAP, { data: api.dataOf(CONFIG_MAP) })],
  ["deleted", (api: FakeApi) => void api.stored.delete(CONFIG_MAP)],
] as const) {
  test(`a ConfigMap that is ${what}: a new root still waits until nodes have it, and an old root stays`, async () => {
    const { api, clock, replica, bundle } = setUp();
    const keeper = replica();
    await keeper.look(signal);
    const old = keeper.signing.fingerprint;
    clock.now += DAY;
    const data = await newRootData("cluster.local", clock.now);
    const fresh = certificateIn(data).fingerprint256;
    api.put(SECRET, { data });
    lose(api);
    await keeper.look(signal);
    assert.deepEqual([bundle(), keeper.signing.fingerprint], [[fresh, old], old]);
    lose(api);
    await keeper.look(signal);
    assert.deepEqual([bundle(), keeper.signing.fingerprint], [[fresh, old], old]);
    clock.now += SPREAD;
    await keeper.look(signal);
    assert.equal(keeper.signing.fingerprint, fresh);
    lose(api);
    await keeper.look(signal);
    assert.deepEqual([bundle(), keeper.signing.fingerprint], [[fresh, old], fresh]);
    clock.now += DAY;
    await keeper.look(signal);
    assert.deepEqual(bundle(), [fresh]);
  });
}

test("a replica that starts and finds no times takes nothing from a replica that signs by the old root", async () => {
  const { api, clock, replica, bundle } = setUp();
  const keeper = replica();
  await keeper.look(signal);
  const old = keeper.signing.fingerprint;
  clock.now += DAY;
  const data = await newRootData("cluster.local", clock.now);
  api.put(SECRET, { data });
  api.put(CONFIG_MAP, { data: api.dataOf(CONFIG_MAP) });
  await replica().look(signal);
  await keeper.look(signal);
  assert.deepEqual([bundle(), keeper.signing.fingerprint], [[certificateIn(data).fingerprint256, old], old]);
});

for (const [what, lose, patienceMs] of [
  ["without its times", (api: FakeApi) => api.put(CONFIG_MAP, { data: api.dataOf(CONFIG_MAP) }), 0],
  ["emptied", (api: FakeApi) => api.put(CONFIG_MAP, { data: {} }), 0],
  ["deleted", (api: FakeApi) => void api.stored.delete(CONFIG_MAP), 10_000],
] as const) {
  test(`replicas that start beside a ConfigMap that is ${what} wait until nodes have the root, all of them and after restarts`, async () => {
    const { api, clock, replica } = setUp();
    await replica().look(signal);
    // Nodes have the first root, and no replica that knows of it lives any more.
    clock.now += DAY;
    const data = await newRootData("cluster.local", clock.now);
    api.put(SECRET, { data });
    lose(api);
    const replicas = [replica(), replica()];
    await Promise.allSettled(replicas.map((each) => each.look(signal)));
    clock.now += patienceMs;
    for (const each of replicas) await each.look(signal).catch(() => each.look(signal));
    const waiting = [...replicas, replica()];
    for (const each of waiting) {
      await each.look(signal);
      refuses(each, /a new root is being published: certificates come from it in 300 s/);
    }
    clock.now += SPREAD - 1;
    for (const each of waiting) {
      await each.look(signal);
      refuses(each, /in 1 s/);
    }
    clock.now += 1;
    for (const each of [...waiting, replica()]) {
      await each.look(signal);
      assert.equal(each.signing.fingerprint, certificateIn(data).fingerprint256);
    }
  });
}

test("a root that could not be published at once is the first all the same, and the other replica waits for it", async () => {
  const { api, clock, replica } = setUp();
  const [maker, other] = [replica(), replica()];
  api.fault = (path, { write }) => {
    if (!path.includes("configmaps") || !write) return undefined;
    api.stored.delete(CONFIG_MAP);
    return jsonAnswer(503, {});
  };
  await assert.rejects(maker.look(signal), /503/);
  for (let second = 0; second < 9; second++) {
    clock.now += 1_000;
    await assert.rejects(other.look(signal), /the replica that made the root publishes it/);
    refuses(other, /the replica that made the root publishes it/);
    await assert.rejects(maker.look(signal), /503/);
  }
  api.fault = null;
  await maker.look(signal);
  await other.look(signal);
  assert.equal(other.signing.fingerprint, maker.signing.fingerprint);
});

test("a root that a clock of tomorrow has published signs when nodes have it, by the clock that is right", async () => {
  const { api, clock, replica } = setUp();
  await replica().look(signal);
  const old = certificateIn(api.dataOf(SECRET)).fingerprint256;
  clock.now += 10 * DAY;
  const data = await newRootData("cluster.local", clock.now - 10 * DAY);
  const fresh = certificateIn(data).fingerprint256;
  api.put(SECRET, { data });
  await replica().look(signal);
  clock.now -= 10 * DAY;
  const keeper = replica();
  await keeper.look(signal);
  refuses(keeper, /come from it in 300 s/);
  clock.now += SPREAD;
  await keeper.look(signal);
  assert.equal(keeper.signing.fingerprint, fresh);
  assert.notEqual(old, fresh);
});

test("a root that nobody could be given signs nothing", async () => {
  const { api, replica } = setUp();
  const keeper = replica();
  api.fault = (path, { write }) => (path.includes("configmaps") && write ? jsonAnswer(403, {}) : undefined);
  await assert.rejects(keeper.look(signal), /403/);
  refuses(keeper, /not read yet/);
});

test("a root that has expired signs nothing", async () => {
  const { clock, replica } = setUp();
  const keeper = replica();
  await keeper.look(signal);
  clock.now += 11 * 365 * DAY;
  refuses(keeper, /has expired/);
});
