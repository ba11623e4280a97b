// Certificates of a node's identities: into the engine first, out with the last holder; a failure is counted.
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";
import { EmbeddedAuthority } from "../identity/embedded.ts";
import type { Provider } from "../identity/provider.ts";
import { spiffeId } from "../mesh/spiffe-id.ts";
import type { MainMessage } from "../threads/messages.ts";
import { AgentCounts } from "./agent-counts.ts";
import { fakeLog, scratch, until } from "./built.fake.ts";
import { holdCertificates } from "./certificates.ts";

describe("certificates", () => {
  const web = spiffeId("cluster.local", "shop", "web");

  function setUp(issue: Provider["issue"]) {
    const installed: number[] = [];
    const dropped: number[] = [];
    const sent: MainMessage[] = [];
    const log = fakeLog();
    const counts = new AgentCounts(null);
    const { thing, close } = holdCertificates({
      provider: { name: "fake", issue, roots: async () => [] },
      engine: {
        installIdentity: (identity) => void installed.push(identity),
        dropIdentity: (identity) => void dropped.push(identity),
      },
      threads: { tell: (message) => void sent.push(message) },
      counts,
      log: log.room("identity"),
    });
    return { thing, close, installed, dropped, sent, counts, log };
  }

  test("a failure is counted and reported; closing ends the attempts", async () => {
    const { thing, close, counts, log, installed } = setUp(async () => {
      throw new Error("no answer");
    });
    thing.hold(web);
    await until(() => counts.certificateFailures === 1);
    assert.deepEqual(log.lines, ["identity warn no new certificate: Error: no answer"]);
    await close();
    assert.equal(await thing.ready(web), false);
    assert.deepEqual(installed, []);
  });

  test("a certificate goes into the engine before the threads learn of it, and out with the last holder", async (t) => {
    const rootFile = join(scratch(t), "ca.pem");
    const authority = new EmbeddedAuthority(
      { rootFile, leafTtlSeconds: 3_600, trustDomain: "cluster.local" },
      { wallMs: Date.now },
    );
    await authority.prepare();
    const { thing, close, installed, dropped, sent, log } = setUp((id, signal) => authority.issue(id, signal));
    const identity = thing.hold(web);
    assert.equal(await thing.ready(web), true);
    assert.deepEqual(installed, [identity]);
    assert.deepEqual(sent, [{ op: "identity", identity, spiffeId: web.text, rotated: false }]);
    assert.deepEqual(log.lines, ["identity info certificate installed"]);
    thing.release(web);
    assert.deepEqual(dropped, [identity]);
    assert.deepEqual(sent.at(-1), { op: "identity-dropped", identity, spiffeId: web.text });
    await close();
  });
});
