// bench · no mesh at all, a pair of relays that neither encrypt nor decide: what the wires and two hops cost; and the same relays that
// seal as many bytes as a tunnel's ends seal and open: what it costs at least to encrypt between them.
import { ownProgram } from "../world/programs.ts";
import { SERVER_PORT } from "../world/world.ts";
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

/** In Node, since it uses the OpenSSL of Node as the engine does. */
const RUN = "const m = { exports: {} }; process.dlopen(m, process.argv[1]); m.exports.run(...process.argv.slice(2))";

/** Program and arguments; `args` are those of relay.c. */
export const sealingRelay = (args: readonly string[]): [program: string, args: readonly string[]] => [
  process.execPath,
  ["-e", RUN, ownProgram("seal.node"), ...args],
];

export const openSealingRelay: OpenSide = async (world, route) => {
  const ends = await endsOf(world, route);
  const far = ends.server.ip4;
  return startPair(ends, {
    name: "relay-sealing",
    version: `bench/load/relay.c with AES-128-GCM of Node ${process.version}`,
    near: sealingRelay(["127.0.0.1", String(NEAR_PORT), far, String(FAR_PORT)]).flat(),
    far: sealingRelay([far, String(FAR_PORT), "127.0.0.1", String(SERVER_PORT)]).flat(),
  });
};
