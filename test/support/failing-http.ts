// test support · an HTTP/1.1 application in a pod that fails when it is asked to: `/-/fail?status=500&ms=50` has it answer so from then on, and
// `/-/seen` says how many requests it has got beside these, and `/-/most` how many it had at once.
//   node failing-http.ts PORT NAME
import http from "node:http";

const [, , port = "", name = ""] = process.argv;
const now = { status: 200, ms: 0, seen: 0, open: 0, most: 0 };
const server = http.createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://pod");
  request.resume();
  if (pathname.startsWith("/-/")) {
    if (pathname === "/-/fail") {
      now.status = Number(searchParams.get("status"));
      now.ms = Number(searchParams.get("ms") ?? 0);
    }
    response.end(String(pathname === "/-/most" ? now.most : now.seen));
    return;
  }
  now.seen += 1;
  now.open += 1;
  now.most = Math.max(now.most, now.open);
  const { status, ms } = now;
  setTimeout(() => {
    now.open -= 1;
    response.statusCode = status;
    response.end(name);
  }, ms);
});
server.keepAliveTimeout = 60_000;
server.listen(Number(port), "::", () => console.log("listening"));
