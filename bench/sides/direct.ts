// bench · no mesh at all, and a pair of relays that neither encrypt nor decide: what the wires and two hops cost.
import { ownProgram } from "../programs.ts";
import { SERVER_PORT } from "../world.ts";
import { endsOf, FAR_PORT, NEAR_PORT, type OpenSide, startPair } from "./side.ts";

export const openDirect: OpenSide = async (world, route) => {
  const { box, client, server } = await endsOf(world, route);
  return {
    ...{ name: "direct", version: "TCP", box, client },
    target: { host: server.ip4, port: SERVER_PORT },
    pids: () => [],
    serverPids: () => [],
    stop: async () => {},
  };
};

export const openRelay: OpenSide = async (world, route) => {
  const ends = await endsOf(world, route);
  const relay = ownProgram("relay");
  const far = ends.server.ip4;
  return startPair(ends, {
    name: "relay",
    version: "bench/load/relay.c, 256 KB buffer",
    near: [relay, "127.0.0.1", String(NEAR_PORT), far, String(FAR_PORT)],
    far: [relay, far, String(FAR_PORT), "127.0.0.1", String(SERVER_PORT)],
  });
};
