// test support · an application of TLS in a pod, with a certificate that it makes itself: says who it is, and which server its caller named.
//   node echo-tls.ts PORT NAME
import { createPrivateKey } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import tls from "node:tls";
import { EmbeddedAuthority } from "../../agent/identity/embedded.ts";
import { spiffeId } from "../../agent/mesh/spiffe-id.ts";

const [, , port = "", name = ""] = process.argv;
const folder = mkdtempSync(join(tmpdir(), "orlop-echo-tls-"));
const authority = new EmbeddedAuthority(
  { rootFile: join(folder, "root.pem"), leafTtlSeconds: 3_600, trustDomain: "cluster.local" },
  { wallMs: Date.now },
);
const issued = await authority.issue(spiffeId("cluster.local", "demo", name), new AbortController().signal);
rmSync(folder, { recursive: true });
const key = issued.key.take((der) =>
  createPrivateKey({ key: Buffer.from(der), format: "der", type: "pkcs8" }).export({ format: "pem", type: "pkcs8" }),
);
const server = tls.createServer({ key, cert: issued.chainPem }, (socket) => {
  socket.on("error", () => {});
  socket.end(`${name} ${socket.servername || "-"}\n`);
});
server.listen(Number(port), "::", () => console.log("listening"));
