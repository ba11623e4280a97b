// Two rows of docs/reference/failures.md in full, C5 and C15: every combination of PeerAuthentication levels, every wildcard against near-miss names.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { MtlsMode, PeerAuthentication } from "../../agent/mesh/policies.ts";
import { MeshStore } from "../../agent/mesh/store.ts";
import { judgeOf } from "../../agent/policy/evaluate.ts";
import {
  facts,
  identity,
  peerAuthentication,
  plaintext,
  policy,
  rule,
  source,
  text,
} from "../../agent/policy/policy.fake.ts";

const said = [undefined, "UNSET", "DISABLE", "PERMISSIVE", "STRICT"] as const;
type Said = (typeof said)[number];
const NAMED_PORT = 8080;

test("C5: every combination of port, workload, namespace and mesh level, against the table's own rule", () => {
  let combinations = 0;
  for (const mesh of said) {
    for (const namespace of said) {
      for (const workload of said) {
        for (const port of said) {
          const judge = judgeWith({ mesh, namespace, workload, port });
          for (const asked of [NAMED_PORT, 9090]) {
            // Spelled out, so that no AND or OR can slip as in RN:54146: the nearest level that says something.
            const levels: readonly Said[] = [asked === NAMED_PORT ? port : undefined, workload, namespace, mesh];
            const mode = levels.find((level) => level !== undefined && level !== "UNSET") ?? "PERMISSIVE";
            const where = JSON.stringify({ mesh, namespace, workload, port, asked });
            const inPlain = judge(facts({ ...plaintext, destinationPort: asked }));
            assert.equal(inPlain.verdict, mode === "STRICT" ? "deny" : "allow", where);
            assert.equal(judge(facts({ destinationPort: asked })).verdict, "allow", where);
            combinations += 1;
          }
        }
      }
    }
  }
  assert.equal(combinations, 5 ** 4 * 2);
});

type Levels = { readonly mesh: Said; readonly namespace: Said; readonly workload: Said; readonly port: Said };

function judgeWith({ mesh, namespace, workload, port }: Levels): ReturnType<typeof judgeOf> {
  const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  const portLevel: Record<number, MtlsMode> = port === undefined ? {} : { [NAMED_PORT]: port };
  const all: (PeerAuthentication | undefined)[] = [
    mesh && peerAuthentication("mesh", { namespace: "istio-system", mode: mesh }),
    namespace && peerAuthentication("namespace", { mode: namespace }),
    // A port without a workload mode needs an object that says nothing else.
    (workload ?? port) &&
      peerAuthentication("workload", { mode: workload ?? "UNSET", selector: { app: "api" }, portLevel }),
    // Never to be heard: other labels, other namespaces, a selector in the root namespace.
    peerAuthentication("z1", { mode: "STRICT", selector: { app: "web" } }),
    peerAuthentication("z2", { namespace: "bank", mode: "STRICT" }),
    peerAuthentication("z3", { namespace: "istio-system", mode: "STRICT", selector: { app: "api" } }),
  ];
  store.apply(
    all.flatMap((value) =>
      value === undefined ? [] : [{ kind: "peer-authentication", op: "upsert", value } as const],
    ),
  );
  return judgeOf(store);
}

test("C5: of two at one level the first by name is heard, and the other not at all", () => {
  const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  const judge = judgeOf(store);
  const upsert = (value: PeerAuthentication): void => {
    store.apply([{ kind: "peer-authentication", op: "upsert", value }]);
  };
  upsert(peerAuthentication("b", { mode: "STRICT" }));
  assert.equal(judge(facts(plaintext)).verdict, "deny");
  upsert(peerAuthentication("a", { mode: "PERMISSIVE" }));
  assert.equal(judge(facts(plaintext)).verdict, "allow");
  upsert(peerAuthentication("d", { selector: { app: "api" }, portLevel: { 8080: "STRICT" } }));
  assert.equal(judge(facts(plaintext)).verdict, "deny");
  upsert(peerAuthentication("c", { selector: { app: "api" }, portLevel: { 9090: "STRICT" } }));
  assert.equal(judge(facts(plaintext)).verdict, "allow");
});

