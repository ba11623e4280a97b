// any thread · who asks, by the API server's review of the token; and whether the node that the token is bound to has a pod of the asked
// account. Pure; what is missing refuses.
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import type { BoundPod, TokenReview } from "./cluster.ts";
import { NotIssued } from "./not-issued.ts";

export type AskingAgent = {
  /** `namespace/name` of the agent's account. */
  readonly account: string;
  readonly namespace: string;
  readonly podName: string;
  readonly podUid: string;
  /** Empty: the server that reviewed the token does not say (before 1.30), and the pod does. */
  readonly node: string;
};

const accountForm = /^system:serviceaccount:([a-z0-9-]{1,63}):([a-z0-9.-]{1,253})$/;

/**
 * The agent's pod that a token is bound to.
 * @throws NotIssued: the token is not valid, not for this audience, not of an agent's account, or not bound to a pod
 */
export function callerOf(review: TokenReview, audience: string, agentAccounts: readonly string[]): AskingAgent {
  const { isAuthenticated, audiences, username, extra } = review;
  // A server that does not know audiences answers without them: such a token could be one for anything.
  if (!isAuthenticated || !audiences.includes(audience)) {
    throw new NotIssued("UNAUTHENTICATED", `the token is not valid for the audience ${audience}`);
  }
  const [, namespace, name] = accountForm.exec(username) ?? [];
  const account = `${namespace}/${name}`;
  if (namespace === undefined || name === undefined || !agentAccounts.includes(account)) {
    throw new NotIssued("PERMISSION_DENIED", "the token is not of an agent's account");
  }
  const { podName, podUid, nodeName } = extra;
  // A token that somebody made by hand for the account is bound to no node.
  if (podName === "" || podUid === "") throw new NotIssued("PERMISSION_DENIED", "the token is not bound to a pod");
  return { account, namespace, podName, podUid, node: nodeName };
}

/**
 * The node of a caller whose token does not name it.
 * @throws NotIssued: there is no such pod any more, or it has no node
 */
export function nodeOf(caller: AskingAgent, pod: BoundPod | undefined): string {
  if (pod === undefined || pod.uid !== caller.podUid || pod.isFinished || pod.node === "") {
    throw new NotIssued("PERMISSION_DENIED", "the token's pod is on no node");
  }
  if (`${pod.namespace}/${pod.serviceAccount}` !== caller.account) {
    throw new NotIssued("PERMISSION_DENIED", "the token's pod is of another account");
  }
  return pod.node;
}

/**
 * The pod for which the node's agent may have the identity. Pods on the node's own network count for nothing: their connections are the
 * node's, and no agent captures them.
 * @throws NotIssued: no pod of the account is alive on the node
 */
export function podFor(identity: SpiffeId, node: string, pods: readonly BoundPod[]): BoundPod {
  const { namespace, serviceAccount } = identity;
  const found = pods.find(
    (pod) =>
      node !== "" &&
      pod.node === node &&
      pod.namespace === namespace &&
      pod.serviceAccount === serviceAccount &&
      pod.uid !== "" &&
      !pod.isFinished &&
      !pod.isOnHostNetwork,
  );
  if (found !== undefined) return found;
  throw new NotIssued("PERMISSION_DENIED", `no pod of ${namespace}/${serviceAccount} is on the node ${node}`);
}
