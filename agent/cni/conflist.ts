// any thread · the node's CNI configurations, as files of one directory: which of them is in force without us, and the same with our
// plug-in behind its last. Pure. Container runtimes take the first file by name (containerd: internal/cri/config.go, NetworkPluginMaxConfNum).

/** Sorts before what others call theirs. */
export const OWN_CONFLIST = "00-00-orlop.conflist";
export const PLUGIN = "orlop-cni";

/** Of our entry in a list: the plug-in reads these fields (native/cni/call.h). */
export type PluginEntry = {
  readonly socket: string;
  readonly list: string;
  readonly withoutList: "pass" | "refuse";
  readonly exempt: readonly string[];
};

export type ConfFile = { readonly name: string; readonly text: string };

export type PrimaryConflist = { readonly file: string; readonly conflist: Conflist };
type Conflist = { readonly [field: string]: unknown; readonly plugins: readonly PluginConf[] };
type PluginConf = { readonly [field: string]: unknown; readonly type: string };

/** Versions that the plug-in speaks. */
const spoken: readonly unknown[] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

export const isConfName = (name: string): boolean => /\.(conf|conflist|json)$/.test(name);

/** Undefined: there is none, or none that can be read. A file that is just being written is passed over, as a runtime does. */
export function primaryOf(files: readonly ConfFile[]): PrimaryConflist | undefined {
  const others = files.filter(({ name }) => name !== OWN_CONFLIST && isConfName(name));
  for (const { name, text } of others.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const conflist = conflistOf(text, name.endsWith(".conflist"));
    if (conflist !== undefined) return { file: name, conflist };
  }
  return undefined;
}

/** The network keeps its name: by it plug-ins know the addresses that they have given away (containernetworking/cni:SPEC.md). */
export function withPlugin({ conflist }: PrimaryConflist, entry: PluginEntry): string {
  const plugins = [...conflist.plugins.filter(({ type }) => type !== PLUGIN), { type: PLUGIN, ...entry }];
  return `${JSON.stringify({ ...conflist, plugins }, undefined, 2)}\n`;
}

/** Whether our file would be read before that of the primary. */
export const comesFirst = ({ file }: Pick<PrimaryConflist, "file">): boolean => OWN_CONFLIST < file;

function conflistOf(text: string, isList: boolean): Conflist | undefined {
  let read: unknown;
  try {
    read = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isRecord(read) || typeof read.name !== "string" || !spoken.includes(read.cniVersion)) return undefined;
  if (!isList) {
    const { cniVersion, name, ...plugin } = read;
    return isPlugin(plugin) ? { cniVersion, name, plugins: [plugin] } : undefined;
  }
  const { plugins } = read;
  if (!Array.isArray(plugins) || plugins.length === 0 || !plugins.every(isPlugin)) return undefined;
  return { ...read, plugins };
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isPlugin(value: unknown): value is PluginConf {
  return isRecord(value) && typeof value.type === "string" && value.type !== "";
}
