// test cluster · what a cluster has when an authority is asked: accounts, an agent's pod and an application's pod on each node; and tokens
// that are bound to pods, as the kubelet projects them.
import { send } from "./api.ts";
import { POD_IMAGE } from "./plan.ts";

export type PodOf = {
  readonly namespace: string;
  readonly name: string;
  readonly account: string;
  readonly node: string;
  readonly hostNetwork?: boolean;
};

/** @throws Error with what the server says */
export async function make<T = unknown>(kubeconfig: string, url: string, object: object): Promise<T> {
  const { status, body } = await send(kubeconfig, "POST", url, object);
  if (status >= 200 && status < 300) return JSON.parse(body) as T;
  throw new Error(`POST ${url}: ${status} ${body}`);
}

export async function makeNamespace(kubeconfig: string, name: string, accounts: readonly string[]): Promise<void> {
  await make(kubeconfig, "/api/v1/namespaces", { metadata: { name } });
  for (const account of accounts)
    await make(kubeconfig, `/api/v1/namespaces/${name}/serviceaccounts`, { metadata: { name: account } });
}

/** Whether it runs is no matter: it is on its node from the moment that it is there. @returns its UID */
export async function makePod(
  kubeconfig: string,
  { namespace, name, account, node, hostNetwork }: PodOf,
): Promise<string> {
  const container = {
    name: "pod",
    image: POD_IMAGE,
    imagePullPolicy: "Never",
    command: ["/pod", "serve", "8080", name],
  };
  const made = await make<{ readonly metadata: { readonly uid: string } }>(
    kubeconfig,
    `/api/v1/namespaces/${namespace}/pods`,
    {
      metadata: { name },
      spec: {
        ...{ nodeName: node, serviceAccountName: account, automountServiceAccountToken: false },
        ...{ terminationGracePeriodSeconds: 0, containers: [container], hostNetwork: hostNetwork === true },
      },
    },
  );
  return made.metadata.uid;
}

/** @param pod null: bound to nothing, as a token that somebody makes by hand */
export async function tokenFor(
  kubeconfig: string,
  account: Pick<PodOf, "namespace" | "account">,
  audience: string,
  pod: { readonly name: string; readonly uid: string } | null,
): Promise<string> {
  const url = `/api/v1/namespaces/${account.namespace}/serviceaccounts/${account.account}/token`;
  const bound = pod === null ? {} : { boundObjectRef: { apiVersion: "v1", kind: "Pod", ...pod } };
  const spec = { audiences: audience === "" ? [] : [audience], expirationSeconds: 3_600, ...bound };
  const request = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec };
  return (await make<{ readonly status: { readonly token: string } }>(kubeconfig, url, request)).status.token;
}
