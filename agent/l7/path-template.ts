// 9 · any thread · Istio's templates of paths: `{*}` is one segment, `{**}` any text, slashes included. Pure.
import { canonicalEscapes } from "./canonical.ts";

/** A segment as it must be; null: any segment that is not empty. */
type Segment = string | null;

/**
 * Rules as Istio's (security.istio.io/v1 Operation.paths, envoy:source/extensions/path/uri_template_lib): a template begins with a
 * slash, an operator fills its segment, `{**}` is the last operator; literal segments may follow it.
 * @param form of the texts between the operators; default: canonical
 * @returns whether a path of that form matches; undefined: the text is no such template, so nobody can say what it matches.
 */
export function pathTemplate(
  written: string,
  form: (text: string) => string = canonicalEscapes,
): ((path: string) => boolean) | undefined {
  const [before, ...segments] = written.split("/");
  if (before !== "" || segments.length === 0) return undefined;
  const open = segments.indexOf("{**}");
  const read = (segment: string): Segment | undefined => segmentOf(segment, form);
  const head = (open < 0 ? segments : segments.slice(0, open)).map(read);
  const tail = open < 0 ? [] : segments.slice(open + 1).map(read);
  if (head.includes(undefined) || !tail.every(isText)) return undefined;
  const first = head.filter((segment) => segment !== undefined);
  if (open < 0) return (path) => endOf(first, path) === path.length;
  const end = tail.map((segment) => `/${segment}`).join("");
  return (path) => {
    const at = endOf(first, path);
    return at >= 0 && path[at] === "/" && path.length - at - 1 >= end.length && path.endsWith(end);
  };
}

/** @returns undefined: the segment has an operator beside other text, or an unknown operator */
function segmentOf(written: string, form: (text: string) => string): Segment | undefined {
  if (written === "{*}") return null;
  return /[{}*]/.test(written) ? undefined : form(written);
}

function isText(segment: Segment | undefined): boolean {
  return typeof segment === "string";
}

/** @returns the index in the path behind these segments; negative: the path does not begin with them */
function endOf(segments: readonly Segment[], path: string): number {
  let at = 0;
  for (const segment of segments) {
    if (path[at] !== "/") return -1;
    const start = at + 1;
    const slash = path.indexOf("/", start);
    at = slash < 0 ? path.length : slash;
    const matches = segment === null ? at > start : at - start === segment.length && path.startsWith(segment, start);
    if (!matches) return -1;
  }
  return at;
}
