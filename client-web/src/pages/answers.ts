/**
 * Which answer holds where several may be under way: the one that was asked for last, and none that
 * was asked for before a change.
 */

/** Numbers what is asked about one thing. */
export class Answers {
  #asked = 0;
  #newest = 0;

  /** Notes a question; when it is answered, the function that it gives tells whether that holds. */
  ask(): () => boolean {
    this.#asked += 1;
    const number = this.#asked;
    return () => {
      if (number < this.#newest) return false;
      this.#newest = number;
      return true;
    };
  }

  /** Notes a change: what was asked before may have been answered without it. */
  changed(): void {
    this.#asked += 1;
    this.#newest = this.#asked;
  }
}
