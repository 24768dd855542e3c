/** Shows notices above the page, and reads them to who cannot see them. */

import { focusChat } from './focus.ts';
import { Icon } from './icons.tsx';
import { type Notices, useNotices } from './notices.ts';

/** Shows what there is to tell. */
export function NoticeList({ notices }: { readonly notices: Notices }) {
  return (
    <div className="notices" role="status" aria-label="Notices">
      {useNotices(notices).map(({ key, text }) => (
        <p key={key} className="notice">
          <span dir="auto">{text}</span>
          <button
            type="button"
            className="round"
            aria-label="Dismiss"
            onClick={() => {
              notices.dismiss(key);
              focusChat();
            }}
          >
            <Icon name="close" />
          </button>
        </p>
      ))}
    </div>
  );
}
