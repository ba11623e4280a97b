// bench · the peers by name.
import { openDirect, openRelay } from "./direct.ts";
import { openEnvoy } from "./envoy.ts";
import { openHaproxy } from "./haproxy.ts";
import { openLinkerd } from "./linkerd.ts";
import { openMosn } from "./mosn.ts";
import { openNghttpx } from "./nghttpx.ts";
import { openNginx } from "./nginx.ts";
import type { OpenSide } from "./side.ts";
import { openZtunnel } from "./ztunnel.ts";

export const peers = {
  direct: openDirect,
  relay: openRelay,
  haproxy: openHaproxy({ tuned: false }),
  "haproxy-tuned": openHaproxy({ tuned: true }),
  nginx: openNginx({ tuned: false }),
  "nginx-tuned": openNginx({ tuned: true }),
  nghttpx: openNghttpx,
  ztunnel: openZtunnel,
  linkerd: openLinkerd,
  mosn: openMosn,
  envoy: openEnvoy,
} as const satisfies Readonly<Record<string, OpenSide>>;

export type PeerName = keyof typeof peers;
export const isPeer = (name: string): name is PeerName => Object.hasOwn(peers, name);
