// tests · an enrollment on a node of plain state, with what tests do to it: the mesh changes, a keeper comes.
import type { TestContext } from "node:test";
import { workload } from "../mesh/mesh.fake.ts";
import type { Workload } from "../mesh/workload.ts";
import { FakeNode } from "./enrollment.fake.ts";
import { NodeEnrollment } from "./enrollment.ts";
import type { EnrollmentTimes } from "./enrollment-ports.ts";

export { untilByTurns as until } from "../../test/support/until.ts";

export const web = workload("web", { addresses: ["10.0.0.1"] });
export const api = workload("api", { addresses: ["10.0.0.2"] });

/**
 * Milliseconds. While there is work others hear of the pods at an interval, on a busy machine between any two calls that a test looks
 * at: within a test it does not pass.
 */
export const testTimes: EnrollmentTimes = { certificate: 60_000, linger: 0, retry: 1, tell: 1_000_000 };

/** A node of plain state with these workloads, of which nothing is enrolled yet. */
export function setUp(
  t: TestContext | null,
  workloads: readonly Workload[] = [],
  chosen: Partial<EnrollmentTimes> = {},
) {
  const node = new FakeNode();
  const times = { ...testTimes, ...chosen };
  const enrollment = new NodeEnrollment({ node: "n1", times }, node.ports);
  for (const given of workloads) node.workloads.set(given.uid, given);
  t?.after(() => enrollment.close());
  const change = (...given: readonly Workload[]): Promise<void> => {
    for (const added of given) node.workloads.set(added.uid, added);
    return enrollment.meshChanged();
  };
  const remove = (gone: Workload): Promise<void> => {
    node.workloads.delete(gone.uid);
    return enrollment.meshChanged();
  };
  const start = async (): Promise<void> => {
    void enrollment.meshChanged();
    await enrollment.keeperCame(node.keeperComes());
  };
  return { node, enrollment, change, remove, start };
}
