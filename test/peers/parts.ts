// test peers · the judges: each is one test file, and the projects that it is built from.

/** What a cluster of test/cluster runs: Kubernetes and etcd from Go modules, the rest of a node from Debian. */
const kubernetes = { projects: ["etcd", "kube"], debian: ["containerd", "runc", "containernetworking-plugins"] };

export type Part = {
  readonly name: string;
  /** Below test/peers. */
  readonly test: string;
  readonly projects: readonly string[];
  /** Debian packages whose programs it runs. */
  readonly debian?: readonly string[];
  /** Its build takes so long that a run builds it only when it is asked for this part by name. What the cache holds, it uses. */
  readonly builtByName?: true;
  /** A variable that has to name a program which no registry has. */
  readonly given?: string;
  /** The agents' `tls.recordLayer`; without it their default, `own`. */
  readonly recordLayer?: "openssl";
};

/** Judges of TLS, each with either record layer. */
const eitherLayer = (part: Part): readonly Part[] => [
  part,
  { ...part, name: `${part.name}-openssl`, recordLayer: "openssl" },
];

export const parts: readonly Part[] = [
  ...eitherLayer({ name: "envoy", test: "envoy/envoy.peer.ts", projects: ["envoy"] }),
  ...eitherLayer({ name: "rustls", test: "rustls/rustls.peer.ts", projects: ["rustls"] }),
  ...eitherLayer({ name: "ztunnel", test: "ztunnel/ztunnel.peer.ts", projects: [], given: "ZTUNNEL_BIN" }),
  { name: "wycheproof", test: "wycheproof/wycheproof.peer.ts", projects: ["wycheproof"] },
  { name: "h2spec", test: "h2spec/h2spec.peer.ts", projects: ["h2spec"] },
  { name: "h2spec-requests", test: "h2spec/requests.peer.ts", projects: ["h2spec"] },
  ...eitherLayer({ name: "tlslite", test: "tlslite/tlslite.peer.ts", projects: ["tlslite"] }),
  {
    ...{ name: "zoo", test: "zoo/zoo.peer.ts" },
    projects: ["zoo/python", "zoo/node", "zoo/go", "zoo/java", "zoo/rust"],
    debian: ["curl", "redis-server", "redis-tools", "postgresql", "mariadb-server", "mariadb-client"],
  },
  { name: "mutants", test: "mutants/mutants.peer.ts", projects: [], debian: ["nginx", "apache2-bin"] },
  { name: "re2", test: "re2/re2.peer.ts", projects: ["re2"] },
  { name: "authority", test: "authority/authority.peer.ts", projects: ["authority"] },
  { name: "grpc", test: "grpc/grpc.peer.ts", projects: ["authority"] },
  { name: "rotation", test: "authority/rotation.peer.ts", projects: [] },
  { name: "cluster", test: "../cluster/cluster.peer.ts", ...kubernetes },
  { name: "mesh", test: "../cluster/mesh.peer.ts", ...kubernetes },
  { name: "cni", test: "../cluster/cni.peer.ts", ...kubernetes },
  { name: "outcome", test: "../cluster/outcome.peer.ts", ...kubernetes },
  { name: "control", test: "../cluster/authority.peer.ts", ...kubernetes },
  { name: "routes", test: "../cluster/routes.peer.ts", ...kubernetes },
  { name: "source", test: "../cluster/source.peer.ts", ...kubernetes },
  {
    ...{ name: "istiod", test: "istiod/istiod.peer.ts", builtByName: true },
    ...{ ...kubernetes, projects: [...kubernetes.projects, "istiod"] },
  },
  {
    ...{ name: "gamma", test: "gamma/gamma.peer.ts", builtByName: true },
    ...{ ...kubernetes, projects: [...kubernetes.projects, "gamma/suite", "gamma/echo"] },
  },
];
