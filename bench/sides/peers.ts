// bench · the peers by name.
import { openDirect, openRelay, openSealingRelay } from "./direct.ts";
import { openEnvoy } from "./envoy.ts";
import { openHaproxy, openHaproxyHop } from "./haproxy.ts";
import { openLinkerd } from "./linkerd.ts";
import { openMosn } from "./mosn.ts";
import { openNghttpx } from "./nghttpx.ts";
import { openNginx } from "./nginx.ts";
import { openOrlopBefore, openOrlopOnOpenssl } from "./orlop.ts";
import type { OpenSide } from "./side.ts";
import { openZtunnel } from "./ztunnel.ts";

export const peers = {
  direct: openDirect,
  relay: openRelay,
  "relay-sealing": openSealingRelay,
  haproxy: openHaproxy({ tuned: false, mode: "tcp" }),
  "haproxy-tuned": openHaproxy({ tuned: true, mode: "tcp" }),
  "haproxy-http": openHaproxy({ tuned: false, mode: "http" }),
  "haproxy-http-log": openHaproxy({ tuned: false, mode: "http", log: true }),
  "haproxy-hop": openHaproxyHop,
  nginx: openNginx({ tuned: false, mode: "tcp" }),
  "nginx-tuned": openNginx({ tuned: true, mode: "tcp" }),
  "nginx-http": openNginx({ tuned: false, mode: "http" }),
  nghttpx: openNghttpx,
  ztunnel: openZtunnel,
  linkerd: openLinkerd,
  mosn: openMosn,
  envoy: openEnvoy({ mode: "tcp" }),
  "envoy-http": openEnvoy({ mode: "http" }),
  "orlop-openssl": openOrlopOnOpenssl,
  "orlop-before": openOrlopBefore,
} as const satisfies Readonly<Record<string, OpenSide>>;

export type PeerName = keyof typeof peers;
export const isPeer = (name: string): name is PeerName => Object.hasOwn(peers, name);
