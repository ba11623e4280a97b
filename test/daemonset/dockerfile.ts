// tests · the last stage of daemonset/Dockerfile: what the image takes of the checkout, and how it runs.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

export const checkout = new URL("../..", import.meta.url);

const stages = readFileSync(new URL("daemonset/Dockerfile", checkout), "utf8").split(/^FROM /m);
/** The stage that builds, and the stage that becomes the image. */
export const [buildStage = "", lastStage = ""] = stages.slice(-2);

const matchesOf = (pattern: RegExp): readonly string[] =>
  [...lastStage.matchAll(pattern)].map(([, found = ""]) => found);

/** Paths of the checkout that the image has below its WORKDIR, out of the build stage or directly. */
export const copiedPaths = [...lastStage.matchAll(/^COPY (?:--from=build )?(\S+) (\S+)$/gm)].map(
  ([, from = "", to = ""]) => {
    assert.equal(from.replace("/opt/orlop/", ""), to, "the image is laid out as the checkout");
    return to;
  },
);

/** Where `make` has left what the image has at such a path. */
export function builtAt(path: string): string {
  if (path !== "agent") return path;
  assert.match(buildStage, /^RUN rm -rf agent && mv build\/program\/agent agent$/m, "the agent is JavaScript there");
  return "build/program/agent";
}

/** As an image's config has it (opencontainers/image-spec:config.md). */
export const imageConfig = {
  WorkingDir: matchesOf(/^WORKDIR (\S+)$/gm).at(-1) ?? "/",
  Env: matchesOf(/^ENV (\S+)$/gm),
  User: matchesOf(/^USER (\S+)$/gm).at(-1) ?? "",
  Entrypoint: JSON.parse(matchesOf(/^ENTRYPOINT (.+)$/gm).at(-1) ?? "[]") as readonly string[],
  Cmd: JSON.parse(matchesOf(/^CMD (.+)$/gm).at(-1) ?? "[]") as readonly string[],
};

// Patterns of daemonset/Dockerfile.dockerignore: the end of a name, below any folder, or a path of the checkout.
const ignored = readFileSync(new URL("daemonset/Dockerfile.dockerignore", checkout), "utf8")
  .split("\n")
  .filter((line) => line !== "" && !line.startsWith("#"));

/** Is a path of the checkout kept from a build in a container? */
export const isIgnored = (path: string): boolean =>
  ignored.some((pattern) =>
    pattern.startsWith("**/*") ? path.endsWith(pattern.slice(4)) : path === pattern || path.startsWith(`${pattern}/`),
  );
