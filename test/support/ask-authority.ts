// test support · a program: asks an authority for one certificate with a token that it was given, as a thief of the token would.
//   node ask-authority.ts ADDRESS TOKEN_FILE ROOTS_FILE IDENTITY      prints `issued` or the refusal
import { RemoteAuthority } from "../../agent/identity/remote-authority.ts";
import { parseSpiffeId } from "../../agent/mesh/spiffe-id.ts";

const [address = "", tokenFile = "", rootsFile = "", text = ""] = process.argv.slice(2);
const identity = parseSpiffeId(text);
if (identity === undefined) throw new Error(`${text} is no identity`);
const authority = new RemoteAuthority(
  {
    ...{ address, tokenFile, rootsFile, serverRootsFile: "", cluster: "box", leafTtlSeconds: 600 },
    trustDomain: identity.trustDomain,
  },
  { wallMs: Date.now },
);
// The connection alone does not keep a program alive.
const alive = setInterval(() => {}, 1_000);
try {
  (await authority.issue(identity, new AbortController().signal)).key.wipe();
  console.log("issued");
} catch (error) {
  console.log(error instanceof Error ? error.message : error);
} finally {
  authority.close();
  clearInterval(alive);
}
