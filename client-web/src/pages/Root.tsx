/** Decides what is shown: the log-in page, or the chats of whoever is logged in. */

/** Shows the page that fits. */
export function Root() {
  return <main>Rally</main>;
}
