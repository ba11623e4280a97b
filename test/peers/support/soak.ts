// test peers · `make soak` runs the same cases with the large counts.

/** `usual` in `make interop`, `large` in `make soak`. */
export const soak = (usual: number, large: number): number => (process.env.ORLOP_SOAK === "1" ? large : usual);
