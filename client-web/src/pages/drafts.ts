/** What was begun and not sent, by conversation, for as long as the page lives. */

import type { ConversationId } from '../wire.ts';

/** The texts that stand in composers. */
export const drafts = new Map<ConversationId, string>();
