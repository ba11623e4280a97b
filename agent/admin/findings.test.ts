import assert from "node:assert/strict";
import { test } from "node:test";
import type { LeftOutPod } from "../control/left-out.ts";
import { aWorkload } from "../observe/record.fake.ts";
import { findingsOf } from "./findings.ts";
import { aMesh, aSource, fakeNow } from "./source.fake.ts";
import type { AdminSource } from "./source.ts";

const statusOf = async (code: string, values: Partial<AdminSource> = {}) =>
  (await findingsOf(aSource(values))).filter((finding) => finding.code === code).map(({ status }) => status);

test("a node that is well has findings that are all ok", async () => {
  assert.ok((await findingsOf(aSource())).every(({ status, why, fix }) => status === "ok" && why === "" && fix === ""));
});

test("each trouble is its finding, and says what to do", async () => {
  const cases: readonly (readonly [code: string, status: string, values: Partial<AdminSource>])[] = [
    ["ORL2001", "warn", { pods: () => [{ workloadUid: "x", podIdx: null, state: "failed", note: "" }] }],
    ["ORL5002", "fail", { rootsTrouble: () => "root.pem has gone" }],
    [
      "ORL4109",
      "warn",
      { requestWarnings: () => [{ code: "ORL4109", what: "DENY shop/d[0] …", why: "because", fix: "list paths" }] },
    ],
    [
      "ORL4112",
      "info",
      { requestChanges: () => [{ code: "ORL4112", what: "ALLOW shop/a …", why: "before, …", fix: "explain" }] },
    ],
    [
      "ORL4201",
      "fail",
      {
        configuration: () => ({
          ...aSource().configuration(),
          state: "stale",
          kinds: [
            {
              ...{ kind: "Pod", objects: 3, state: "away", why: "list of Pod: HTTP status 403" },
              awaySince: "2026-11-21T09:00:00.000Z",
            },
          ],
        }),
      },
    ],
    [
      "ORL4001",
      "warn",
      { configuration: () => ({ ...aSource().configuration(), state: "stale", fromLastGood: true }) },
    ],
    ["ORL2002", "fail", { nodeAccess: async () => ({ mode: "kubelet", programs: [], problem: "several" }) }],
    ["ORL6101", "fail", { keeper: () => ({ connected: false, message: "" }) }],
    ["ORL6102", "fail", { heartbeatAgeMs: () => 1_500 }],
    ["ORL6102", "warn", { heartbeatAgeMs: () => null }],
    ["ORL6104", "warn", { counters: () => ({ event_dropped: 3 }) }],
    [
      "ORL6103",
      "warn",
      {
        bpf: async () => ({
          programs: [],
          pods: [],
          maps: [{ name: "dst_of_flow", entries: 60_000, maxEntries: 65_536 }],
        }),
      },
    ],
    [
      "ORL5001",
      "warn",
      {
        certs: () => [
          {
            ...{ identity: "spiffe://cluster.local/ns/a/sa/b", state: "ready", serial: "1", message: "" },
            ...{ notBeforeMs: fakeNow - 80_000, notAfterMs: fakeNow + 1_000, rotatesAtMs: fakeNow - 1 },
          },
        ],
      },
    ],
  ];
  for (const [code, status, values] of cases) {
    assert.deepEqual(await statusOf(code, values), [status], code);
    const [finding] = (await findingsOf(aSource(values))).filter((each) => each.code === code);
    assert.ok(finding && finding.why !== "" && finding.fix !== "", code);
  }
});

test("an address that two workloads claim is found, with both; many are counted", async () => {
  const claiming = (count: number) =>
    Array.from({ length: count }, (_, n) =>
      ["b", "a"].map((name) =>
        aWorkload({ name: `${name}-${n}`, uid: `c//Pod/shop/${name}-${n}`, addresses: [`10.0.2.${n}`] }),
      ),
    ).flat();
  const found = async (count: number): Promise<string[]> =>
    (await findingsOf(aSource({ mesh: aMesh(claiming(count)) })))
      .filter(({ code }) => code === "ORL4105")
      .map(({ status, what }) => `${status} ${what}`);
  assert.deepEqual(await found(0), []);
  assert.deepEqual(await found(1), ["warn 10.0.2.0 is claimed by shop/a-0 and shop/b-0"]);
  assert.equal((await found(13)).length, 11);
  assert.equal((await found(13)).at(-1), "warn 3 more addresses have several claimants");
});

test("pods that are left out are named with their reason; a daemon on the node's network is no warning; many are counted", async () => {
  const found = async (leftOut: readonly LeftOutPod[]): Promise<readonly string[]> => {
    const configuration = () => ({ ...aSource().configuration(), leftOut });
    return (await findingsOf(aSource({ configuration })))
      .filter(({ code }) => code === "ORL2003")
      .map(({ status, what }) => `${status} ${what}`);
  };
  const of = (name: string, reason: LeftOutPod["reason"]): LeftOutPod => ({
    ...{ workload: aWorkload({ name }), reason, because: "something" },
  });
  assert.deepEqual(await found([]), []);
  assert.deepEqual(await found([of("a", "sandbox"), of("b", "host-network"), of("c", "sidecar")]), [
    "info pod shop/b is left out of the mesh: something",
    "warn pod shop/c is left out of the mesh: something",
    "warn pod shop/a is left out of the mesh: something",
  ]);
  const many = await found(Array.from({ length: 12 }, (_, n) => of(`n${n}`, "host-network")));
  assert.deepEqual([many.length, many.at(-1)], [11, "info 2 more pods are left out: host-network"]);
});

test("who of the node is let in is named, and so is the API server that is part of it", async () => {
  const what = async (name: string): Promise<string> => {
    const programs = [{ role: "kubelet" as const, name, pid: 7, cgroup: "/a" }];
    const nodeAccess = async () => ({ mode: "kubelet" as const, programs, problem: "" });
    return (await findingsOf(aSource({ nodeAccess }))).find(({ code }) => code === "ORL2002")?.what ?? "";
  };
  assert.equal(await what("kubelet"), "nodeAccess kubelet: let in to pods of this node: kubelet (pid 7)");
  assert.match(await what("k3s-server"), /k3s-server \(pid 7\), and the API server that is part of it$/);
});
