// tests · requests that smugglers send, written from the RFCs: each row with the sentence that decides it. Where a row lets a reader stop
// too early or too late, the next bytes ask for /denied.
export type Row = {
  readonly what: string;
  /** The sentence, with its section. */
  readonly because: string;
  /** The bytes (latin1). A pause lies between two pieces: the application has the request's head by then. */
  readonly sent: string | readonly string[];
  /** The statuses that the client hears; `reset`: the connection is reset before anything else. */
  readonly heard: readonly (number | "reset")[];
  /** Requests that the application has read whole: method, target, bytes of the body. */
  readonly read: readonly string[];
};

const denied = "GET /denied HTTP/1.1\r\nHost: a\r\n\r\n";
const after = "GET /after HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const post = (fields: string, body = ""): string => `POST /x HTTP/1.1\r\nHost: a\r\n${fields}\r\n\r\n${body}`;
const chunked = (body: string): string => post("Transfer-Encoding: chunked", body);
const withHost = (host: string): string => `GET /x HTTP/1.1\r\n${host}\r\n\r\n${denied}`;
const line = (start: string): string => `${start}\r\nHost: a\r\n\r\n${denied}`;
const ended = `0\r\n\r\n${denied}`;

type Short = readonly [what: string, sent: Row["sent"], heard?: Row["heard"], read?: Row["read"]];
/** Refused with 400, and nothing read, unless a row says otherwise. */
const rows = (because: string, ...short: readonly Short[]): readonly Row[] =>
  short.map(([what, sent, heard = [400], read = []]) => ({ what, because, sent, heard, read }));

