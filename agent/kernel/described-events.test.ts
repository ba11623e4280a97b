// A description that is found again says what a new description would say.
import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { test } from "node:test";
import { Dice } from "../../test/support/dice.ts";
import { FakeMesh, policy, ruleFor, service, workload } from "../mesh/mesh.fake.ts";
import { permissionKey } from "../plan/permission.ts";
import { judgeOf } from "../policy/evaluate.ts";
import { DescribedEvents } from "./described-events.ts";
import { describeEvent } from "./event-records.ts";
import type { KernelEvent } from "./events.ts";

const pods = [1, 2, 3].map((index) => workload(`pod-${index}`, { addresses: [`10.0.0.${index}`] }));

test("random connections, pods that change and a mesh that changes: as described anew, the caller's own port in each record", () => {
  const seed = Number(process.env.ORLOP_SEED ?? randomInt(2 ** 31));
  console.log(`again: ORLOP_SEED=${seed}`);
  const dice = new Dice(seed);
  const mesh = new FakeMesh([...pods], [service("api")]);
  const enrolled = new Map(pods.map((pod, index) => [index + 1, pod]));
  const world = { mesh, judge: judgeOf(mesh), workloadOf: (podIdx: number) => enrolled.get(podIdx) };
  const described = new DescribedEvents(world);
  const endpoint = (addresses: readonly string[]) => ({
    address: dice.pick(addresses),
    port: 8080 + dice.roll(2),
  });
  for (let nth = 0; nth < 3_000; nth++) {
    if (dice.chance(3)) {
      mesh.policies.push(
        policy(dice.pick(["ALLOW", "DENY"]), [ruleFor([`cluster.local/ns/shop/sa/pod-${dice.roll(4)}`])]),
      );
      if (mesh.policies.length > 4) mesh.policies.splice(0, 3);
      mesh.policyVersion += 1;
      described.forget();
    }
    // A pod's index may be given to another pod, and a pod may be nobody's for a while; the mesh says nothing of it.
    if (dice.chance(3)) enrolled.set(1 + dice.roll(3), dice.pick(pods));
    if (dice.chance(3)) enrolled.delete(1 + dice.roll(3));
    const to = endpoint(["10.0.0.1", "10.0.0.2"]);
    const event: KernelEvent = {
      ...{ type: dice.pick(["open", "close"]), direction: "out", atMs: nth, podIdx: 1 + dice.roll(3), sockCookie: nth },
      source: { address: dice.pick(["10.0.0.1", "10.0.0.3"]), port: 40_000 + dice.roll(1_000) },
      destination: dice.chance(70) ? to : endpoint(["10.96.0.1"]),
      joined: dice.chance(90) ? to : null,
      ...{ sentBytes: 0, receivedBytes: 0, durationMs: 0, srttUs: 0, retransmits: 0 },
      ...{ throughAgent: false, outside: false, fromNode: false, reason: null },
    };
    const found = described.of(event);
    const anew = describeEvent(event, world);
    assert.deepEqual(found.record, anew.record);
    assert.equal(
      found.permission && permissionKey(found.permission),
      anew.permission && permissionKey(anew.permission),
    );
  }
});
