// test peers · what the control program writes into the status of each route that the suite makes, as kubectl sees it go by.
import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import type { Kubectl } from "../../cluster/kubectl.ts";

const GROUP = "/apis/gateway.networking.k8s.io/v1";
const CONTROLLER = "orlop.dev/mesh";

type Condition = { readonly type: string; readonly status: string; readonly reason: string; readonly message: string };
type Happening = {
  readonly object: {
    readonly metadata: { readonly name: string; readonly uid: string };
    readonly status?: {
      readonly parents?: readonly { readonly controllerName: string; readonly conditions: readonly Condition[] }[];
    };
  };
};

export class RouteWatch {
  readonly #children: readonly ChildProcess[];
  readonly #seen = new Map<string, { readonly name: string; readonly said: string }>();

  /** @param plurals of the kinds of routes */
  constructor(kubectl: Kubectl, plurals: readonly string[]) {
    this.#children = plurals.map((plural) => {
      const child = kubectl.stream(`${GROUP}/${plural}?watch=true&timeoutSeconds=3600`);
      createInterface({ input: child.stdout }).on("line", (line) => this.#take(line));
      return child;
    });
  }

  /** Of each route that has been, the last conditions of our entries: "Accepted True Accepted". Empty: it has had no entry. */
  get routes(): readonly { readonly name: string; readonly said: string }[] {
    return [...this.#seen.values()];
  }

  close(): void {
    for (const child of this.#children) child.kill();
  }

  #take(line: string): void {
    const { metadata, status } = (JSON.parse(line) as Happening).object;
    const conditions = (status?.parents ?? [])
      .filter(({ controllerName }) => controllerName === CONTROLLER)
      .flatMap((entry) => entry.conditions);
    const said = conditions.map(({ type, status: is, reason }) => `${type} ${is} ${reason}`).join(", ");
    this.#seen.set(metadata.uid, { name: metadata.name, said });
  }
}
