// any thread · texts that others chose, where a terminal or a reader of lines may take them for commands. Pure.

/**
 * Control characters (DEL and U+0080 to U+009F, which JSON leaves as they are, among them), invisible and direction-changing ones, and
 * separators of lines and paragraphs.
 */
const obeyed = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
const obeyedInLine = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;
/** Nearly every text. */
const plain = /^[\n -~]*$/;

/** JSON that means the same and of which a terminal obeys nothing; its own line ends stay. */
export function quietJson(json: string): string {
  return plain.test(json) ? json : json.replace(obeyedInLine, escaped);
}

/** A text in quotes as JSON has it, in one line, of which a terminal obeys nothing. */
export function quotedText(text: string): string {
  return JSON.stringify(text).replace(obeyed, escaped);
}

/** Of several lines, with `?` in place of what a terminal obeys. */
export function quietLines(text: string): string {
  return plain.test(text) ? text : text.replace(obeyedInLine, "?");
}

function escaped(text: string): string {
  return Array.from({ length: text.length }, (_, at) => `\\u${text.charCodeAt(at).toString(16).padStart(4, "0")}`).join(
    "",
  );
}