export const smuggling: readonly Row[] = [
  ...rows(
    "RFC 9112 6.3: If a message is received with both a Transfer-Encoding and a Content-Length header field, […] Such a message might indicate an attempt to perform request smuggling […] and ought to be handled as an error.",
    ["CL.TE: a length, then chunked", post(`Content-Length: ${ended.length}\r\nTransfer-Encoding: chunked`, ended)],
    [
      "TE.CL: chunked, then a length",
      post("Transfer-Encoding: chunked\r\nContent-Length: 3", `5\r\nhello\r\n${ended}`),
    ],
    ["a length of 0 beside chunked", post("Content-Length: 0\r\nTransfer-Encoding: chunked", ended)],
    ["both, in small letters", post("content-length: 4\r\ntransfer-encoding: chunked", ended)],
    [
      "both, and the connection closes",
      post("Connection: close\r\nContent-Length: 4\r\nTransfer-Encoding: chunked", ended),
    ],
    ["a length beside a coding that nobody knows", post("Content-Length: 4\r\nTransfer-Encoding: x", ended)],
  ),
  ...rows(
    "RFC 9112 6.3: If a Transfer-Encoding header field is present in a request and the chunked transfer coding is not the final encoding, the message body length cannot be determined reliably; the server MUST respond with the 400 (Bad Request) status code and then close the connection.",
    ["TE.TE: a second field hides the first", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: x", ended)],
    ["TE.TE: a first field hides the second", post("Transfer-Encoding: x\r\nTransfer-Encoding: chunked", ended)],
    ["chunked, identity", post("Transfer-Encoding: chunked, identity", ended)],
    ["identity, chunked", post("Transfer-Encoding: identity, chunked", ended)],
    ["xchunked", post("Transfer-Encoding: xchunked", ended)],
    ["chunked with a parameter", post("Transfer-Encoding: chunked;q=1", ended)],
    ["chunked in quotes", post('Transfer-Encoding: "chunked"', ended)],
    ["an empty element", post("Transfer-Encoding: chunked,", ended)],
    ["no coding", post("Transfer-Encoding:", ended)],
  ),
  ...rows(
    "RFC 9112 6.1: A sender MUST NOT apply the chunked transfer coding more than once to a message body.",
    ["chunked, chunked", post("Transfer-Encoding: chunked, chunked", ended)],
    ["chunked in two fields", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", ended)],
  ),
  ...rows(
    "RFC 9112 6.1: A server that receives a request message with a transfer coding it does not understand SHOULD respond with 501 (Not Implemented).",
    ["gzip, chunked", post("Transfer-Encoding: gzip, chunked", ended), [501]],
  ),
  ...rows(
    "RFC 9112 6.1: A server or client that receives an HTTP/1.0 message containing a Transfer-Encoding header field MUST treat the message as if the framing is faulty, even if a Content-Length is present.",
    ["chunked in HTTP/1.0", `POST /x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${ended}`],
  ),
  ...rows(
    "RFC 9112 6.3: If a message is received without Transfer-Encoding and with an invalid Content-Length header field, then the message framing is invalid and the recipient MUST treat it as an unrecoverable error.",
    ["two lengths", post("Content-Length: 4\r\nContent-Length: 0", `body${denied}`)],
    ["two equal lengths", post("Content-Length: 4\r\nContent-Length: 4", `body${denied}`)],
    ["a list of lengths", post("Content-Length: 4, 4", `body${denied}`)],
    ["a sign", post("Content-Length: +4", `body${denied}`)],
    ["a negative length", post("Content-Length: -4", denied)],
    ["hexadecimal digits", post("Content-Length: 0x4", `body${denied}`)],
    ["a fraction", post("Content-Length: 4.0", `body${denied}`)],
    ["a space between digits", post("Content-Length: 4 4", `body${denied}`)],
    ["no digits", post("Content-Length:", denied)],
    ["a vertical tab", post("Content-Length: \x0b4", `body${denied}`)],
  ),
  ...rows(
    "RFC 9110 8.6: a recipient MUST anticipate potentially large decimal numerals and prevent parsing errors due to integer conversion overflows or precision loss due to integer conversion.",
    ["2^64 + 4", post("Content-Length: 18446744073709551620", `body${denied}`)],
    ["2^53", post("Content-Length: 9007199254740992", denied)],
    ["seventeen digits", post("Content-Length: 00000000000000004", `body${denied}`)],
    ["leading zeros", post("Content-Length: 0004", `body${after}`), [200, 200], ["POST /x 4", "GET /after 0"]],
  ),
  ...rows(
    "RFC 9112 6.3: If a valid Content-Length header field is present without Transfer-Encoding, its decimal value defines the expected message body length in octets.",
    [
      "CL.0: the application answers before the body has come",
      `POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: ${denied.length}\r\n\r\n${denied}${after}`,
      [200, 200],
      [`POST /early ${denied.length}`, "GET /after 0"],
    ],
    [
      "0.CL: a GET with a body",
      `GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: ${denied.length}\r\n\r\n${denied}${after}`,
      [200, 200],
      [`GET /x ${denied.length}`, "GET /after 0"],
    ],
    [
      "a pause before the body",
      [post(`Content-Length: ${denied.length}`), denied + after],
      [200, 200],
      [`POST /x ${denied.length}`, "GET /after 0"],
    ],
    [
      "a pause before the body, and an early answer",
      [`POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: ${denied.length}\r\n\r\n`, denied + after],
      [200, 200],
      [`POST /early ${denied.length}`, "GET /after 0"],
    ],
    [
      "a body that is longer than it says begins the next request",
      post("Content-Length: 2", `body${denied}`),
      [200, 403],
      ["POST /x 2"],
    ],
    [
      "a denied request with a body",
      `POST /denied HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody${after}`,
      [403, 200],
      ["GET /after 0"],
    ],
    [
      "a name that only CGI would take for the length",
      post("Content_Length: 99\r\nContent-Length: 4", `body${after}`),
      [200, 200],
      ["POST /x 4", "GET /after 0"],
    ],
  ),
  ...rows(
    "RFC 9112 6.3: If the sender closes the connection or the recipient times out before the indicated number of octets are received, the recipient MUST consider the message to be incomplete and close the connection.",
    ["a body that ends too early", post("Content-Length: 50", "body"), ["reset"]],
    ["the same behind a pause", [post("Content-Length: 50"), "body"], ["reset"]],
  ),
  ...rows(
    "RFC 9112 6.3: If this is a request message and none of the above are true, then the message body length is zero.",
    ["a body that nobody announced", post("X: y", denied), [200, 403], ["POST /x 0"]],
    [
      "a coding in a name that only CGI reads alike",
      post("Transfer_Encoding: chunked", denied),
      [200, 403],
      ["POST /x 0"],
    ],
  ),
  ...rows(
    "RFC 9112 7.1.1: A recipient MUST ignore unrecognized chunk extensions.",
    [
      "extensions of every form",
      chunked(`4;a;b=c;d="e;\\"f" ; g = h\r\nbody\r\n0;x\r\n\r\n${after}`),
      [200, 200],
      ["POST /x 4", "GET /after 0"],
    ],
    ["LF within an extension", chunked(`4;a\nbody\r\n${ended}`)],
    ["CR within an extension", chunked(`4;a\rx\r\nbody\r\n${ended}`)],
    ["CRLF in a quoted extension", chunked(`4;a="\r\nbody"\r\n${ended}`)],
    ["NUL within an extension", chunked(`4;\0\r\nbody\r\n${ended}`)],
    ["no semicolon", chunked(`4 a\r\nbody\r\n${ended}`)],
    ["a line without end", chunked(`4;${"a".repeat(300)}\r\nbody\r\n${ended}`)],
  ),
  ...rows(
    "RFC 9112 7.1: recipients MUST anticipate potentially large hexadecimal numerals and prevent parsing errors due to integer conversion overflows or precision loss due to integer representation.",
    ["a size of 2^64 + 4", chunked(`10000000000000004\r\nbody\r\n${ended}`)],
    ["a size of 2^53", chunked(`20000000000000\r\nbody\r\n${ended}`)],
    ["0x", chunked(`0x4\r\nbody\r\n${ended}`)],
    ["a sign", chunked(`+4\r\nbody\r\n${ended}`)],
    ["an underscore", chunked(`4_0\r\nbody\r\n${ended}`)],
    ["no digits", chunked(`\r\nbody\r\n${ended}`)],
    ["a space before the digits", chunked(` 4\r\nbody\r\n${ended}`)],
    ["a space behind the digits", chunked(`4 \r\nbody\r\n${ended}`)],
    ["LF behind the size", chunked(`4\nbody\r\n${ended}`)],
    ["LF behind the data", chunked(`4\r\nbody\n${ended}`)],
    ["more data than its size", chunked(`2\r\nbody\r\n${ended}`)],
    ["no CRLF behind the data", chunked(`4\r\nbody0\r\n\r\n${denied}`)],
    ["LF in place of the last empty line", chunked(`4\r\nbody\r\n0\r\n\n${denied}`)],
  ),
  ...rows(
    "RFC 9112 8: A message body that uses the chunked transfer coding is incomplete if the zero-sized chunk that terminates the encoding has not been received.",
    ["no last chunk", chunked("4\r\nbody\r\n"), ["reset"]],
    ["no empty line behind the last chunk", chunked("4\r\nbody\r\n0\r\n"), ["reset"]],
  ),
  ...rows(
    "RFC 9110 6.5.1: Many fields cannot be processed outside the header section […] such as those that describe message framing, routing, authentication, request modifiers, response controls, or content format.",
    ["a trailer", chunked(`4\r\nbody\r\n0\r\nX-Sum: 1\r\n\r\n${after}`), [200, 200], ["POST /x 4", "GET /after 0"]],
    ["a length as a trailer", chunked(`0\r\nContent-Length: ${denied.length}\r\n\r\n${denied}`)],
    ["a coding as a trailer", chunked(`0\r\nTransfer-Encoding: chunked\r\n\r\n${ended}`)],
    ["a host as a trailer", chunked(`0\r\nHost: b\r\n\r\n${denied}`)],
    ["an identity as a trailer", chunked(`0\r\nX-Forwarded-Client-Cert: URI=b\r\n\r\n${denied}`)],
    ["a fold in trailers", chunked(`0\r\nX: y\r\n z\r\n\r\n${denied}`)],
  ),
  ...rows(
    "RFC 9112 5.1: A server MUST reject, with a response status code of 400 (Bad Request), any received request message that contains whitespace between a header field name and colon.",
    ["Transfer-Encoding, a space, a colon", post("Transfer-Encoding : chunked", ended)],
    ["Content-Length, a tab, a colon", post("Content-Length\t: 4", `body${denied}`)],
    ["Host, a space, a colon", withHost("Host : a")],
    ["a space in a name", post("Content Length: 4", `body${denied}`)],
  ),
  ...rows(
    'RFC 9112 5.2: A server that receives an obs-fold in a request message that is not within a "message/http" container MUST either reject the message by sending a 400 (Bad Request) […] or replace each received obs-fold with one or more SP octets.',
    ["a folded coding", post("Transfer-Encoding:\r\n chunked", ended)],
    ["a folded length", post("Content-Length: 4\r\n 0", `body${denied}`)],
    ["a coding in a fold", post("X: y\r\n\tTransfer-Encoding: chunked", ended)],
  ),
  ...rows(
    "RFC 9112 2.2: A recipient that receives whitespace between the start-line and the first header field MUST either reject the message as invalid or consume each whitespace-preceded line without further processing of it.",
    ["a space before Host", withHost(" Host: b\r\nHost: a")],
  ),
  ...rows(
    "RFC 9110 5.5: Field values containing CR, LF, or NUL characters are invalid and dangerous […] a recipient of CR, LF, or NUL within a field value MUST either reject the message or replace each of those characters with SP.",
    ["NUL in a value", post("X: y\0", denied)],
    ["NUL behind a length", post("Content-Length: 4\0", `body${denied}`)],
    ["NUL in a name", post("Content-Length\0: 4", `body${denied}`)],
    ["LF in a value hides a coding", post("X: y\nTransfer-Encoding: chunked", ended)],
    ["CR in a value hides a coding", post("X: y\rTransfer-Encoding: chunked", ended)],
  ),
  ...rows(
    "RFC 9112 2.2: a recipient MAY recognize a single LF as a line terminator. […] A recipient of such a bare CR MUST consider that element to be invalid.",
    ["a request of lines with LF alone", "POST /x HTTP/1.1\nHost: a\nContent-Length: 4\n\nbody"],
    ["one line with LF alone", `POST /x HTTP/1.1\r\nHost: a\nContent-Length: 4\r\n\r\nbody${denied}`],
    ["an empty line with LF alone", `POST /x HTTP/1.1\r\nHost: a\r\nX: y\r\n\n${denied}`],
    ["a line with CR alone", `POST /x HTTP/1.1\r\nHost: a\rContent-Length: 4\r\n\r\nbody${denied}`],
    ["CR CR LF", `POST /x HTTP/1.1\r\nHost: a\r\r\n\r\n${denied}`],
  ),
  ...rows(
    "RFC 9112 2.2: a server that is expecting to receive and parse a request-line SHOULD ignore at least one empty line (CRLF) received prior to the request-line.",
    [
      "an empty line between requests",
      `${post("Content-Length: 4", "body")}\r\n${after}`,
      [200, 200],
      ["POST /x 4", "GET /after 0"],
    ],
    [
      "two empty lines between requests",
      `${post("Content-Length: 4", "body")}\r\n\r\n${denied}`,
      [200, 400],
      ["POST /x 4"],
    ],
    ["LF between requests", `${post("Content-Length: 4", "body")}\n${denied}`, [200, 400], ["POST /x 4"]],
  ),
  ...rows(
    "RFC 9112 3.2: A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that lacks a Host header field and to any request message that contains more than one Host header field line or a Host header field with an invalid field value.",
    ["no Host", withHost("X: y")],
    ["two Hosts", withHost("Host: a\r\nHost: b")],
    ["two equal Hosts", withHost("Host: a\r\nHost: a")],
    ["userinfo in Host", withHost("Host: a@b")],
    ["a path in Host", withHost("Host: a/denied")],
    ["a list in Host", withHost("Host: a, b")],
    ["a space in Host", withHost("Host: a b")],
    ["a port that is none", withHost("Host: a:65536")],
    ["an escape in Host", withHost("Host: %61")],
  ),
  ...rows(
    "RFC 9112 3.2.2: When an origin server receives a request with an absolute-form of request-target, the origin server MUST ignore the received Host header field (if any) and instead use the host information of the request-target.",
    [
      "an absolute URI of the same host",
      `GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n${after}`,
      [200, 200],
      ["GET /x 0", "GET /after 0"],
    ],
    ["an absolute URI of another host", line("GET http://b/x HTTP/1.1")],
    ["an absolute URI of the same host at another port", line("GET http://a:81/x HTTP/1.1")],
    ["userinfo in an absolute URI", line("GET http://a@b/x HTTP/1.1")],
    ["another scheme", line("GET https://a/x HTTP/1.1")],
    [
      "an absolute URI that is denied",
      `GET http://a/denied HTTP/1.1\r\nHost: a\r\n\r\n${after}`,
      [403, 200],
      ["GET /after 0"],
    ],
  ),
  ...rows(
    "RFC 9112 3.2: A recipient SHOULD NOT attempt to autocorrect and then process the request without a redirect, since the invalid request-line might be deliberately crafted to bypass security filters along the request chain.",
    // The first line of a connection says whether it is HTTP/1 at all; so these are behind a request.
    [
      "a space in the target",
      after.replace("close", "keep-alive") + line("GET /x /denied HTTP/1.1"),
      [200, 400],
      ["GET /after 0"],
    ],
    ["two spaces", after.replace("close", "keep-alive") + line("GET  /denied HTTP/1.1"), [200, 400], ["GET /after 0"]],
    ["a tab", after.replace("close", "keep-alive") + line("GET\t/denied HTTP/1.1"), [200, 400], ["GET /after 0"]],
    [
      "a space before the method",
      after.replace("close", "keep-alive") + line(" GET /denied HTTP/1.1"),
      [200, 400],
      ["GET /after 0"],
    ],
    ["HTTP/0.9", `${after.replace("close", "keep-alive")}GET /denied\r\n\r\n`, [200, 400], ["GET /after 0"]],
    ["words behind the version", line("GET /x HTTP/1.1 HTTP/1.1")],
    ["a fragment", line("GET /x#/../denied HTTP/1.1")],
    ["a backslash", line("GET /x\\..\\denied HTTP/1.1")],
    ["a byte above ASCII", line("GET /\xe4 HTTP/1.1")],
    ["the target *", line("GET * HTTP/1.1")],
  ),
  ...rows(
    "RFC 9110 15.6.6: The 505 (HTTP Version Not Supported) status code indicates that the server does not support, or refuses to support, the major version of HTTP that was used in the request message.",
    ["HTTP/1.2", line("GET /x HTTP/1.2"), [505]],
    [
      "HTTP/2.0 behind a request",
      after.replace("close", "keep-alive") + line("GET /denied HTTP/2.0"),
      [200, 505],
      ["GET /after 0"],
    ],
    ["a version of three digits", line("GET /x HTTP/1.10")],
  ),
  ...rows(
    "RFC 9110 7.6.1: A sender MUST NOT send a connection option corresponding to a field that is intended for all recipients of the content.",
    ["Connection names Content-Length", post("Connection: content-length\r\nContent-Length: 4", `body${denied}`)],
    ["Connection names Transfer-Encoding", post("Connection: transfer-encoding\r\nTransfer-Encoding: chunked", ended)],
    ["Connection names Host", post("Connection: host", denied)],
    [
      "Connection names who calls",
      post("Connection: x-forwarded-client-cert\r\nX-Forwarded-Client-Cert: URI=b", denied),
    ],
  ),
  ...rows(
    "RFC 9110 7.8: A server MAY ignore a received Upgrade header field if it wishes to continue using the current protocol on that connection.",
    [
      "h2c: the request goes on as HTTP/1.1, and HTTP/2 behind it is refused",
      `${post("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__", "")}PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`,
      [200, 505],
      ["POST /x 0"],
    ],
    [
      "h2c with a body that is a request",
      post(
        `Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: ${denied.length}`,
        denied + after,
      ),
      [200, 200],
      [`POST /x ${denied.length}`, "GET /after 0"],
    ],
  ),
  ...rows(
    "RFC 9110 7.8: A client cannot begin using an upgraded protocol on the connection until it has completely sent the request message […]",
    [
      "a websocket that the application does not take: what follows is judged",
      `GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 9\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n${denied}`,
      [200, 403],
      ["GET /x 0"],
    ],
    [
      "a websocket without Connection: Upgrade",
      `GET /x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n${denied}`,
      [200, 403],
      ["GET /x 0"],
    ],
    [
      "a websocket in HTTP/1.0",
      `GET /x HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n${denied}`,
      [200],
      ["GET /x 0"],
    ],
  ),
  ...rows(
    "RFC 9110 10.1.1: A client that will wait for a 100 (Continue) response before sending the request content MUST send an Expect header field containing a 100-continue expectation.",
    [
      "a denied request without a body that expects 100: what follows is the next request",
      `GET /denied HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n${after}`,
      [403, 200],
      ["GET /after 0"],
    ],
    [
      "a denied request that expects 100: nobody knows whether what follows is its body",
      `POST /denied HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: ${after.length}\r\n\r\n${after}`,
      [403],
    ],
  ),
  ...rows(
    "RFC 9112 9.3.2: it MUST send the corresponding responses in the same order that the requests were received.",
    [
      "a denied request between others",
      `GET /x HTTP/1.1\r\nHost: a\r\n\r\n${denied}${after}`,
      [200, 403, 200],
      ["GET /x 0", "GET /after 0"],
    ],
    [
      "a denied request whose end is not near",
      `POST /denied HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${after}`,
      [403],
    ],
  ),
  ...rows("RFC 9112 3.2.3: authority-form […] is only used for CONNECT requests.", [
    "CONNECT",
    `CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n${denied}`,
    [501],
  ]),
];
