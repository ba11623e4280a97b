// 20 · any thread · the query of a request's target, as routes compare it. Pure.

/**
 * The first value of this name; undefined: the query does not have the name. Escapes are decoded in names and values; what is no escape of
 * UTF-8 stays as it came, and so does `+`.
 */
export function queryOf(target: string, name: string): string | undefined {
  const begin = target.indexOf("?");
  if (begin < 0) return undefined;
  const end = target.indexOf("#", begin);
  const query = target.slice(begin + 1, end < 0 ? target.length : end);
  for (const part of query.split("&")) {
    const equals = part.indexOf("=");
    if (decoded(equals < 0 ? part : part.slice(0, equals)) === name)
      return equals < 0 ? "" : decoded(part.slice(equals + 1));
  }
  return undefined;
}

function decoded(text: string): string {
  if (!text.includes("%")) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    // Not UTF-8, or no escape at all.
    return text;
  }
}
