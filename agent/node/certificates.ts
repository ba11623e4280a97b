// main thread · builder · the certificates of this node's workloads: each goes into the engine, and every data thread learns
// of it.
import { Certificates, type Installed } from "../identity/certificates.ts";
import { systemClock } from "../identity/clock.ts";
import type { Provider } from "../identity/provider.ts";
import type { Logger } from "../observe/log.ts";
import type { DataThreads } from "../threads/data-threads.ts";
import type { AgentCounts } from "./agent-counts.ts";
import type { Built } from "./built.ts";

export type CertificateParts = {
  readonly provider: Provider;
  readonly engine: {
    readonly installIdentity: (identity: number, chainPem: string, pkcs8: Uint8Array) => void;
    readonly dropIdentity: (identity: number) => void;
  };
  readonly threads: Pick<DataThreads, "tell">;
  readonly counts: Pick<AgentCounts, "certificateFailed">;
  readonly log: Logger;
};

export function holdCertificates({ provider, engine, threads, counts, log }: CertificateParts): Built<Certificates> {
  const install = ({ identity, spiffeId, chainPem, pkcs8, rotated }: Installed): void => {
    engine.installIdentity(identity, chainPem, pkcs8);
    threads.tell({ op: "identity", identity, spiffeId: spiffeId.text, rotated });
    log.info(rotated ? "certificate rotated" : "certificate installed", { identity: spiffeId.text });
  };
  const certificates = new Certificates(
    {},
    {
      provider,
      clock: systemClock,
      install,
      drop: (identity, { text }) => {
        engine.dropIdentity(identity);
        threads.tell({ op: "identity-dropped", identity, spiffeId: text });
      },
      failed: (spiffeId, error, usableMs) => {
        counts.certificateFailed();
        log.warn("no new certificate", { identity: spiffeId.text, error, usableMs });
      },
    },
  );
  return { thing: certificates, close: () => certificates.close() };
}
