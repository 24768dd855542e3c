/** Keeps what must not run twice at a time, such as the start of a client, from doing so. */

/** Makes a function that who calls it while it runs has the same answer of. */
export function atATime<T>(work: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined;
  return () => {
    running ??= work().finally(() => {
      running = undefined;
    });
    return running;
  };
}
