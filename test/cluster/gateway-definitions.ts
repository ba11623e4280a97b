// test cluster · Gateway API's own definitions of its kinds, standard channel: files of its Go module, which the go command fetches and checks
// against test/peers/gateway-api/go.sum.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseAllDocuments } from "yaml";
import { Unavailable } from "../peers/support/projects.ts";
import { unreachable } from "../peers/support/unreachable.ts";

const MODULE = "sigs.k8s.io/gateway-api";
const project = fileURLToPath(new URL("../peers/gateway-api", import.meta.url));

/**
 * The definition of a kind, by its plural.
 * @throws Unavailable when the module proxy does not answer; Error when it is not the module that go.sum names
 */
export function gatewayDefinition(plural: string): object {
  const done = spawnSync("go", ["mod", "download", "-json", MODULE], { cwd: project, encoding: "utf8" });
  if (done.status !== 0 && unreachable(`${done.stdout}\n${done.stderr}`))
    throw new Unavailable("the Go module proxy does not answer: needs a network or a filled cache");
  if (done.status !== 0) throw new Error(`go mod download ${MODULE}: ${done.stdout}${done.stderr}`);
  const { Dir: folder } = JSON.parse(done.stdout) as { readonly Dir: string };
  const file = path.join(folder, `config/crd/standard/gateway.networking.k8s.io_${plural}.yaml`);
  const [definition] = parseAllDocuments(readFileSync(file, "utf8"))
    .map((document) => document.toJS() as { readonly kind?: string } | null)
    .filter((object) => object?.kind === "CustomResourceDefinition");
  if (definition === undefined || definition === null) throw new Error(`${file} has no definition`);
  return definition;
}
