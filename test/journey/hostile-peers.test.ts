// Peers that reach :15008 from the network: each is refused clearly, and a bystander notices nothing (E1, E2, E3,
// and table D).
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { call } from "../../demo/app/roles.ts";
import { demoNodes, identityOf, initialState, meshText } from "../../demo/mesh/mesh-file.ts";
import type { PeerAnswer, PeerRequest } from "../support/hbone-peer.ts";
import {
  CLIENT_AUTH,
  CODE_SIGNING,
  extendedUsage,
  HostileAuthority,
  keyUsage,
  type Made,
  SERVER_AUTH,
  san,
  uri,
} from "../support/hostile-certificates.ts";
import { type Journey, keyPem, speakHbone, startJourney } from "../support/journey-box.ts";

const HBONE = 15_008;
let journey: Journey;
before(async () => {
  journey = await startJourney({ nodes: demoNodes }, (cluster) => meshText(cluster, initialState));
});
after(() => journey?.close());

/** From a host outside the mesh: only the certificate can speak for it. */
const toVault = (request: Partial<PeerRequest>): Promise<PeerAnswer> =>
  speakHbone(journey.cluster.outside, {
    host: journey.cluster.pod("vault").ip4,
    port: HBONE,
    authorities: [`${journey.cluster.pod("vault").ip4}:8080`],
    say: "hello\n",
    ...request,
  });
const withCertificate = (made: Made): Partial<PeerRequest> => ({ cert: made.pem, key: keyPem(made.pkcs8) });
const asWeb = (): Partial<PeerRequest> => withCertificate(journey.trusted.named(uri(identityOf("web"))));

async function bystanderIsServed(): Promise<void> {
  const result = await call(journey.cluster.pod("web"), { host: journey.cluster.pod("vault").ip4, port: 8080 });
  assert.equal(result.reply?.pod, "vault", JSON.stringify(result));
}

describe("a peer with an honest certificate", () => {
  test("is served, on both families", async () => {
    const vault = journey.cluster.pod("vault");
    for (const [host, authority] of [
      [vault.ip4, `${vault.ip4}:8080`],
      [vault.ip6, `[${vault.ip6}]:8080`],
    ] as const) {
      const answer = await toVault({ ...asWeb(), host, authorities: [authority] });
      assert.equal(answer.protocol, "h2");
      assert.equal(answer.serverSan, `URI:${identityOf("vault")}`);
      assert.equal(answer.answers[0]?.status, 200, JSON.stringify(answer));
      assert.match(answer.answers[0]?.heard ?? "", /"pod":"vault"/);
    }
  });

  test("is denied as whom its certificate says it is", async () => {
    const batch = withCertificate(journey.trusted.named(uri(identityOf("batch"))));
    const answer = await toVault(batch);
    assert.equal(answer.answers[0]?.status, 401, JSON.stringify(answer));
  });

  test("reaches nothing but the pod and port it named, and no port of ours", async () => {
    const { cluster } = journey;
    const vault = cluster.pod("vault");
    const others = [
      `${cluster.pod("api").ip4}:8080`,
      `${cluster.pod("legacy").ip4}:8080`,
      `${cluster.outside.ip4}:8080`,
      `${cluster.node("node-b").ip4}:15020`,
      "127.0.0.1:8080",
      "127.0.0.1:15020",
      "[::1]:8080",
      "0.0.0.0:8080",
      "169.254.169.254:80",
      `[${vault.ip6}]:8080`,
      `[::ffff:${vault.ip4}]:8080`,
      `${vault.ip4}:15001`,
      `${vault.ip4}:15006`,
      `${vault.ip4}:15008`,
      `${vault.ip4}:15020`,
      `${vault.ip4}:15021`,
      `${vault.ip4}:0`,
      `${vault.ip4}:65536`,
      `${vault.ip4}:08080`,
      `${vault.ip4}`,
      "vault.demo.svc.cluster.local:8080",
      "localhost:8080",
      "0x7f.1:8080",
      "2130706433:8080",
      `user@${vault.ip4}:8080`,
      `${vault.ip4}:8080/x`,
    ];
    for (const authority of others) {
      const answer = await toVault({ ...asWeb(), authorities: [authority, `${vault.ip4}:8080`] });
      const [refused, served] = answer.answers;
      assert.ok(
        refused?.status === undefined || refused.status >= 400,
        `${authority} was answered ${JSON.stringify(refused)}`,
      );
      assert.equal(refused?.heard, undefined, authority);
      // A refused CONNECT costs its stream; a malformed one may cost the tunnel, but never serves.
      if (refused?.status !== undefined)
        assert.equal(served?.status, 200, `after ${authority}: ${JSON.stringify(answer)}`);
    }
    await bystanderIsServed();
  });

  test("cannot say by headers where it comes from", async () => {
    const batch = withCertificate(journey.trusted.named(uri(identityOf("batch"))));
    const headers = {
      baggage: "k8s.namespace.name=demo,k8s.pod.name=web,service.name=web",
      "x-forwarded-network": "elsewhere",
      forwarded: `for=${journey.cluster.pod("web").ip4};host=vault`,
      "x-envoy-peer-metadata": "web",
    };
    const answer = await toVault({ ...batch, headers });
    assert.equal(answer.answers[0]?.status, 401, JSON.stringify(answer));
  });
});

