/** The icons, drawn in the colour of the text around them; what they mean is said beside them. */

const PATHS = {
  back: 'M15 5l-7 7 7 7',
  send: 'M4 12l16-8-5 16-3-7z',
  more: 'M12 5v.01M12 12v.01M12 19v.01',
  down: 'M6 9l6 6 6-6',
  close: 'M6 6l12 12M18 6L6 18',
  search: 'M11 5a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM15.5 15.5L20 20',
  save: 'M5 13l4 4L19 7',
} as const;

/** Names an icon. */
export type IconName = keyof typeof PATHS;

/** Draws an icon. */
export function Icon({ name }: { readonly name: IconName }) {
  return (
    <svg className={`icon icon-${name}`} viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
