// test peers · h2spec judges HTTP/2 without TLS that is read, request by request: an engine on loopback before Node's own HTTP/2 server,
// which is the control, too.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import path from "node:path";
import { after } from "node:test";
import { promisify } from "node:util";
import { h2cApplication } from "../../loopback/h2c.ts";
import { forward, reads } from "../../loopback/read-engine.ts";
import { differentCase, peerCase } from "../support/cases.ts";
import { built } from "../support/projects.ts";
import { differences } from "./differences.ts";

type Outcome = { readonly id: string; readonly name: string; readonly outcome: string; readonly saw?: string };

const RUN_MS = 400_000;
const LEAST_CASES = 145;
/** The rest is argued below, case by case. */
const LEAST_PASSED = 129;

const app = await h2cApplication((stream) => {
  stream.resume();
  stream.respond({ ":status": 200, "content-type": "text/plain" });
  stream.end("requests at your service\r\n".repeat(4));
});
const under = reads("plaintext", app.port, forward);
after(() => under[Symbol.dispose]());

const ours = await judge(under.port);
const control = new Map((await judge(app.port)).map(({ id, outcome }) => [id, outcome]));

/** What nghttp2 does at the HBONE server it does here, too. The rest is of this place alone. */
const same = ["5.1/8", "5.1/9", "5.1/11", "5.1/12", "5.1.1/2", "5.3.1/2", "6.3/1"].map((id) => `http2/${id}`);
const here: Readonly<Record<string, { readonly differs: string; readonly sentence: string }>> = {
  "http2/3.5/2": {
    differs: "what begins otherwise is no HTTP/2 and is reset, as any other protocol is (not-http)",
    sentence:
      "RFC 9113 3.4: A GOAWAY frame (Section 6.8) MAY be omitted in this case, since an invalid preface indicates that the peer is not using HTTP/2.",
  },
  "http2/6.9.1/3": {
    differs:
      "nghttp2 ends the connection with GOAWAY(FLOW_CONTROL_ERROR) when the window of a stream overflows, not the stream; behind a whole response it passes over it",
    sentence: differences["http2/6.9.1/3"]?.sentence ?? "",
  },
};

peerCase("h2spec-requests", "all cases ran, and enough of them passed", () => {
  assert.ok(ours.length >= LEAST_CASES, `${ours.length} cases`);
  const passed = ours.filter(({ outcome }) => outcome === "passed").length;
  assert.ok(passed >= LEAST_PASSED, `${passed} passed`);
});
for (const { id, name, outcome, saw } of ours) {
  const passes = (): void => {
    if (outcome !== "passed") assert.fail(`${name}: ${saw?.replaceAll("\n", ", ")}`);
  };
  const difference = here[id] ?? (same.includes(id) ? differences[id] : undefined);
  if (difference === undefined) {
    peerCase("h2spec-requests", id, passes);
  } else {
    const { differs, sentence } = difference;
    const described = { differs, sentence, control: `Node's http2 server: ${control.get(id) ?? "not run"}` };
    differentCase("h2spec-requests", id, described, passes);
  }
}
peerCase("h2spec-requests", "the engine is healthy afterwards", () => assert.deepEqual(under.engine.errors, []));

async function judge(port: number): Promise<readonly Outcome[]> {
  const program = path.join(built("h2spec"), "bin/h2spec");
  const run = promisify(execFile);
  const { stdout } = await run(program, [`127.0.0.1:${port}`, "-", "-", "plain"], {
    timeout: RUN_MS,
    maxBuffer: 2 ** 26,
  });
  return stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Outcome);
}
