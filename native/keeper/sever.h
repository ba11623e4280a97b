// keeper · ends connections that nobody sits in between of, once they are no longer allowed.
#pragma once

#include <cstdint>
#include <string>

namespace orlop {

// What the hooks keep, by descriptor: dst_of_sock, pair_verdict, in_by_port, pod_by_ip, agent_flow, joined_flow,
// out_by_dst, node_flow, node_access, node_cgroup, node_port; and the index of the pod whose namespace it is. 0: the pod has left the mesh, and only joined connections end.
struct SeverMaps {
  int socks;
  int pairs;
  int plaintext;
  int pods;
  int agent_flows;
  int joined_flows;
  int destinations;
  int node_flows;
  int node_access;
  int node_cgroups;
  int node_ports;
  uint32_t pod_idx;
};

// Asks the kernel for all sockets in the calling thread's namespace, a pod's, and ends those that bypass the agent
// and that a new connection would not be allowed to be:
// - joined ones, at either end, unless pair_verdict says JOIN or STAY of the pods that the two ends are now
// - plaintext that the application accepted, under whatever index or before there was any, unless in_by_port lets it pass
//   or it is of a program of the node that is let in now
// - requests whose handshake has begun, unless in_by_port lets them pass, or sends them to the agent's listener and they are with it
// - what went direct (OUTSIDE) to a destination that out_by_dst has now
// What the agent carries, what the pod dialled in plaintext otherwise, and connections within the namespace stay. It needs no
// memory of what was opened. 0 or -errno, with the failing call in `step`.
int Sever(const SeverMaps& maps, uint32_t* ended, std::string* step);

// Ends every connection in the calling thread's namespace that bypasses the agent according to `socks`, the
// dst_of_sock of another layout version: joined to a pod of the node, or plaintext that was let pass. Nobody
// judges them once that map is gone.
int EndMarked(int socks, uint32_t* ended, std::string* step);

}  // namespace orlop
