// test cluster · the cluster's certificates by openssl: an authority, and a P-256 certificate and kubeconfig for each program.
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { API_PORT, type ClusterPlan, kubeconfigOf, pkiOf, services } from "./plan.ts";
import { kubeconfig } from "./programs.ts";

type Subject = { readonly name: string; readonly subject: string; readonly names?: readonly string[] };

/** Whom the API server and kubelet must recognise, by the names that Kubernetes gives its own programs. */
function subjects(plan: ClusterPlan): readonly Subject[] {
  const { ip4, ip6 } = plan.control;
  const service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"];
  const addresses = ["127.0.0.1", ip4, ip6, services.first.ip4, services.first.ip6];
  return [
    {
      ...{ name: "apiserver", subject: "/CN=kube-apiserver" },
      names: [...addresses.map((address) => `IP:${address}`), ...service.map((name) => `DNS:${name}`)],
    },
    { name: "admin", subject: "/O=system:masters/CN=admin" },
    { name: "controller-manager", subject: "/CN=system:kube-controller-manager" },
    { name: "scheduler", subject: "/CN=system:kube-scheduler" },
    { name: "proxy", subject: "/CN=system:kube-proxy" },
    ...plan.nodes.map(({ name, addresses: own }) => ({
      ...{ name, subject: `/O=system:nodes/CN=system:node:${name}` },
      names: [`DNS:${name}`, `IP:${own.ip4}`, `IP:${own.ip6}`],
    })),
  ];
}

/** `doorPort` is where the machine's own loopback reaches the API server. @throws Error with what openssl says */
export function makeCertificates(plan: ClusterPlan, doorPort: number): void {
  const dir = pkiOf(plan);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const openssl = (words: string): void => {
    const done = spawnSync("openssl", words.split(" "), { cwd: dir, encoding: "utf8" });
    if (done.status !== 0) throw new Error(`openssl ${words}: ${done.error?.message ?? done.stderr.trim()}`);
  };
  const makeKey = (name: string): void => openssl(`ecparam -genkey -name prime256v1 -noout -out ${name}.key`);
  const read = (file: string): string => readFileSync(path.join(dir, file), "utf8");
  makeKey("ca");
  openssl("req -x509 -new -key ca.key -subj /CN=cluster-ca -days 30 -out ca.crt");
  makeKey("sa");
  openssl("ec -in sa.key -pubout -out sa.pub");
  const inside = `https://${plan.control.ip4}:${API_PORT}`;
  for (const { name, subject, names } of subjects(plan)) {
    makeKey(name);
    openssl(`req -new -key ${name}.key -subj ${subject} -out ${name}.csr`);
    const extensions = ["keyUsage=digitalSignature", "extendedKeyUsage=clientAuth,serverAuth"];
    if (names !== undefined) extensions.push(`subjectAltName=${names.join(",")}`);
    writeFileSync(path.join(dir, `${name}.ext`), `${extensions.join("\n")}\n`);
    openssl(
      `x509 -req -in ${name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile ${name}.ext -out ${name}.crt`,
    );
    const pem = { ca: read("ca.crt"), certificate: read(`${name}.crt`), key: read(`${name}.key`) };
    writeFileSync(path.join(dir, `${name}.kubeconfig`), kubeconfig(inside, pem), { mode: 0o600 });
    if (name !== "admin") continue;
    const outside = kubeconfig(`https://127.0.0.1:${doorPort}`, pem);
    writeFileSync(kubeconfigOf(plan), outside, { mode: 0o600 });
  }
}
