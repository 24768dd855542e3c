/** Whether the colours keep what tokens.css promises: 4.5 between a text and its ground. */

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const css = readFileSync(new URL('../src/style/tokens.css', import.meta.url), 'utf8');
const [light = '', dark = ''] = css.split('@media (prefers-color-scheme: dark)');

/** Texts, and on what each of them stands. */
const TEXTS: readonly (readonly [text: string, ...grounds: string[]])[] = [
  ['text', 'ground', 'wall', 'panel', 'bar', 'chosen', 'mine', 'theirs'],
  ['quiet', 'ground', 'panel', 'bar', 'chosen', 'theirs'],
  ['accent', 'panel', 'bar', 'chosen', 'theirs'],
  ['grave', 'panel', 'bar', 'chosen'],
  ['mine-quiet', 'mine'],
  ['mine-grave', 'mine'],
  ['on-accent', 'accent'],
  ['on-warn', 'warn'],
];

function luminance(colour: string): number {
  const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => {
    const part = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

/** Gives the contrast by the definition of WCAG. */
function contrast(one: string, other: string): number {
  const [low = 0, high = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

for (const [scheme, rules] of Object.entries({ light, dark })) {
  test(`every text can be read on its ground, ${scheme}`, () => {
    const colour = (name: string) =>
      new RegExp(`--${name}: (#[0-9a-f]{6});`).exec(rules)?.[1] ?? '';
    for (const [text, ...grounds] of TEXTS) {
      for (const ground of grounds) {
        const found = contrast(colour(text), colour(ground));
        expect(found, `${text} on ${ground}`).toBeGreaterThanOrEqual(4.5);
      }
    }
  });
}
