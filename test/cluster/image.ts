// test cluster · a container image, as the tar that `ctr images import` reads (docker-archive). Pure.
import { createHash } from "node:crypto";

type Entry = { readonly name: string; readonly data: Uint8Array; readonly mode: number };

const BLOCK = 512;

/** Of the image's config (opencontainers/image-spec:config.md, "config"). */
export type ImageConfig = {
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly Env?: readonly string[];
  readonly User?: string;
  readonly WorkingDir?: string;
};

/**
 * An image of one layer, which is a tar. The form is that of `docker save` (moby/docker-image-spec:spec.md, "Combined Image JSON +
 * Filesystem Changeset Format").
 */
export function imageArchive(tag: string, layer: Uint8Array, runs: ImageConfig): Uint8Array {
  const config = json({
    ...{ architecture: process.arch === "arm64" ? "arm64" : "amd64", os: "linux" },
    config: runs,
    rootfs: { type: "layers", diff_ids: [`sha256:${sha256(layer)}`] },
  });
  const configName = `${sha256(config)}.json`;
  const layerName = `${sha256(layer)}/layer.tar`;
  const manifest = json([{ Config: configName, RepoTags: [tag], Layers: [layerName] }]);
  return tar([
    { name: configName, data: config, mode: 0o644 },
    { name: layerName, data: layer, mode: 0o644 },
    { name: "manifest.json", data: manifest, mode: 0o644 },
  ]);
}

/** POSIX ustar (pax(1), "ustar Interchange Format"), owned by root. Names have at most 100 bytes. */
export function tar(entries: readonly Entry[]): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const { name, data, mode } of entries) {
    if (Buffer.byteLength(name) > 100) throw new Error(`too long for a tar: ${name}`);
    const header = Buffer.alloc(BLOCK);
    const octal = (value: number, at: number, length: number): void => {
      header.write(`${value.toString(8).padStart(length - 1, "0")}\0`, at, "latin1");
    };
    header.write(name, 0, "utf8");
    octal(mode, 100, 8);
    octal(0, 108, 8);
    octal(0, 116, 8);
    octal(data.length, 124, 12);
    octal(0, 136, 12);
    header.write("        0", 148, "latin1");
    header.write("ustar\u000000", 257, "latin1");
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
    parts.push(header, data, Buffer.alloc((BLOCK - (data.length % BLOCK)) % BLOCK));
  }
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)]);
}

const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
const sha256 = (data: Uint8Array): string => createHash("sha256").update(data).digest("hex");
