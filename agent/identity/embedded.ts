// main thread · our own certificate authority, the default. Its root lies in one file of mode 0600 that the nodes of a mesh share.
import { X509Certificate } from "node:crypto";
import { constants, type Stats } from "node:fs";
import { type FileHandle, link, mkdir, open, stat, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { SpiffeId } from "../mesh/spiffe-id.ts";
import type { Issuer } from "./csr.ts";
import type { IssuedCertificate, Provider } from "./provider.ts";

export type EmbeddedOptions = {
  /**
   * PEM: one PKCS#8 private key, then its certificate, then further roots to be trusted (for a change of roots).
   * Made when absent.
   */
  readonly rootFile: string;
  readonly leafTtlSeconds: number;
  readonly trustDomain: string;
};
export type EmbeddedDependencies = { readonly wallMs: () => number };

/** Peers' clocks may be this far behind ours (docs/reference/failures.md, row D7). */
const BACKDATE_MS = 5 * 60_000;
const ROOT_LIFE_MS = 10 * 365 * 86_400_000;
const MAX_FILE_BYTES = 256 * 1024;
/** A file that is written in place may be half of what it becomes. It is read once it has been still for this long. */
const STILL_MS = 1_000;

type Loaded = {
  readonly authority: Issuer;
  readonly issuerPem: string;
  readonly issuerEndsMs: number;
  readonly roots: readonly string[];
};

/** Signs for every identity it is asked for: a program that can read the file is the authority, so the file is kept strictly. */
export class EmbeddedAuthority implements Provider {
  readonly name = "embedded";
  readonly #options: EmbeddedOptions;
  readonly #wallMs: () => number;
  #loaded: { readonly file: string; readonly stamp: string; readonly value: Loaded } | undefined;

  constructor(options: EmbeddedOptions, { wallMs }: EmbeddedDependencies) {
    this.#options = options;
    this.#wallMs = wallMs;
  }

  /**
   * Loads the code that `issue` needs. Called before privileges are dropped: what comes after them may not be able to read
   * the directory the program lies in (a checkout below /root).
   */
  async prepare(): Promise<void> {
    await import("./csr.ts");
  }

  async issue(identity: SpiffeId, signal: AbortSignal): Promise<IssuedCertificate> {
    if (identity.trustDomain !== this.#options.trustDomain) {
      throw new Error(`this authority is of ${this.#options.trustDomain}, not of ${identity.trustDomain}`);
    }
    const { newRequest, signLeaf } = await import("./csr.ts");
    const { authority, issuerPem, issuerEndsMs } = await this.#loadOrKeep();
    signal.throwIfAborted();
    const now = this.#wallMs();
    // A leaf that outlives its issuer is refused by every peer. Certificates count in seconds.
    const notAfterMs = seconds(Math.min(now + this.#options.leafTtlSeconds * 1000, issuerEndsMs));
    const notBeforeMs = seconds(now - BACKDATE_MS);
    if (notAfterMs <= now) throw new Error(`the root in ${this.#options.rootFile} has expired`);
    const { key, csrPem } = await newRequest(identity.text);
    try {
      const leafPem = await signLeaf(authority, {
        csrPem,
        spiffeText: identity.text,
        notBefore: new Date(notBeforeMs),
        notAfter: new Date(notAfterMs),
      });
      const chainPem = authority.selfSigned ? leafPem : `${leafPem}\n${issuerPem}`;
      return { chainPem: `${chainPem.trim()}\n`, key, notBeforeMs, notAfterMs };
    } catch (error) {
      key.wipe();
      throw error;
    }
  }

  async roots(): Promise<readonly string[]> {
    return (await this.#load()).roots;
  }

  /** Identities are renewed under what was read last while the file is wrong; `roots` says so. */
  async #loadOrKeep(): Promise<Loaded> {
    try {
      return await this.#load();
    } catch (error) {
      if (this.#loaded === undefined) throw error;
      return this.#loaded.value;
    }
  }

  /**
   * The file's content, read again whenever the file has been replaced or, once it is still, written; made first when there is none.
   * @throws Error when the file that was read before has gone, or is wrong
   */
  async #load(): Promise<Loaded> {
    const { rootFile } = this.#options;
    const handle = await this.#openOrCreate();
    try {
      const { ino, birthtimeMs, size, mtimeMs, ctimeMs } = await checkedStat(handle, rootFile);
      // The number alone may be that of a file that has gone.
      const file = `${ino} ${birthtimeMs}`;
      const stamp = `${file} ${size} ${mtimeMs} ${ctimeMs}`;
      if (this.#loaded?.stamp === stamp) return this.#loaded.value;
      const isBeingWritten = this.#loaded?.file === file && Math.abs(this.#wallMs() - mtimeMs) < STILL_MS;
      if (this.#loaded !== undefined && isBeingWritten) return this.#loaded.value;
      const text = await handle.readFile();
      try {
        const value = await readRootFile(text, rootFile);
        this.#loaded = { file, stamp, value };
        return value;
      } finally {
        text.fill(0);
      }
    } finally {
      await handle.close();
    }
  }

  async #openOrCreate(): Promise<FileHandle> {
    const { rootFile } = this.#options;
    // A link could be pointed elsewhere between two looks.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW;
    try {
      return await open(rootFile, flags);
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") throw error;
      if (this.#loaded !== undefined) throw new Error(`${rootFile} has gone`);
    }
    await this.#create();
    return open(rootFile, flags);
  }

  /** Written whole under another name, then linked: several nodes may try at once, exactly one root comes to be. */
  async #create(): Promise<void> {
    const { rootFile, trustDomain } = this.#options;
    await mkdir(dirname(rootFile), { recursive: true, mode: 0o700 });
    const { newRootPem } = await import("./csr.ts");
    const now = this.#wallMs();
    const pem = await newRootPem(trustDomain, new Date(now - BACKDATE_MS), new Date(now + ROOT_LIFE_MS));
    const draft = join(
      dirname(rootFile),
      `.${basename(rootFile)}.${process.pid}.${now}.${Math.random().toString(36).slice(2)}`,
    );
    const handle = await open(draft, "wx", 0o600);
    try {
      await handle.writeFile(pem);
      await handle.sync();
      await link(draft, rootFile);
    } catch (error) {
      // Another node was first: its root is the mesh's.
      if (errnoOf(error) !== "EEXIST") throw error;
    } finally {
      pem.fill(0);
      await handle.close();
      await unlink(draft);
    }
  }
}

function seconds(ms: number): number {
  return Math.floor(ms / 1000) * 1000;
}

function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/** @throws Error when anybody but this process's user could have read or replaced the file. */
async function checkedStat(handle: FileHandle, file: string): Promise<Stats> {
  const found = await handle.stat();
  const user = process.geteuid?.() ?? -1;
  if (!found.isFile()) throw new Error(`${file} is not a regular file`);
  if (found.uid !== user)
    throw new Error(`${file} belongs to user ${found.uid}, not to ${user}: chown ${user} ${file}`);
  if ((found.mode & 0o077) !== 0) {
    throw new Error(
      `${file} has mode 0${(found.mode & 0o777).toString(8)} and holds the key of the whole mesh: chmod 0600 ${file}`,
    );
  }
  if (found.size > MAX_FILE_BYTES) throw new Error(`${file} is larger than ${MAX_FILE_BYTES} bytes`);
  const folder = await stat(dirname(file));
  const sticky = (folder.mode & 0o1000) !== 0;
  if ((folder.mode & 0o022) !== 0 && !sticky) {
    throw new Error(
      `others may write to ${dirname(file)} and could replace the root there: chmod go-w ${dirname(file)}`,
    );
  }
  return found;
}

const KEY_BEGIN = "-----BEGIN PRIVATE KEY-----";
const KEY_END = "-----END PRIVATE KEY-----";

async function readRootFile(bytes: Buffer, file: string): Promise<Loaded> {
  const begin = bytes.indexOf(KEY_BEGIN);
  const end = bytes.indexOf(KEY_END);
  if (begin === -1 || end < begin || bytes.indexOf(KEY_BEGIN, begin + 1) !== -1) {
    throw new Error(`${file} must hold one PKCS#8 PRIVATE KEY and its CERTIFICATE, both PEM`);
  }
  // A copy of the key's lines alone, wiped below; only what surrounds them becomes text.
  const keyPem = Buffer.from(bytes.subarray(begin, end + KEY_END.length));
  const text = bytes.toString("latin1", 0, begin) + bytes.toString("latin1", end + KEY_END.length);
  const pems = [...text.matchAll(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)].map(([pem]) => pem);
  const [certificate, ...further] = pems;
  const besides = pems.reduce((rest, pem) => rest.replace(pem, ""), text);
  try {
    if (/-----(BEGIN|END)/.test(besides)) throw new Error("a certificate in it is cut off, or it holds something else");
    if (certificate === undefined) throw new Error("it must hold the key's CERTIFICATE, PEM");
    const { readAuthority } = await import("./csr.ts");
    const authority = await readAuthority(keyPem, certificate);
    const parsed = new X509Certificate(certificate);
    if (!parsed.ca) throw new Error("its first certificate is not one of an authority");
    const roots = [...(authority.selfSigned ? [certificate] : []), ...further];
    if (roots.length === 0) throw new Error("its certificate is an intermediate; the root must stand after it");
    return { authority, issuerPem: certificate, issuerEndsMs: parsed.validToDate.getTime(), roots };
  } catch (error) {
    throw new Error(`${file}: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    keyPem.fill(0);
  }
}
