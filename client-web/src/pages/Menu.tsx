/**
 * A button that opens a list of actions: arrows move, Escape and a click elsewhere close, and
 * the focus goes back to the button.
 */

import { type FocusEvent, type KeyboardEvent, useEffect, useRef, useState } from 'react';
import { Icon, type IconName } from './icons.tsx';

/** One action. */
export interface MenuItem {
  readonly label: string;
  /** Whom it is about. */
  readonly name?: string;
  readonly act: () => void;
  /** Given for something that is on or off. */
  readonly checked?: boolean;
  readonly grave?: boolean;
}

function roleOf({ checked }: MenuItem) {
  if (checked === undefined) return { role: 'menuitem' } as const;
  return { role: 'menuitemcheckbox', 'aria-checked': checked } as const;
}

/** Draws the button and, while open, the list. */
export function Menu(props: {
  readonly label: string;
  readonly icon: IconName;
  readonly items: readonly MenuItem[];
}) {
  const { label, icon, items } = props;
  const [open, setOpen] = useState<'no' | 'down' | 'up'>('no');
  const button = useRef<HTMLButtonElement>(null);
  const list = useRef<HTMLDivElement>(null);

  useEffect(() => {
    if (open !== 'no') list.current?.querySelector('button')?.focus();
  }, [open]);

  const close = () => {
    setOpen('no');
    button.current?.focus();
  };
  const toggle = () => {
    if (open !== 'no') return close();
    const box = button.current?.getBoundingClientRect();
    // Where there is more room: the list would be cut off at the end of the window.
    setOpen(box !== undefined && box.top > innerHeight / 2 ? 'up' : 'down');
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (open === 'no') return;
    if (event.key === 'Escape') {
      event.stopPropagation();
      close();
      return;
    }
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const all = [...(list.current?.querySelectorAll('button') ?? [])];
    const at = all.indexOf(document.activeElement as HTMLButtonElement);
    all.at((at + step) % all.length)?.focus();
  };
  const onBlur = (event: FocusEvent) => {
    if (!event.currentTarget.contains(event.relatedTarget)) setOpen('no');
  };

  return (
    // The keys are of the buttons inside; here they are only heard.
    // biome-ignore lint/a11y/noStaticElementInteractions: a wrapper that hears its children's keys
    <div className="menu" onKeyDown={onKeyDown} onBlur={onBlur}>
      <button
        ref={button}
        type="button"
        className="round"
        aria-label={label}
        aria-haspopup="menu"
        aria-expanded={open !== 'no'}
        onClick={toggle}
      >
        <Icon name={icon} />
      </button>
      {open !== 'no' && (
        <div
          ref={list}
          className={`menu-list menu-${open}`}
          role="menu"
          aria-label={label}
          // So that the focus stays inside where a click does not focus buttons.
          tabIndex={-1}
        >
          {items.map((item) => (
            <button
              key={item.label}
              type="button"
              {...roleOf(item)}
              className={item.grave ? 'grave' : undefined}
              onClick={() => {
                close();
                item.act();
              }}
            >
              <span>
                {item.label} {item.name && <bdi>{item.name}</bdi>}
              </span>
              {item.checked && <Icon name="save" />}
            </button>
          ))}
        </div>
      )}
    </div>
  );
}
