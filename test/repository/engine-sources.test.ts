// Rules for the sources of native/engine that no compiler checks.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../../native/engine/", import.meta.url));
const sources = readdirSync(folder, { recursive: true, encoding: "utf8" })
  .filter((file) => /\.(cc|h)$/.test(file))
  .map((file) => ({ file, text: readFileSync(join(folder, file), "utf8").replace(/\/\/.*$/gm, "") }));

test("descriptors are closed in core/descriptor.cc alone, which takes them out of epoll first", () => {
  const bare = sources
    .filter(({ file, text }) => file !== "core/descriptor.cc" && /(?<![\w.>"])close\(|\bSO_LINGER\b/.test(text))
    .map(({ file }) => file);
  assert.deepEqual(bare, []);
});

/** What the files of a folder may include of native/engine, besides their own folder and core/. */
const mayInclude: Record<string, readonly string[]> = {
  core: [],
  h2c: ["http/", "http2/"],
  http: [],
  http2: [],
  kernel: [],
  origin: ["h2c/h2c_side.h", "h2c/h2c_head.h", "http/", "http2/", "relay/"],
  pod: ["relay/acceptor.h"],
  records: [],
  tunnel: ["http2/", "pod/socket_", "records/", "relay/dialer.h"],
  relay: ["h2c/", "http/", "http2/", "kernel/", "pod/", "tunnel/"],
};
/** They put the parts together. */
const compositionRoots = ["core/engine.h", "core/engine.cc", "core/engine_object.cc", "core/addon.cc"];
/** A request becomes a connection here. */
const exceptions = ["tunnel/hbone_server.cc includes relay/connection.h"];

test("parts include what their folder may know, and only the composition root knows the engine", () => {
  const broken = sources
    .filter(({ file }) => !compositionRoots.includes(file))
    .flatMap(({ file, text }) => {
      const folder = file.split("/")[0] ?? "";
      const allowed = [`${folder}/`, "core/", ...(mayInclude[folder] ?? [])];
      return [...text.matchAll(/^#include "engine\/([^"]+)"/gm)]
        .map(([, target = ""]) => target)
        .filter((target) => target === "core/engine.h" || !allowed.some((prefix) => target.startsWith(prefix)))
        .map((target) => `${file} includes ${target}`);
    });
  assert.deepEqual(broken, exceptions);
});

test("the HTTP/2 session knows nothing of HBONE", () => {
  const knowing = sources
    .filter(({ file, text }) => file.startsWith("http2/") && /\bCONNECT\b|Tunnel|Connection|HBONE/.test(text))
    .map(({ file }) => file);
  assert.deepEqual(knowing, []);
});

test("the key log callback is set on the contexts of identities alone, and nothing that a line of it has is written", () => {
  const naming = (words: RegExp): string[] => sources.filter(({ text }) => words.test(text)).map(({ file }) => file);
  assert.deepEqual(naming(/set_keylog_callback/), ["tunnel/tls_session.cc"]);
  assert.deepEqual(naming(/TlsSession::KeepSecrets\(\w+\);/), ["tunnel/identities.cc"]);
  const writes = /\b(f?printf|puts|fopen|open|write|syslog|Emit)\(|std::(cout|cerr|clog|ofstream)/;
  const secret = sources.filter(({ file }) => file.startsWith("records/") || /tls_(session|alert)\.cc$/.test(file));
  assert.deepEqual(
    secret.filter(({ text }) => writes.test(text)).map(({ file }) => file),
    [],
  );
});

test("a header declares at most a single class", () => {
  const several = sources
    .filter(({ file, text }) => file.endsWith(".h") && [...text.matchAll(/^class \w+[^;{]*\{/gm)].length > 1)
    .map(({ file }) => file);
  assert.deepEqual(several, []);
});
