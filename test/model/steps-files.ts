// test model · steps after which the mesh file is no mesh, or not yet: what ran before runs on.
import { halfOf } from "./mesh.ts";
import { pick, type Step } from "./step.ts";
import { touched } from "./steps-edits.ts";
import type { NodeKind, World } from "./world.ts";

const breaks = (name: string, take: (world: World, step: Step) => void): NodeKind => ({
  name,
  can: () => true,
  take: async (world, step) => take(world, step),
});

export const half = breaks("half", (world, step) => world.writer.broken(halfOf(world.documents(), step)));
export const away = breaks("away", ({ writer }) => writer.away());
export const empty = breaks("empty", ({ writer }) => writer.empty());
export const bad = breaks("bad", (world, step) => {
  const documents = world.documents();
  const wrong = pick(
    step.n,
    "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: x, namespace: demo}\nspec: {mtls: {mode: STRIKT}}\n",
    // The same workload twice.
    documents[1] ?? "",
    "apiVersion: orlop.dev/v1alpha1\nkind: Workload\nmetadata: {name: x, namespace: demo}\nspec: {node: elsewhere}\n",
    "kind: [",
  );
  world.writer.broken([...documents, wrong].join("---\n"));
});

/** A writer in place that pauses between two documents, shorter than a file must be still before it counts. */
export const paused: NodeKind = {
  name: "paused",
  can: () => true,
  take: async (world, step) => {
    world.mesh = touched(world.mesh);
    const documents = world.documents();
    const at = 1 + (step.n % (documents.length - 1));
    await world.writer.paused(documents, at, pick(step.n, 60, 150, 400, 800, 1_800));
  },
};

/** A valid edit whose file says that it was written at another time. */
export const clock: NodeKind = {
  name: "clock",
  can: ({ writer }) => writer.whole,
  take: async (world, step) => {
    world.mesh = touched(world.mesh);
    world.writer.inPlace(world.documents());
    world.writer.dated(pick(step.n, -3_600, -1, 1, 10, 3_600));
  },
};
