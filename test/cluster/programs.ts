// test cluster · the command line of each program, and the files that containerd, CNI and kubelet read. Pure.
import path from "node:path";
import {
  API_PORT,
  type ClusterPlan,
  ETCD_PORT,
  type NodePlan,
  POD_IMAGE,
  pkiOf,
  services,
  staticPodsOf,
} from "./plan.ts";

/** Folders of the built programs (test/peers/kube, test/peers/etcd). */
export type Binaries = { readonly kube: string; readonly etcd: string };

const ISSUER = "https://kubernetes.default.svc";

export function etcdArgv(plan: ClusterPlan, { etcd }: Binaries): readonly string[] {
  const client = `http://127.0.0.1:${ETCD_PORT}`;
  const peer = `http://127.0.0.1:${ETCD_PORT + 1}`;
  return [
    path.join(etcd, "bin/etcd"),
    `--data-dir=${path.join(plan.dir, "etcd")}`,
    ...[`--listen-client-urls=${client}`, `--advertise-client-urls=${client}`],
    ...[`--listen-peer-urls=${peer}`, `--initial-advertise-peer-urls=${peer}`, `--initial-cluster=default=${peer}`],
    // The cluster does not outlive its machine.
    "--unsafe-no-fsync",
  ];
}

export function apiServerArgv(plan: ClusterPlan, { kube }: Binaries): readonly string[] {
  const pki = (file: string): string => path.join(pkiOf(plan), file);
  return [
    path.join(kube, "bin/kube-apiserver"),
    `--etcd-servers=http://127.0.0.1:${ETCD_PORT}`,
    ...[`--bind-address=${plan.control.ip4}`, `--advertise-address=${plan.control.ip4}`, `--secure-port=${API_PORT}`],
    ...[`--tls-cert-file=${pki("apiserver.crt")}`, `--tls-private-key-file=${pki("apiserver.key")}`],
    `--client-ca-file=${pki("ca.crt")}`,
    ...[`--service-account-key-file=${pki("sa.pub")}`, `--service-account-signing-key-file=${pki("sa.key")}`],
    ...[`--service-account-issuer=${ISSUER}`, `--api-audiences=${ISSUER}`],
    `--service-cluster-ip-range=${services.ranges}`,
    ...["--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true"],
    ...[`--kubelet-client-certificate=${pki("admin.crt")}`, `--kubelet-client-key=${pki("admin.key")}`],
    "--kubelet-preferred-address-types=InternalIP",
    "--profiling=false",
  ];
}

export function controllerManagerArgv(plan: ClusterPlan, { kube }: Binaries): readonly string[] {
  const pki = (file: string): string => path.join(pkiOf(plan), file);
  return [
    path.join(kube, "bin/kube-controller-manager"),
    `--kubeconfig=${pki("controller-manager.kubeconfig")}`,
    ...[`--service-account-private-key-file=${pki("sa.key")}`, `--root-ca-file=${pki("ca.crt")}`],
    ...[`--cluster-signing-cert-file=${pki("ca.crt")}`, `--cluster-signing-key-file=${pki("ca.key")}`],
    ...["--use-service-account-credentials", "--bind-address=127.0.0.1", "--leader-elect=false"],
  ];
}

export function schedulerArgv(plan: ClusterPlan, { kube }: Binaries): readonly string[] {
  return [
    path.join(kube, "bin/kube-scheduler"),
    `--kubeconfig=${path.join(pkiOf(plan), "scheduler.kubeconfig")}`,
    ...["--bind-address=127.0.0.1", "--leader-elect=false"],
  ];
}

/** The cluster's DNS, on the control plane's address. */
export const dnsArgv = (plan: ClusterPlan): readonly string[] => [
  ...[process.execPath, path.join(import.meta.dirname, "dns.ts")],
  ...[path.join(pkiOf(plan), "admin.kubeconfig"), plan.control.ip4, "53"],
];

/** Inside its mount namespace a node has /run and /var/lib of its own, so containerd and kubelet keep their own paths there. */
export const CONTAINERD_SOCKET = "/run/containerd/containerd.sock";

export const containerdArgv = (node: NodePlan): readonly string[] => [
  "/usr/bin/containerd",
  `--config=${path.join(node.dir, "containerd.toml")}`,
];

export const importArgv = (archive: string): readonly string[] => [
  ...["/usr/bin/ctr", "--address", CONTAINERD_SOCKET, "--namespace", "k8s.io", "images", "import", archive],
];