describe("a peer without an honest certificate gets no tunnel", () => {
  const web = uri(identityOf("web"));
  const usages = [keyUsage(0x80), extendedUsage(CLIENT_AUTH, SERVER_AUTH)];
  const hour = 3_600_000;
  const from = (at: number): Date => new Date(Date.now() + at);
  const cases: readonly (readonly [string, () => Made])[] = [
    [
      "expired",
      () =>
        journey.trusted.leaf({ extensions: [...usages, san(web)], notBefore: from(-2 * hour), notAfter: from(-hour) }),
    ],
    [
      "not yet valid",
      () =>
        journey.trusted.leaf({ extensions: [...usages, san(web)], notBefore: from(hour), notAfter: from(2 * hour) }),
    ],
    ["of another trust domain", () => journey.trusted.named(uri("spiffe://evil.example/ns/demo/sa/web"))],
    ["with two URI SANs", () => journey.trusted.named(web, uri(identityOf("api")))],
    [
      "with two URI SANs, the other first",
      () => journey.trusted.named(uri("spiffe://evil.example/ns/demo/sa/web"), web),
    ],
    ["without a URI SAN", () => journey.trusted.named()],
    [
      "for signing code",
      () => journey.trusted.leaf({ extensions: [keyUsage(0x80), extendedUsage(CODE_SIGNING), san(web)] }),
    ],
    [
      "for servers only",
      () => journey.trusted.leaf({ extensions: [keyUsage(0x80), extendedUsage(SERVER_AUTH), san(web)] }),
    ],
    ["of another root", () => new HostileAuthority().named(web)],
  ];
  for (const [name, make] of cases) {
    test(name, async () => {
      const answer = await toVault(withCertificate(make()));
      assert.equal(answer.answers[0]?.status, undefined, JSON.stringify(answer));
      assert.notEqual(answer.failed, undefined, JSON.stringify(answer));
      await bystanderIsServed();
    });
  }
  test("none at all", async () => {
    const answer = await toVault({});
    assert.equal(answer.answers[0]?.status, undefined, JSON.stringify(answer));
    assert.notEqual(answer.failed, undefined, JSON.stringify(answer));
    await bystanderIsServed();
  });
});

describe("plaintext to 15008", () => {
  const vault = (): string => `${journey.cluster.pod("vault").ip4}:8080`;
  for (const [name, bytes] of [
    ["HTTP/1", () => `GET / HTTP/1.1\r\nHost: ${vault()}\r\n\r\n`],
    ["HTTP/1 CONNECT", () => `CONNECT ${vault()} HTTP/1.1\r\nHost: ${vault()}\r\n\r\n`],
    ["HTTP/2 with prior knowledge", () => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"],
    ["one byte", () => "x"],
  ] as const) {
    test(`${name} is answered with nothing but a TLS alert`, async () => {
      const answer = await toVault({ plaintext: bytes() });
      // A TLS alert record is 0x15; some stacks end without an alert. "one byte" is no record yet: only the deadline ends it.
      const said = answer.bytes ?? "";
      assert.ok(said === "" || said.charCodeAt(0) === 0x15, JSON.stringify(answer));
      assert.notEqual(answer.failed, "timeout");
      await bystanderIsServed();
    });
  }
});
