// tests · an API server that has a history, and that answers in every way that servers, proxies and networks do.
import type { Dice } from "../../../test/support/dice.ts";
import type { ApiAnswer, Ask } from "./api-answer.ts";
import type { WatchedKind } from "./watched-kinds.ts";

export type Held = { readonly uid: string; readonly rv: number; readonly body: object };
type Happening = { readonly type: "ADDED" | "MODIFIED" | "DELETED"; readonly name: string; readonly held: Held };
/** By name. Objects of a kind that lives in namespaces are all in `shop`. */
export type KindObjects = ReadonlyMap<string, Held>;

/** Objects of one page of a list. */
const PAGE = 3;
const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const lineOf = (type: string, object: unknown): string => `${JSON.stringify({ type, object })}\n`;

export function answer(status: number, text: string, more: Partial<ApiAnswer> = {}): ApiAnswer {
  const body = (async function* () {
    if (text !== "") yield encode(text);
  })();
  return { status, contentType: "application/json", retryAfterMs: null, body, ...more };
}

/** What the API server says of an object. */
export function servedOf(kind: string, name: string, { uid, rv, body }: Held): object {
  const namespace = kind === "Namespace" ? {} : { namespace: "shop" };
  const { metadata, ...rest } = body as { readonly metadata?: object };
  return { kind, metadata: { ...metadata, name, ...namespace, uid, resourceVersion: String(rv) }, ...rest };
}

/** One kind as the server has it and had it. */
class FakeKind {
  readonly kind: WatchedKind;
  readonly objects = new Map<string, Held>();
  readonly log: (Happening & { readonly rv: number })[] = [];
  /** All that there was, by version, the oldest first. */
  readonly states: { readonly rv: number; readonly objects: KindObjects }[] = [{ rv: 0, objects: new Map() }];
  /** "unknown": the server does not serve it for a while; "deleted": there is no such kind any more. */
  definition: "served" | "unknown" | "deleted" = "served";

  constructor(kind: WatchedKind) {
    this.kind = kind;
  }
}

export class FakeCluster {
  readonly dice: Dice;
  readonly id: string;
  readonly kinds: ReadonlyMap<string, FakeKind>;
  readonly #bodyOf: (kind: string, name: string) => object;
  readonly #names: number;
  rv = 1;
  /** Versions before it are forgotten. */
  compacted = 0;
  streams = true;
  faulty = true;
  /** So many of a hundred questions get a strange answer. */
  strange = 25;

  /** @param names how many names a kind's objects have between them */
  constructor(
    dice: Dice,
    kinds: readonly WatchedKind[],
    {
      id = "cluster",
      names = 12,
      bodyOf,
    }: { id?: string; names?: number; bodyOf: (kind: string, name: string) => object },
  ) {
    this.dice = dice;
    this.id = id;
    this.kinds = new Map(kinds.map((kind) => [kind.kind, new FakeKind(kind)]));
    this.#names = names;
    this.#bodyOf = bodyOf;
  }

  statesOf(kind: string): FakeKind["states"] {
    return this.kinds.get(kind)?.states ?? [];
  }

  /** Something changes. */
  happen(): void {
    const kind = this.dice.pick([...this.kinds.values()]);
    if (kind.definition !== "served") return;
    const name = `p${this.dice.roll(this.#names)}`;
    this.change(
      kind.kind.kind,
      name,
      kind.objects.has(name) && this.dice.chance(50) ? null : this.#bodyOf(kind.kind.kind, name),
    );
  }

  /** @param body null: it is deleted */
  change(kindName: string, name: string, body: object | null): void {
    const kind = this.kinds.get(kindName);
    if (kind === undefined) throw new Error(`no kind ${kindName}`);
    const before = kind.objects.get(name);
    this.rv += 1;
    const held = { uid: before?.uid ?? `${name}-${this.rv}`, rv: this.rv, body: body ?? before?.body ?? {} };
    const type = body === null ? "DELETED" : before === undefined ? "ADDED" : "MODIFIED";
    if (body === null) kind.objects.delete(name);
    else kind.objects.set(name, held);
    kind.log.push({ rv: this.rv, type, name, held });
    kind.states.push({ rv: this.rv, objects: new Map(kind.objects) });
  }

  /** The kind is taken away with all of its objects. */
  delete(kindName: string): void {
    const kind = this.kinds.get(kindName);
    for (const name of [...(kind?.objects.keys() ?? [])]) this.change(kindName, name, null);
    if (kind !== undefined) kind.definition = "deleted";
  }

  readonly ask: Ask = async (path, { signal }) => {
    signal.throwIfAborted();
    if (this.faulty && this.dice.chance(this.strange)) return this.#strange();
    const { pathname, searchParams: query } = new URL(path, "https://server");
    const kind = this.kinds.values().find((each) => each.kind.path === pathname);
    if (kind === undefined) return this.#other(pathname);
    if (kind.definition !== "served") return answer(404, "404 page not found", { contentType: "text/plain" });
    if (query.get("watch") === null) return this.#list(kind, query);
    if (query.get("sendInitialEvents") === null)
      return this.#answer(this.#watch(kind, Number(query.get("resourceVersion"))));
    return this.streams ? this.#answer(this.#streamingList(kind)) : answer(422, "{}");
  };

