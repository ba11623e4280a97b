// tests · where the secrets of a tunnel are: its peer, a process of its own, looks for them in all memory of this process. With our record layer
// they lie in the locked arena alone, and with either layer nothing of them is left when the tunnel has ended (root).
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createInterface } from "node:readline";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { useOwnRecords } from "../../agent/engine/addon.ts";
import { ca, clientEngine, clientLeaf, installBoth, serverEngine, serverLeaf } from "./hbone-pair.ts";
import type { Errand, Finding } from "./secret-seeker.ts";
import { closedAtEnd, dial } from "./support.ts";

const seeker = fileURLToPath(new URL("secret-seeker.ts", import.meta.url));
const SECRETS = ["CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"];
/** Locked (lo), and left out of core dumps (dd). */
const inArena = ({ where }: Finding): boolean => /\blo\b.*\bdd\b/.test(where);
const named = (found: readonly Finding[]): string[] => found.map(({ what, where }) => `${what}: ${where}`);
/** Keys and ivs are in OpenSSL's cipher contexts, too, on its heap. */
const secretsIn = (found: readonly Finding[]): Finding[] => found.filter(({ what }) => !/ (key|iv)$/.test(what));

/** The peer. Each answer is what it finds, "look" when its tunnel is open. */
async function seekingPeer(errand: Errand) {
  const child = spawn(process.execPath, [seeker, JSON.stringify(errand)], { stdio: ["pipe", "pipe", "inherit"] });
  closedAtEnd({ close: () => void child.kill() });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const read = async () => JSON.parse((await lines.next()).value ?? "null");
  return {
    port: errand.role === "server" ? Number(await read()) : errand.port,
    async finds(when: "look" | "update" | "end"): Promise<Finding[]> {
      child.stdin.write(`${when}\n`);
      const found: Finding[] = await read();
      assert.ok(
        found.some(({ what }) => what === "marker"),
        "what is in the memory of this process is not found",
      );
      return found.filter(({ what }) => what !== "marker");
    },
    async close(): Promise<void> {
      const ended = once(child, "exit");
      child.kill();
      await ended;
    },
  };
}

/** Every secret is in the arena and nowhere else, and their keys are somewhere. */
function assertInArena(found: readonly Finding[], names: readonly string[]): void {
  const secrets = secretsIn(found);
  assert.deepEqual(secrets.map(({ what }) => what).sort(), names);
  assert.ok(secrets.every(inArena), named(secrets).join("\n"));
  for (const name of names)
    assert.ok(
      found.some(({ what }) => what === `${name} key`),
      `the key of ${name}`,
    );
}

for (const [layer, role, ciphers] of [
  ["own", "client", "TLS_AES_128_GCM_SHA256"],
  ["own", "client", "TLS_AES_256_GCM_SHA384"],
  ["own", "server", "TLS_AES_256_GCM_SHA384"],
  ["openssl", "client", "TLS_AES_256_GCM_SHA384"],
  ["openssl", "server", "TLS_AES_128_GCM_SHA256"],
] as const) {
  test(`${layer}: a ${role} with ${ciphers} finds no secret of its tunnel in the other end's memory when it has ended`, async () => {
    useOwnRecords(layer === "own");
    installBoth();
    const marker = randomBytes(24).toString("hex");
    using under = role === "client" ? serverEngine(() => 1) : clientEngine(() => peer.port);
    const port = role === "client" ? under.listen(2, "hbone") : under.listen(1, "outbound");
    const leaf = role === "client" ? clientLeaf : serverLeaf;
    const pem = { ca: ca.pem, cert: leaf.chainPem, key: leaf.keyPem };
    const peer = await seekingPeer({ role, port, ciphers, marker, pem });
    if (role === "server") await dial(port);
    const during = await peer.finds("look");
    if (layer === "own") assertInArena(during, SECRETS);
    if (layer === "own" && role === "client") {
      const updated = await peer.finds("update");
      assertInArena(
        updated,
        SECRETS.map((name) => `next ${name}`),
      );
      assert.deepEqual(named(updated.filter(({ what }) => !what.startsWith("next"))), [], "left of the keys before");
    }
    let left = await peer.finds("end");
    for (let i = 0; i < 20 && left.length > 0; i++) {
      await sleep(50);
      left = await peer.finds("look");
    }
    assert.deepEqual(named(left), []);
    await peer.close();
  });
}

test("where the arena may not be locked, an agent does not begin with records of its own", () => {
  const addon = new URL("../../agent/engine/addon.ts", import.meta.url).href;
  const program = `import { useOwnRecords } from ${JSON.stringify(addon)};
    try { useOwnRecords(true); console.log("locked"); } catch (error) { console.log(error.code, error.syscall); }`;
  const locks = (kibibytes: number): string =>
    execFileSync(
      "setpriv",
      [
        ...["--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock", "sh", "-c", `ulimit -l ${kibibytes}; exec "$@"`, "sh"],
        ...[process.execPath, "--input-type=module", "-e", program],
      ],
      { encoding: "utf8" },
    ).trim();
  assert.deepEqual([64, 0, 4096].map(locks), ["ENOMEM mlock", "EPERM mlock", "locked"]);
});
