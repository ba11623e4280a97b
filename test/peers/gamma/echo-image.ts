// test peers · the image that the suite's pods run: Istio's echo server and client under the name that the suite's manifests give it.
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { parseAllDocuments } from "yaml";
import { imageArchive, tar } from "../../cluster/image.ts";

type Workload = {
  readonly spec?: {
    readonly template?: { readonly spec: { readonly containers: readonly { readonly image: string }[] } };
  };
};

/** @throws Error when the manifests name no image, or several */
export function imageOf(manifests: string): string {
  const images = parseAllDocuments(manifests)
    .map((document) => document.toJS() as Workload | null)
    .flatMap((object) => object?.spec?.template?.spec.containers ?? [])
    .map(({ image }) => image);
  const [image, ...others] = new Set(images);
  if (image === undefined || others.length > 0) throw new Error(`images of the suite: ${[...new Set(images)].join()}`);
  return image;
}

/**
 * Writes the archive that `ctr images import` reads.
 * @param echo folder of the built programs (test/peers/gamma/echo)
 * @param folder is made
 */
export function echoArchive(image: string, echo: string, folder: string): string {
  mkdirSync(folder, { recursive: true });
  const words = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=echo", "-days", "2"];
  const files = ["-keyout", "cert.key", "-out", "cert.crt"];
  const made = spawnSync("openssl", ["req", "-x509", ...words, ...files], { cwd: folder, encoding: "utf8" });
  if (made.status !== 0) throw new Error(`openssl req: ${made.error?.message ?? made.stderr}`);
  const entry = (name: string, from: string, mode: number) => ({ name, data: readFileSync(from), mode });
  const layer = tar([
    ...["client", "server"].map((name) => entry(`usr/local/bin/${name}`, path.join(echo, "bin", name), 0o755)),
    // The server's arguments name both.
    ...["cert.crt", "cert.key"].map((name) => entry(name, path.join(folder, name), 0o644)),
  ]);
  const archive = path.join(folder, "echo.tar");
  const runs = { Entrypoint: ["/usr/local/bin/server"], Env: ["PATH=/usr/local/bin"], User: "1338" };
  writeFileSync(archive, imageArchive(image, layer, runs));
  return archive;
}
