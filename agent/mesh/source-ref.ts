// any thread · where a configuration value was written, so that a refusal can name the line.

/** 1-based line and column; `file` is empty for objects that came from an API. */
export type SourceRef = { readonly file: string; readonly line: number; readonly column: number };

export const nowhere: SourceRef = { file: "", line: 0, column: 0 };
