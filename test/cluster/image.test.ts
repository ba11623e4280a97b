// test cluster · the tar of the image, read by the system's own tar.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { imageArchive, tar } from "./image.ts";

/** @throws Error with what tar says */
function untar(words: readonly string[], input: Uint8Array): Buffer {
  const done = spawnSync("tar", words, { input });
  if (done.status !== 0) throw new Error(`tar ${words.join(" ")}: ${done.stderr}`);
  return done.stdout;
}

test("an archive has a configuration, a layer with the program, and a manifest that names both", () => {
  const program = Buffer.from("a program of 600 bytes".padEnd(600, "."));
  const archive = imageArchive("orlop.test/pod:1", tar([{ name: "pod", data: program, mode: 0o755 }]), {
    Cmd: ["/pod", "pause"],
  });
  const [manifest] = JSON.parse(untar(["-xO", "manifest.json"], archive).toString());
  assert.deepEqual(manifest.RepoTags, ["orlop.test/pod:1"]);
  const { config, rootfs } = JSON.parse(untar(["-xO", manifest.Config], archive).toString());
  assert.deepEqual(config.Cmd, ["/pod", "pause"]);
  const [layer] = manifest.Layers;
  assert.deepEqual(rootfs.diff_ids, [`sha256:${layer.split("/")[0]}`]);
  assert.deepEqual(untar(["-xO", "pod"], untar(["-xO", layer], archive)), program);
});

test("a name that does not fit a header is refused", () => {
  assert.throws(() => tar([{ name: "a".repeat(101), data: Buffer.alloc(0), mode: 0o644 }]), /too long for a tar/);
});
