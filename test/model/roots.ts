// test model · the roots of two nodes: each makes its own and trusts the other's, until a step takes that away from node-a.
import { appendFileSync, chownSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { EmbeddedAuthority } from "../../agent/identity/embedded.ts";
import { spiffeId } from "../../agent/mesh/spiffe-id.ts";
import { AGENT_UID, type Cluster, type Node } from "../box/cluster.ts";

export class Roots {
  readonly #cluster: Cluster;
  /** Of node-a with its key. */
  #own = "";
  /** The certificate of node-b's. */
  #other = "";
  /** Node-a trusts the root of node-b. */
  areTrusted = true;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** Before the nodes start; the paths are in their configurations from then on. */
  async make(): Promise<void> {
    const { nodes, caFile } = this.#cluster;
    const texts: string[] = [];
    for (const node of nodes) {
      const file = this.#fileOf(node);
      mkdirSync(path.dirname(file), { mode: 0o700, recursive: true });
      const options = { rootFile: file, leafTtlSeconds: 3_600, trustDomain: "cluster.local" };
      const authority = new EmbeddedAuthority(options, { wallMs: Date.now });
      await authority.issue(spiffeId("cluster.local", "demo", "nobody"), new AbortController().signal);
      texts.push(readFileSync(file, "utf8"));
      writeFileSync(node.configFile, readFileSync(node.configFile, "utf8").replace(caFile, file));
    }
    const certificateOf = (text = ""): string => text.slice(text.indexOf("-----BEGIN CERTIFICATE-----"));
    [this.#own = "", this.#other = ""] = [texts[0] ?? "", certificateOf(texts[1])];
    for (const [at, node] of nodes.entries()) {
      const file = this.#fileOf(node);
      appendFileSync(file, certificateOf(texts[1 - at]));
      for (const owned of [file, path.dirname(file)]) chownSync(owned, AGENT_UID, AGENT_UID);
    }
  }

  /** Node-a trusts its own root alone, or that of node-b, too. */
  trust(both: boolean): void {
    this.areTrusted = both;
    this.break(both ? this.#own + this.#other : this.#own);
  }

  /** Node-a's file holds this text; what is trusted stays as it was. */
  break(text: string): void {
    writeFileSync(this.#fileOf(this.#cluster.node("node-a")), text);
  }

  #fileOf(node: Node): string {
    return path.join(this.#cluster.dir, `ca-${node.name}`, "root.pem");
  }
}
