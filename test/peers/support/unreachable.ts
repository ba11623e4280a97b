// test peers · tells a registry that does not answer from a build that failed. Pure.

/** What package clients print when a name does not resolve, a connection is refused, or nothing comes back. */
const silence = [
  // pip
  /NewConnectionError|ConnectTimeoutError|Read timed out|Failed to establish a new connection/,
  // cargo (libcurl)
  /Could(n't| not) resolve host|Could(n't| not) connect to server|Timeout was reached|\[(6|7|28)\] /,
  // go
  /dial tcp\b.*(no such host|i\/o timeout|connection refused|network is unreachable|server misbehaving)/,
  /TLS handshake timeout|Client\.Timeout exceeded/,
  // maven
  /Unknown host|UnknownHostException|Connect(ion)? (to \S+ )?(refused|timed out)|Network is unreachable/,
  // npm, apt
  /\b(ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNREFUSED|ENETUNREACH)\b/,
  /Temporary failure (in name resolution|resolving)/,
];

/** True when a failed package client says that its registry was not reached. A refusal by a registry is an answer. */
export function unreachable(output: string): boolean {
  return silence.some((pattern) => pattern.test(output));
}