  #strange(): ApiAnswer {
    const [first] = this.kinds.keys();
    return this.dice.pick([
      () => answer(503, "{}", { retryAfterMs: 1_000 }),
      () => answer(429, "{}"),
      () => answer(401, "{}"),
      () => answer(403, '{"kind":"Status"}'),
      () => answer(200, "<html>log in first</html>", { contentType: "text/html" }),
      () => answer(200, "<html>log in first</html>"),
      () => answer(200, ""),
      () => answer(410, "{}"),
      () => answer(404, "404 page not found"),
      () => answer(200, `{"kind":"${first}List","items":null}`),
      () => answer(200, lineOf("BOOKMARK", { metadata: {} })),
      (): ApiAnswer => {
        throw new Error("connection refused");
      },
    ])();
  }

  /** Everything that is no object of a watched kind. */
  #other(path: string): ApiAnswer {
    const json = (status: number, body: object): ApiAnswer => answer(status, JSON.stringify(body));
    if (path === "/readyz") return answer(200, "ok", { contentType: "text/plain" });
    if (path === "/api/v1/namespaces/kube-system")
      return json(200, { kind: "Namespace", metadata: { name: "kube-system", uid: this.id } });
    const served = [...this.kinds.values()].filter(({ kind, definition }) => kind.isCustom && definition === "served");
    if (path === "/apis") {
      const groups = new Map(served.map(({ kind: { apiVersion } }) => [apiVersion.split("/")[0], apiVersion]));
      const items = [...groups].map(([name, groupVersion]) => ({ name, versions: [{ groupVersion }] }));
      return json(200, { kind: "APIGroupList", groups: items });
    }
    const ofGroup = served.filter(({ kind }) => path === `/apis/${kind.apiVersion}`);
    if (ofGroup.length > 0) {
      const resources = ofGroup.map(({ kind }) => ({ name: kind.path.split("/").at(-1) }));
      return json(200, { kind: "APIResourceList", resources });
    }
    const [plural = "", ...group] = (path.split("/").at(-1) ?? "").split(".");
    const defined = [...this.kinds.values()].find(({ kind }) => kind.path.endsWith(`/${plural}`));
    if (!path.includes("/customresourcedefinitions/") || defined === undefined)
      return answer(404, "404 page not found");
    if (defined.definition === "deleted")
      return json(404, { kind: "Status", reason: "NotFound", details: { name: [plural, ...group].join(".") } });
    return this.dice.pick([() => json(200, { kind: "CustomResourceDefinition" }), () => answer(403, "{}")])();
  }

  #list(kind: FakeKind, query: URLSearchParams): ApiAnswer {
    const continued = query.get("continue");
    const [rv = this.rv, from = 0] = continued?.split(".").map(Number) ?? [];
    // A list that was begun goes on from the version at which it was.
    if (continued !== null && (rv !== this.rv || rv < this.compacted)) return answer(410, "{}");
    const all = [...kind.objects];
    const next = from + PAGE < all.length ? `${rv}.${from + PAGE}` : undefined;
    const items = all.slice(from, from + PAGE).map(([name, held]) => servedOf(kind.kind.kind, name, held));
    const metadata = { resourceVersion: String(rv), ...(next === undefined ? {} : { continue: next }) };
    return this.#answer([JSON.stringify({ kind: `${kind.kind.kind}List`, metadata, items })]);
  }

  *#streamingList(kind: FakeKind): Generator<string> {
    const rv = this.rv;
    for (const [name, held] of [...kind.objects]) yield lineOf("ADDED", servedOf(kind.kind.kind, name, held));
    const annotations = { "k8s.io/initial-events-end": "true" };
    yield lineOf("BOOKMARK", { kind: kind.kind.kind, metadata: { resourceVersion: String(rv), annotations } });
    yield* this.#watch(kind, rv);
  }

  *#watch(kind: FakeKind, since: number): Generator<string> {
    if (since < this.compacted) {
      yield lineOf("ERROR", { kind: "Status", code: 410, message: "too old resource version" });
      return;
    }
    let seen = since;
    for (let turns = this.dice.roll(8); turns >= 0; turns--) {
      for (const { rv, type, name, held } of kind.log.filter((happening) => happening.rv > seen)) {
        yield lineOf(type, servedOf(kind.kind.kind, name, { ...held, rv }));
        seen = rv;
      }
      if (this.dice.chance(30))
        yield lineOf("BOOKMARK", { kind: kind.kind.kind, metadata: { resourceVersion: String(seen) } });
      if (this.faulty) for (let news = this.dice.roll(4); news > 0; news--) this.happen();
    }
  }

  /** Cut into chunks anywhere, and cut off anywhere. */
  #answer(texts: Iterable<string>): ApiAnswer {
    const { dice } = this;
    const cutsOff = this.faulty && dice.chance(30);
    const corrupts = this.faulty && dice.chance(10);
    const body = async function* (): AsyncGenerator<Uint8Array> {
      for (const text of texts) {
        let bytes = encode(text);
        if (corrupts && dice.chance(20)) bytes = bytes.map((byte) => (dice.chance(2) ? 0x01 : byte));
        for (let at = 0; at < bytes.length; ) {
          const end = dice.chance(70) ? bytes.length : at + 1 + dice.roll(bytes.length);
          yield bytes.subarray(at, end);
          at = end;
          if (cutsOff && dice.chance(15)) {
            if (dice.chance(50)) throw new Error("reset by peer");
            return;
          }
        }
      }
    };
    return { status: 200, contentType: "application/json", retryAfterMs: null, body: body() };
  }
}
