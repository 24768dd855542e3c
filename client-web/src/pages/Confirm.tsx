/** Asks before something that cannot be taken back. */

import { useEffect, useId, useRef } from 'react';

/** A question, and what happens on "yes". */
export interface Question {
  readonly title: string;
  readonly text: string;
  readonly yes: string;
  readonly act: () => void;
}

/** Shows a question above everything else. */
export function Confirm({ question, close }: { question: Question; close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const title = useId();
  useEffect(() => dialog.current?.showModal(), []);
  // Closed by the browser, which gives the focus back to where it was; `close` hears of it.
  const end = () => dialog.current?.close();
  return (
    <dialog ref={dialog} className="confirm" aria-labelledby={title} onClose={close}>
      <h2 id={title}>{question.title}</h2>
      <p>{question.text}</p>
      <div className="actions">
        <button type="button" onClick={end}>
          Cancel
        </button>
        <button
          type="button"
          className="main"
          onClick={() => {
            end();
            question.act();
          }}
        >
          {question.yes}
        </button>
      </div>
    </dialog>
  );
}
