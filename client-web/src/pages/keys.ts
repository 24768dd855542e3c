/** What a key means that is pressed in a field. */

/** What is known of a key that was pressed. */
type Pressed = Pick<KeyboardEvent, 'isComposing' | 'keyCode'>;

/** The code of keys that an input method takes for itself. */
const TAKEN = 229;

/**
 * Tells whether a key belongs to the word that is being composed: Enter chooses it then. Safari ends
 * the composition before it tells of the key that ended it, and only the old code still says so.
 */
export function isOfWord({ isComposing, keyCode }: Pressed): boolean {
  return isComposing || keyCode === TAKEN;
}
