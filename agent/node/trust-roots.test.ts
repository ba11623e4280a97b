// Roots that a node trusts: read again and again, and kept where that fails.
import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { EmbeddedAuthority } from "../identity/embedded.ts";
import { fakeLog, scratch, until } from "./built.fake.ts";
import { followRoots } from "./trust-roots.ts";

describe("trust roots", () => {
  test("are read at once and again; a failure keeps what is known; closing ends it", async (t) => {
    const options = { leafTtlSeconds: 3_600, trustDomain: "cluster.local" };
    const authority = new EmbeddedAuthority({ ...options, rootFile: join(scratch(t), "ca.pem") }, { wallMs: Date.now });
    const other = new EmbeddedAuthority({ ...options, rootFile: join(scratch(t), "ca.pem") }, { wallMs: Date.now });
    await Promise.all([authority.prepare(), other.prepare()]);
    const installed: string[] = [];
    const log = fakeLog();
    const troubles: string[] = [];
    let reads = 0;
    let asked = 0;
    const { close } = await followRoots({
      provider: {
        roots: async () => {
          asked += 1;
          if (asked === 2 || asked === 3) throw new Error("no answer");
          const own = await authority.roots();
          return asked > 4 ? [...own, ...(await other.roots())] : own;
        },
      },
      trustDomain: "cluster.local",
      installRoots: (pem) => void installed.push(pem),
      onRead: () => {
        reads += 1;
      },
      onTrouble: (why) => void troubles.push(why),
      log: log.room("identity"),
      everyMs: 1,
    });
    assert.deepEqual([reads, installed.length], [1, 1]);
    await until(() => reads >= 5);
    await close();
    assert.deepEqual(log.lines, [
      "identity error the roots could not be read: those that were known stay trusted: Error: no answer",
      "identity info the trusted roots changed",
    ]);
    assert.deepEqual(troubles, ["no answer", ""]);
    assert.deepEqual(
      installed.map((pem) => pem.match(/BEGIN CERTIFICATE/g)?.length),
      [1, 2],
      "the same roots are installed once",
    );
    const last = asked;
    await turn();
    await turn();
    assert.equal(asked, last);
  });
});
