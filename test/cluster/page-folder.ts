// test cluster · a folder in which the commands of docs/kubernetes.md find the checkout's files, with the CNI directories of our nodes.
import { cpSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { cniDirectories } from "./programs.ts";

const checkout = fileURLToPath(new URL("../..", import.meta.url));

/** The page's paths begin at the checkout; what its commands write goes into this folder. Its maker removes it. */
export function makePageFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), "orlop-page-"));
  symlinkSync(path.join(checkout, "docs"), path.join(folder, "docs"));
  const manifests = path.join(folder, "daemonset");
  mkdirSync(manifests);
  for (const name of ["crds", "manifest", "control", "cni", "taint"].map((kind) => `${kind}.yaml`))
    cpSync(path.join(checkout, "daemonset", name), path.join(manifests, name));
  const cni = path.join(manifests, "cni.yaml");
  const text = readFileSync(cni, "utf8");
  const ours = text
    .replace("path: /etc/cni/net.d, type", `path: ${cniDirectories.confDir}, type`)
    .replace("path: /opt/cni/bin, type", `path: ${cniDirectories.binDir}, type`);
  writeFileSync(cni, ours);
  return folder;
}

export const pageText = (): string => readFileSync(path.join(checkout, "docs/kubernetes.md"), "utf8");
