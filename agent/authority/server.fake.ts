// tests · an authority that serves on loopback, and the agents of two nodes that ask it.
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type ClientHttp2Session, connect } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { newRoot } from "../identity/authority.fake.ts";
import { newServerCertificate } from "../identity/csr.ts";
import { RemoteAuthority } from "../identity/remote-authority.ts";
import { spiffeId } from "../mesh/spiffe-id.ts";
import { FakeApi, type FakePod } from "./api.fake.ts";
import { CertificateService } from "./certificate-service.ts";
import { ClusterApi } from "./cluster.ts";
import { RateLimit } from "./rate-limit.ts";
import type { SigningRoot } from "./root.ts";
import { AuthorityServer } from "./server.ts";

export const never = new AbortController().signal;
export const DAY_MS = 86_400_000;
export const root = await newRoot();
const { fingerprint256: fingerprint, validToDate } = new X509Certificate(root.pem);
const signingRoot: SigningRoot = {
  ...{ issuer: root.issuer, intermediatesPem: "", fingerprint, endsMs: validToDate.getTime() },
  named: [{ pem: root.pem, fingerprint }],
};
export const web = spiffeId("cluster.local", "shop", "web");
export const api = spiffeId("cluster.local", "shop", "api");
export const agentOn = (node: string): FakePod => ({
  ...{ namespace: "orlop-system", name: `agent-${node}`, uid: `uid-${node}`, node, account: "orlop-agent" },
});
export const pod = (account: string, node: string, more: Partial<FakePod> = {}): FakePod => ({
  ...{ namespace: "shop", name: `${account}-1`, uid: `uid-${account}`, node, account, ...more },
});

type SetUp = {
  readonly perAddress?: RateLimit;
  readonly perNode?: RateLimit;
  readonly signing?: () => SigningRoot;
  readonly concurrency?: number;
};

/** An authority that serves, with the API server's double, where node a has the pod of `web` and node b that of `api`; both end with the test. */
export async function setUp(t: TestContext, more: SetUp = {}) {
  const cluster = new FakeApi();
  cluster.pods.push(agentOn("a"), agentOn("b"), pod("web", "a"), pod("api", "b"));
  cluster.issueToken("token-a", agentOn("a"));
  cluster.issueToken("token-b", agentOn("b"));
  const lines: string[] = [];
  const write = (message: string, fields: object = {}): void => void lines.push(`${message} ${JSON.stringify(fields)}`);
  const plenty = () => new RateLimit({ perSecond: 1_000, burst: 1_000 });
  const service = new CertificateService(
    {
      trustDomain: "cluster.local",
      audience: "orlop-ca",
      agentAccounts: ["orlop-system/orlop-agent"],
      leafTtlSeconds: 3_600,
    },
    {
      ...{
        api: new ClusterApi(cluster.ask),
        signing: more.signing ?? (() => signingRoot),
        perNode: more.perNode ?? plenty(),
      },
      ...{ wallMs: Date.now, monotonicMs: () => performance.now() },
    },
  );
  const life = { notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + DAY_MS) };
  const { certificatePem, keyPem } = await newServerCertificate(root.issuer, ["localhost"], life);
  const server = new AuthorityServer(
    {
      service,
      perAddress: more.perAddress ?? plenty(),
      monotonicMs: () => performance.now(),
      log: { info: write, warn: write },
      ...(more.concurrency === undefined ? {} : { concurrency: more.concurrency }),
    },
    { cert: certificatePem, key: keyPem },
  );
  const port = await server.listen("127.0.0.1", 0);
  t.after(() => server.close().catch(() => {}));
  const folder = mkdtempSync(join(tmpdir(), "orlop-control-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const rootsFile = join(folder, "roots.pem");
  writeFileSync(rootsFile, root.pem);
  /** The client of an agent that has this token. */
  const agent = (token: string): RemoteAuthority => {
    const tokenFile = join(folder, token);
    writeFileSync(tokenFile, token);
    const client = new RemoteAuthority(
      {
        ...{ address: `https://localhost:${port}`, tokenFile, rootsFile, serverRootsFile: "" },
        ...{ cluster: "c1", trustDomain: "cluster.local", leafTtlSeconds: 600 },
      },
      { wallMs: Date.now, random: () => 0 },
    );
    t.after(() => client.close());
    return client;
  };
  const session = (localAddress = "127.0.0.1"): ClientHttp2Session => {
    const options = { ca: root.pem, servername: "localhost", localAddress };
    const made = connect(`https://127.0.0.1:${port}`, options);
    t.after(() => made.destroy());
    return made;
  };
  return { cluster, agent, session, lines, port, server };
}
