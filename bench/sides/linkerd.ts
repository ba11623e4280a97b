// bench · linkerd2-proxy takes identity, policy and destinations only from its control plane, over gRPC: LINKERD_BIN alone
// cannot be measured, and a stand-in of ours would measure the stand-in.
import { given } from "../world/programs.ts";
import type { OpenSide } from "./side.ts";

export const openLinkerd: OpenSide = async () => {
  const binary = given("LINKERD_BIN");
  throw new Error(`${binary} needs a linkerd control plane (identity, policy, destination), which this bench has not`);
};
