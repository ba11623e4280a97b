// main thread · tests · a StaticFileSource that runs over a folder of its own, and what they write there.
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { inTime } from "../../../test/support/until.ts";
import type { MeshUpdate } from "../../mesh/mesh-update.ts";
import type { NodeSettings } from "../kinds/node-settings.ts";
import type { SourceStatus } from "../source.ts";
import { StaticFileSource } from "./source.ts";

export const settings: NodeSettings = {
  node: "west",
  cluster: "c1",
  network: "",
  trustDomain: "cluster.local",
  clusterDomain: "cluster.local",
  rootNamespace: "istio-system",
  honourIstioLabels: false,
  runtimeClasses: [],
};
export const workload = (name: string, host: number, more = ""): string => `apiVersion: orlop.dev/v1alpha1
kind: Workload
metadata: {name: ${name}, namespace: shop}
spec:
  addresses: [10.0.0.${host}]
  node: east
${more}`;

type Running = {
  readonly folder: string;
  readonly path: string;
  readonly lastGoodFile: string;
  readonly source: StaticFileSource;
  readonly batches: (readonly MeshUpdate[])[];
  readonly warnings: string[];
  readonly stop: () => Promise<void>;
  /** Resolves when the status fulfils the condition; after a wait in vain the test fails with the status that is there. */
  readonly until: (condition: (status: SourceStatus) => boolean) => Promise<SourceStatus>;
};

export const DEADLINE = { timeout: 120_000 };

export function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "orlop-source-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function run(
  t: TestContext,
  folder: string,
  options: {
    readonly path?: string;
    readonly pollMs?: number;
    readonly stillMs?: number;
    readonly wallMs?: () => number;
    readonly emitted?: () => void;
    readonly collectGarbage?: () => void;
    /** Another agent holds the node. */
    readonly waits?: boolean;
  } = {},
): Running {
  const path = options.path ?? join(folder, "mesh.yaml");
  const lastGoodFile = join(folder, "run", "last-good.json");
  mkdirSync(join(folder, "run"), { recursive: true });
  const batches: (readonly MeshUpdate[])[] = [];
  const warnings: string[] = [];
  const waiting = new Set<() => void>();
  const source = new StaticFileSource(
    // Polling is out of the way unless a test is about it, and so is what counts by being still.
    {
      path,
      lastGoodFile,
      settings,
      debounceMs: 5,
      stillMs: options.stillMs ?? 3_600_000,
      pollMs: options.pollMs ?? 3_600_000,
    },
    {
      wallMs: options.wallMs ?? Date.now,
      warn: (message) => void warnings.push(message),
      ...(options.collectGarbage && { collectGarbage: options.collectGarbage }),
      changed: () => {
        for (const check of waiting) check();
      },
    },
  );
  if (options.waits !== true) void source.hold();
  const abort = new AbortController();
  const running = source.run((updates) => {
    batches.push(updates);
    options.emitted?.();
  }, abort.signal);
  const stop = async (): Promise<void> => {
    abort.abort();
    await running;
  };
  t.after(stop);
  const until: Running["until"] = (condition) => {
    const fulfilled = new Promise<SourceStatus>((resolve) => {
      const check = (): void => {
        const status = source.status();
        if (!condition(status)) return;
        waiting.delete(check);
        resolve(status);
      };
      waiting.add(check);
      check();
    });
    const seen = () => ({ status: source.status(), batches: batches.map(names), warnings });
    return inTime(fulfilled, { what: String(condition), seen });
  };
  return { folder, path, lastGoodFile, source, batches, warnings, stop, until };
}

/** As editors do: whole under another name, then renamed. */
export function swap(path: string, text: string): void {
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
}

export const names = (batch: readonly MeshUpdate[] | undefined): string[] =>
  (batch ?? []).map((one) => (one.op === "remove" ? `-${one.key}` : `+${one.value.name}`));

/** `count` files of two workloads each, `1.yaml` and so on. */
export function manyFiles(t: TestContext, count: number): string {
  const path = join(folderOf(t), "mesh.d");
  mkdirSync(path);
  for (let nth = 1; nth <= count; nth++)
    writeFileSync(join(path, `${nth}.yaml`), `${workload(`a${nth}`, nth)}---\n${workload(`b${nth}`, 100 + nth)}`);
  return path;
}

export const strict = `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: all, namespace: shop}
spec: {mtls: {mode: STRICT}}
`;