export function kubeletArgv(plan: ClusterPlan, node: NodePlan, { kube }: Binaries): readonly string[] {
  return [
    path.join(kube, "bin/kubelet"),
    `--config=${path.join(node.dir, "kubelet.yaml")}`,
    `--kubeconfig=${path.join(pkiOf(plan), `${node.name}.kubeconfig`)}`,
    `--hostname-override=${node.name}`,
    `--node-ip=${node.addresses.ip4},${node.addresses.ip6}`,
  ];
}

export function proxyArgv(plan: ClusterPlan, node: NodePlan, { kube }: Binaries): readonly string[] {
  return [
    path.join(kube, "bin/kube-proxy"),
    `--kubeconfig=${path.join(pkiOf(plan), "proxy.kubeconfig")}`,
    ...[`--hostname-override=${node.name}`, `--bind-address=${node.addresses.ip4}`, "--proxy-mode=iptables"],
    ...["--healthz-bind-address=127.0.0.1:10256", "--metrics-bind-address=127.0.0.1:10249"],
    // These are settings of the whole machine.
    ...["--conntrack-max-per-core=0", "--conntrack-min=0"],
    ...["--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0"],
  ];
}

/** As the node sees them; its /run is its own. */
export const cniDirectories = { confDir: "/run/cni/net.d", binDir: "/run/cni/bin" } as const;

/** For Debian 12's containerd 1.6; version 2 of containerd wants another form. */
export const containerdConfig = (): string => `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${POD_IMAGE}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${cniDirectories.binDir}"
    conf_dir = "${cniDirectories.confDir}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      BinaryName = "/usr/sbin/runc"
`;

export const cniConfig = ({ pods }: NodePlan): string =>
  JSON.stringify({
    cniVersion: "0.4.0",
    name: "cluster",
    plugins: [
      {
        ...{ type: "bridge", bridge: "pods", isGateway: true, ipMasq: false, hairpinMode: true },
        ipam: {
          type: "host-local",
          ranges: [[{ subnet: pods.ip4 }], [{ subnet: pods.ip6 }]],
          routes: [{ dst: "0.0.0.0/0" }, { dst: "::/0" }],
        },
      },
      { type: "portmap", capabilities: { portMappings: true } },
    ],
  });

export const kubeletConfig = (plan: ClusterPlan, node: NodePlan): string =>
  JSON.stringify({
    ...{ apiVersion: "kubelet.config.k8s.io/v1beta1", kind: "KubeletConfiguration" },
    authentication: {
      ...{ anonymous: { enabled: false }, webhook: { enabled: true } },
      x509: { clientCAFile: path.join(pkiOf(plan), "ca.crt") },
    },
    authorization: { mode: "Webhook" },
    tlsCertFile: path.join(pkiOf(plan), `${node.name}.crt`),
    tlsPrivateKeyFile: path.join(pkiOf(plan), `${node.name}.key`),
    containerRuntimeEndpoint: `unix://${CONTAINERD_SOCKET}`,
    ...{ cgroupDriver: "cgroupfs", failCgroupV1: false, failSwapOn: false },
    // kubelet would change kernel settings of the whole machine; with this it only checks them (scripts.ts shows it copies).
    protectKernelDefaults: true,
    ...{ address: "0.0.0.0", healthzBindAddress: "127.0.0.1", resolvConf: "/dev/null" },
    ...{
      makeIPTablesUtilChains: false,
      evictionHard: { "memory.available": "50Mi" },
      imageGCHighThresholdPercent: 100,
    },
    ...{ syncFrequency: "5s", nodeStatusUpdateFrequency: "2s" },
    ...{ staticPodPath: staticPodsOf(node), fileCheckFrequency: "1s" },
    ...{ clusterDNS: [plan.control.ip4], clusterDomain: "cluster.local" },
  });

/** For the owner of the certificate; all three in PEM. */
export function kubeconfig(server: string, pem: { ca: string; certificate: string; key: string }): string {
  const base64 = (text: string): string => Buffer.from(text).toString("base64");
  return JSON.stringify({
    ...{ apiVersion: "v1", kind: "Config", "current-context": "cluster" },
    clusters: [{ name: "cluster", cluster: { server, "certificate-authority-data": base64(pem.ca) } }],
    users: [
      {
        name: "user",
        user: { "client-certificate-data": base64(pem.certificate), "client-key-data": base64(pem.key) },
      },
    ],
    contexts: [{ name: "cluster", context: { cluster: "cluster", user: "user" } }],
  });
}
