// main thread · builder · the certificate authority that the node's configuration names: this agent by the root's key, or another program.
import type { AgentConfig } from "../config/config.ts";
import { EmbeddedAuthority } from "../identity/embedded.ts";
import type { Provider } from "../identity/provider.ts";
import { RemoteAuthority } from "../identity/remote-authority.ts";
import type { Logger } from "../observe/log.ts";

export type PreparedProvider = Provider & {
  /** Loads the authority's code. Called before privileges are dropped. */
  prepare(): Promise<void>;
};

export function certificateAuthority(
  { ca, settings, source }: Pick<AgentConfig, "ca" | "settings" | "source">,
  { wallMs, log }: { readonly wallMs: () => number; readonly log: Pick<Logger, "warn"> },
): PreparedProvider {
  const { trustDomain, cluster } = settings;
  if (ca.provider === "service") return new RemoteAuthority({ ...ca, trustDomain, cluster }, { wallMs });
  if (source.kind === "kubernetes") {
    log.warn(
      "this node holds the mesh's root key: whoever takes the node can be every pod. ca.provider: service keeps it elsewhere",
    );
  }
  return new EmbeddedAuthority({ ...ca, trustDomain }, { wallMs });
}
