// test support · an HTTP/1.1 application in a pod that fails when it is asked to: `/-/fail?status=500&ms=50` has it answer so from then on;
// with `held=yes` no request is answered until the next `/-/fail`. `/-/seen` says how many requests it has got beside these, and `/-/most` how many it had at once.
//   node failing-http.ts PORT NAME
import http from "node:http";

const [, , port = "", name = ""] = process.argv;
const now = { status: 200, ms: 0, isHeld: false, seen: 0, open: 0, most: 0 };
const held: (() => void)[] = [];
const server = http.createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://pod");
  request.resume();
  if (pathname.startsWith("/-/")) {
    if (pathname === "/-/fail") {
      now.status = Number(searchParams.get("status"));
      now.ms = Number(searchParams.get("ms") ?? 0);
      now.isHeld = searchParams.get("held") === "yes";
      for (const answer of held.splice(0)) answer();
    }
    response.end(String(pathname === "/-/most" ? now.most : now.seen));
    return;
  }
  now.seen += 1;
  now.open += 1;
  now.most = Math.max(now.most, now.open);
  const { status, ms, isHeld } = now;
  const answer = (): void => {
    now.open -= 1;
    response.statusCode = status;
    response.end(name);
  };
  if (isHeld) held.push(answer);
  else setTimeout(answer, ms);
});
server.keepAliveTimeout = 60_000;
server.listen(Number(port), "::", () => console.log("listening"));
