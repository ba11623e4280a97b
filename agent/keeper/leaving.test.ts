// When the agent has left a pod, by the kernel's table of its sockets.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { agentStillThere as stillThere, untilAgentLeft } from "./leaving.ts";

const own = new Set(["10.90.2.11", "fd90:0:0:2::11", "127.0.0.1", "::1"]);
const agentStillThere = (table: string, addresses: ReadonlySet<string>, tunnelsCount = true): boolean =>
  stillThere(table, addresses, { tunnelsCount });
const line = (local: string, state: string): string =>
  `   0: ${local} 0B025A0A:1F90 ${state} 00000000:00000000 00:00000000`;
const clientsOwn = "0B015A0A"; // 10.90.1.11
const podsOwn = "0B025A0A"; // 10.90.2.11

test("listeners of ours and sockets that speak for a client keep it; nothing else does", () => {
  assert.equal(agentStillThere("", own), false);
  assert.equal(agentStillThere(line(`${podsOwn}:1F90`, "0A"), own), false, "the application's listener");
  assert.equal(agentStillThere(line(`${podsOwn}:3AA0`, "0A"), own), true, "15008");
  assert.equal(agentStillThere(line(`${podsOwn}:3AA0`, "01"), own), true, "a tunnel");
  assert.equal(agentStillThere(line(`${podsOwn}:3AA0`, "01"), own, false), false, "a tunnel that idles on");
  assert.equal(agentStillThere(line(`${podsOwn}:3AA0`, "06"), own), false, "a tunnel that was");
  assert.equal(agentStillThere(line("0100007F:3A99", "0A"), own), true, "15001");
  assert.equal(agentStillThere(line("000000010000000000000000AB000080:3A99", "01"), own, false), true, "captured");
  assert.equal(agentStillThere(line(`${podsOwn}:9C40`, "01"), own), false, "the pod's own connection");
  assert.equal(agentStillThere(line("0100007F:9C40", "01"), own), false, "loopback");
  assert.equal(agentStillThere(line(`${clientsOwn}:9C40`, "01"), own), true, "established, from a client's address");
  assert.equal(agentStillThere(line(`${clientsOwn}:9C40`, "05"), own), true, "the application has yet to close");
  assert.equal(agentStillThere(line(`${clientsOwn}:9C40`, "06"), own), false, "TIME_WAIT");
  assert.equal(agentStillThere(line("000090FD000002000000000011000000:9C40", "01"), own), true, "another IPv6 address");
  assert.equal(
    agentStillThere(line("000090FD020000000000000011000000:9C40", "01"), own),
    false,
    "the pod's IPv6 address",
  );
  assert.equal(agentStillThere(line("0000000000000000FFFF00000B025A0A:9C40", "01"), own), false, "v4-mapped");
  assert.equal(agentStillThere("  sl  local_address rem_address   st tx_queue", own), false);
});

test("waiting ends when the agent left, when the process went, and when it is told to", async () => {
  const proc = mkdtempSync(join(tmpdir(), "orlop-leaving-"));
  const tables = (text: string): void => {
    mkdirSync(join(proc, "7", "net"), { recursive: true });
    for (const name of ["tcp", "tcp6"]) writeFileSync(join(proc, "7", "net", name), text);
  };
  const leaving = { proc, pid: 7, podAddresses: own };
  const busy = line(`${clientsOwn}:9C40`, "01");
  tables(busy);
  const first = untilAgentLeft(leaving, new AbortController().signal);
  tables("");
  assert.equal(await first, true);
  tables(busy);
  const stop = new AbortController();
  const second = untilAgentLeft(leaving, stop.signal);
  stop.abort();
  assert.equal(await second, false);
  const third = untilAgentLeft(leaving, new AbortController().signal);
  rmSync(join(proc, "7"), { recursive: true });
  assert.equal(await third, false);
  tables("");
  const back = new AbortController();
  const fourth = untilAgentLeft(leaving, back.signal);
  back.abort();
  assert.equal(await fourth, false, "the pod came back while the tables were read");
  rmSync(proc, { recursive: true });
});
