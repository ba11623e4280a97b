// test cluster · the account by which an agent reads the cluster, and tokens for it that end when their Secret is deleted.
import { type Method, send } from "./api.ts";
import { definitions } from "./random-objects.ts";

const NAMESPACE = "orlop-system";
const NAME = "orlop-agent";
const secrets = `/api/v1/namespaces/${NAMESPACE}/secrets`;

/** @throws Error with what the server says */
async function make(kubeconfig: string, method: Method, url: string, object?: object): Promise<unknown> {
  const { status, body } = await send(kubeconfig, method, url, object);
  if (status >= 200 && status < 300) return JSON.parse(body);
  throw new Error(`${method} ${url}: ${status} ${body}`);
}

/** Makes definitions of policies and routes, and an account that may read what an agent reads. */
export async function makeAccount(kubeconfig: string): Promise<void> {
  for (const definition of definitions())
    await make(kubeconfig, "POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition);
  const metadata = { name: NAME };
  await make(kubeconfig, "POST", "/api/v1/namespaces", { metadata: { name: NAMESPACE } });
  await make(kubeconfig, "POST", `/api/v1/namespaces/${NAMESPACE}/serviceaccounts`, { metadata });
  const read = (apiGroups: readonly string[], resources: readonly string[], verbs = ["get", "list", "watch"]) => ({
    ...{ apiGroups, resources, verbs },
  });
  const rbac = "/apis/rbac.authorization.k8s.io/v1";
  await make(kubeconfig, "POST", `${rbac}/clusterroles`, {
    metadata,
    rules: [
      read([""], ["pods", "namespaces", "services"]),
      read(["discovery.k8s.io"], ["endpointslices"]),
      read(["security.istio.io"], ["authorizationpolicies", "peerauthentications"]),
      read(["gateway.networking.k8s.io"], ["httproutes", "grpcroutes", "tlsroutes", "tcproutes"]),
      read(["networking.istio.io"], ["destinationrules"]),
      read(["orlop.dev"], ["limitpolicies"]),
      read(["apiextensions.k8s.io"], ["customresourcedefinitions"], ["get"]),
    ],
  });
  await make(kubeconfig, "POST", `${rbac}/clusterrolebindings`, {
    metadata,
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: NAME },
    subjects: [{ kind: "ServiceAccount", name: NAME, namespace: NAMESPACE }],
  });
}

/** A token of the account, which is valid until the Secret of this name is deleted. */
export async function tokenOf(kubeconfig: string, secret: string): Promise<string> {
  const made = (await make(kubeconfig, "POST", secrets, { metadata: { name: secret } })) as {
    readonly metadata: { readonly uid: string };
  };
  const boundObjectRef = { apiVersion: "v1", kind: "Secret", name: secret, uid: made.metadata.uid };
  const url = `/api/v1/namespaces/${NAMESPACE}/serviceaccounts/${NAME}/token`;
  const request = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest" };
  const spec = { audiences: [], expirationSeconds: 3_600, boundObjectRef };
  const answered = (await make(kubeconfig, "POST", url, { ...request, spec })) as {
    readonly status: { readonly token: string };
  };
  return answered.status.token;
}

/** The API server may believe the token for some ten seconds more. */
export async function revoke(kubeconfig: string, secret: string): Promise<void> {
  await make(kubeconfig, "DELETE", `${secrets}/${secret}`);
}
