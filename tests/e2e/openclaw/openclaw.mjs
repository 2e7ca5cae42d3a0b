// The session keys of the published package, through its own entry point, as its channels ask for them.
//
// Only the package itself is installed: its lock entry lists no dependencies, and `plugin-sdk/routing` needs no more
// than `chalk` and `tslog`.

import { resolveAgentRoute, resolveThreadSessionKeys } from 'openclaw/plugin-sdk/routing';

/** What each channel hands to the resolver for a message in Frontdesk's words. `suffix`: the thread goes behind the key. */
const SHAPES = {
  slack: ({ kind, message }) =>
    kind === 'direct' ? { peer: direct(message.user_id), suffix: true } : { peer: room(message.channel_id), suffix: true },
  // A Discord thread is a channel of its own.
  discord: ({ kind, message }) =>
    kind === 'direct'
      ? { peer: direct(bare(message.user_id)) }
      : { peer: room(bare(message.thread_id ?? message.channel_id)) },
  // A topic of a Telegram group is part of the peer.
  telegram: ({ kind, message }) => {
    const chat = bare(message.channel_id);
    if (kind === 'direct') return { peer: direct(chat) };
    return { peer: { kind: 'group', id: message.thread_id ? `${chat}:topic:${message.thread_id}` : chat } };
  },
  whatsapp: ({ kind, message }) =>
    kind === 'direct' ? { peer: direct(message.user_id) } : { peer: { kind: 'group', id: message.channel_id } },
  matrix: ({ kind, message }) =>
    kind === 'direct'
      ? { peer: direct(message.user_id), suffix: true, normalizeThreadId: (id) => id }
      : { peer: room(message.channel_id), suffix: true, normalizeThreadId: (id) => id },
  irc: ({ kind, message }) =>
    kind === 'direct' ? { peer: direct(message.user_id) } : { peer: room(message.channel_id), suffix: true },
};

/** The key of one identity bundle under OpenClaw's `dmScope`. */
export function openclawKey(dmScope, message) {
  const kind = message.kind === 'thread' ? (message.parent_kind ?? 'group') : message.kind;
  const { peer, suffix, normalizeThreadId } = SHAPES[message.channel]({ kind, message });
  const { sessionKey } = resolveAgentRoute({
    cfg: { session: { dmScope } }, channel: message.channel, accountId: message.account, peer,
  });
  if (!suffix) return sessionKey;
  return resolveThreadSessionKeys({ baseSessionKey: sessionKey, threadId: message.thread_id, normalizeThreadId }).sessionKey;
}

const direct = (id) => ({ kind: 'direct', id });
const room = (id) => ({ kind: 'channel', id });
// Frontdesk's adapters put the kind in front of a number.
const bare = (id) => id.replace(/^(?:user|channel|chat|group|thread)_/, '');
