// test peers · answers that the suite has printed and taken for right, and what it does not compare in them: where a redirect leads and what path
// arrives at the backend. Pure.

/** Of a request, by its URL at the caller. Undefined: the answer names none. */
export type Answer = { readonly asked: string; readonly location?: string; readonly arrived?: string };

/** What Istio's echo client prints of a request: `[0] Url=…`, fields of the response, and `[0 body]` lines, which its server has written. */
export function answersOf(printed: string): readonly Answer[] {
  const answers: { asked: string; location?: string; arrived?: string }[] = [];
  for (const line of printed.split("\n")) {
    const [, asked] = /\[\d+\] Url=(\S+)$/.exec(line) ?? [];
    if (asked !== undefined) answers.push({ asked });
    const answer = answers.at(-1);
    if (answer === undefined) continue;
    const [, location] = /^\s*\[\d+\] ResponseHeader=Location:(\S+)$/.exec(line) ?? [];
    if (location !== undefined) answer.location = location;
    const [, arrived] = /^\s*\[\d+ body\] URL=(\S+)$/.exec(line) ?? [];
    if (arrived !== undefined) answer.arrived = arrived;
  }
  return answers;
}

/** The values that the suite's tests name and do not compare (sigs.k8s.io/gateway-api/conformance:tests/mesh), by the path that is asked. */
export const locations: Readonly<Record<string, string>> = {
  "/redirect": "http://echo/redirect",
  "/temporary": "http://echo/temporary",
  "/permanent": "http://echo/permanent",
  "/hostname-redirect": "http://example.org/hostname-redirect",
  "/host-and-status": "http://example.org/host-and-status",
  "/original-prefix/lemon": "http://echo/replacement-prefix/lemon",
  "/full/path/original": "http://echo/full-path-replacement",
  "/path-and-host": "http://example.org/replacement-prefix",
  "/path-and-status": "http://echo/replacement-prefix",
  "/full-path-and-host": "http://example.org/replacement-full",
  "/full-path-and-status": "http://echo/replacement-full",
  "/port": "http://echo:8083/port",
  "/port-and-host": "http://example.org:8083/port-and-host",
  "/port-and-status": "http://echo:8083/port-and-status",
  "/port-and-host-and-status": "http://example.org:8083/port-and-host-and-status",
  "/scheme": "https://echo/scheme",
  "/scheme-and-host": "https://example.org/scheme-and-host",
  "/scheme-and-status": "https://echo/scheme-and-status",
  "/scheme-and-host-and-status": "https://example.org/scheme-and-host-and-status",
};
export const rewritten: Readonly<Record<string, string>> = {
  "/prefix/one/two": "/one/two",
  "/strip-prefix/three": "/three",
  "/strip-prefix": "/",
  "/full/one/two": "/one",
  "/full/rewrite-path-and-modify-headers/test": "/test",
  "/prefix/rewrite-path-and-modify-headers/one": "/prefix/one",
};