/** Each form with the principals it takes and the nearest it must not. Wildcards are raw text, as Istio's (C15). */
const wildcards: readonly {
  readonly form: string;
  readonly takes: readonly string[];
  readonly leaves: readonly string[];
}[] = [
  {
    form: "cluster.local/ns/prod/sa/api",
    takes: ["cluster.local/ns/prod/sa/api"],
    leaves: [
      "cluster.local/ns/prod/sa/api2",
      "cluster.local/ns/prod/sa/ap",
      "cluster.local/ns/prod-evil/sa/api",
      "xcluster.local/ns/prod/sa/api",
      "cluster.local.evil/ns/prod/sa/api",
    ],
  },
  {
    form: "cluster.local/ns/prod*",
    takes: ["cluster.local/ns/prod/sa/api", "cluster.local/ns/prod-evil/sa/api"],
    leaves: ["cluster.local/ns/pro/sa/api", "xcluster.local/ns/prod/sa/api"],
  },
  {
    form: "cluster.local/ns/prod/*",
    takes: ["cluster.local/ns/prod/sa/api", "cluster.local/ns/prod/sa/x"],
    leaves: ["cluster.local/ns/prod-evil/sa/api", "cluster.local/ns/xprod/sa/api"],
  },
  {
    form: "*/sa/admin",
    takes: ["cluster.local/ns/prod/sa/admin", "evil.example/ns/prod/sa/admin"],
    leaves: ["cluster.local/ns/prod/sa/xadmin", "cluster.local/ns/prod/sa/admin2"],
  },
  {
    form: "*admin",
    takes: ["cluster.local/ns/prod/sa/admin", "cluster.local/ns/prod/sa/xadmin"],
    leaves: ["cluster.local/ns/prod/sa/admin2"],
  },
  { form: "*", takes: ["cluster.local/ns/prod/sa/api", "evil.example/ns/a/sa/b"], leaves: [] },
  // The scheme is no part of what is compared: neither as a whole nor through a suffix that would reach into it.
  { form: "spiffe://cluster.local/ns/prod/sa/api", takes: [], leaves: ["cluster.local/ns/prod/sa/api"] },
  { form: "*//cluster.local/ns/prod/sa/api", takes: [], leaves: ["cluster.local/ns/prod/sa/api"] },
  // An inner star is an ordinary character.
  { form: "cluster.local/ns/*/sa/api", takes: [], leaves: ["cluster.local/ns/prod/sa/api"] },
];

test("C15: every wildcard form against near-miss names, positive and negated, in ALLOW and in DENY", () => {
  for (const { form, takes, leaves } of wildcards) {
    for (const principal of [...takes, ...leaves]) {
      const isTaken = takes.includes(principal);
      assert.equal(admits("ALLOW", "principals", form, principal), isTaken, `ALLOW ${form}: ${principal}`);
      assert.equal(admits("ALLOW", "notPrincipals", form, principal), !isTaken, `ALLOW not ${form}: ${principal}`);
      assert.equal(admits("DENY", "principals", form, principal), !isTaken, `DENY ${form}: ${principal}`);
      assert.equal(admits("DENY", "notPrincipals", form, principal), isTaken, `DENY not ${form}: ${principal}`);
    }
    // Nobody: no positive form takes it, every negated one does.
    assert.equal(admits("ALLOW", "principals", form, null), false, `ALLOW ${form}: plaintext`);
    assert.equal(admits("ALLOW", "notPrincipals", form, null), true, `ALLOW not ${form}: plaintext`);
    assert.equal(admits("DENY", "principals", form, null), true, `DENY ${form}: plaintext`);
    assert.equal(admits("DENY", "notPrincipals", form, null), false, `DENY not ${form}: plaintext`);
  }
});

function admits(
  action: "ALLOW" | "DENY",
  field: "principals" | "notPrincipals",
  form: string,
  principal: string | null,
): boolean {
  const store = new MeshStore({ rootNamespace: "istio-system", trustDomain: "cluster.local" });
  const value = policy("p", { action, rules: [rule({ sources: [source({ [field]: [text(form)] })] })] });
  store.apply([{ kind: "authorization-policy", op: "upsert", value }]);
  const who = principal === null ? plaintext : { sourceIdentity: identity(principal) };
  return judgeOf(store)(facts(who)).verdict === "allow";
}
