// tests · run a command line against an agent's admin server with a fake source, and keep what it printed.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { startAdminServer } from "../admin/server.ts";
import { aSource, fakeNow } from "../admin/source.fake.ts";
import type { AdminSource } from "../admin/source.ts";
import { runCli } from "./commands.ts";
import type { CliEnv } from "./output.ts";

export type Ran = { readonly exit: number; readonly out: string; readonly err: string };

/** One command line; no agent unless `vars` name its socket. */
export async function run(line: readonly string[], values: Partial<CliEnv> = {}): Promise<Ran> {
  let out = "";
  let err = "";
  const exit = await runCli(line, {
    stdout: (text) => {
      out += text;
    },
    stderr: (text) => {
      err += text;
    },
    isTTY: false,
    vars: { ORLOP_SOCKET: "/nowhere/agent.sock" },
    now: () => fakeNow,
    ...values,
  });
  return { exit, out, err };
}

export type FakeAgent = { readonly socket: string; readonly run: (...line: readonly string[]) => Promise<Ran> };

/** An agent for one test. `uid` is what its socket takes the caller for. */
export async function fakeAgent(t: TestContext, values: Partial<AdminSource> = {}, uid = 0): Promise<FakeAgent> {
  const folder = mkdtempSync(join(tmpdir(), "orlop-cli-"));
  const socket = join(folder, "agent.sock");
  const server = await startAdminServer({
    path: socket,
    source: aSource(values),
    peerOf: () => ({ uid, pid: 1 }),
    ownUid: 65_534,
    warn: () => undefined,
  });
  t.after(async () => {
    await server.close();
    rmSync(folder, { recursive: true });
  });
  return { socket, run: (...line) => run(line, { vars: { ORLOP_SOCKET: socket } }) };
}
