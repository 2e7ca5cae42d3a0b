// Seeded messages whose sessions both systems should tell apart alike: ids that differ in more than case, hold no
// separator, and rooms that only one of the bot's accounts is in.

/** Numbers in [0, 1) that are the same for the same seed (mulberry32). */
export function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The ids of one chat: `a` numbers the account, `r` the room, `t` the thread, `u` the user. */
const CHATS = {
  slack: {
    direct: ({ a, u }) => ({ server_id: `T${a}`, channel_id: `D${a}0${u}`, user_id: `U${u}` }),
    group: ({ a, r, u }) => ({ server_id: `T${a}`, channel_id: `C${a}0${r}`, user_id: `U${u}` }),
    thread: ({ t }) => ({ thread_id: `171234567${t}.000100` }),
    hasDirectThreads: true,
  },
  discord: {
    direct: ({ a, u }) => ({ channel_id: `channel_9${a}0${u}`, user_id: `user_4${u}` }),
    group: ({ a, r, u }) => ({ server_id: `guild_7${a}`, channel_id: `channel_8${a}0${r}`, user_id: `user_4${u}` }),
    thread: ({ a, r, t }) => ({ thread_id: `thread_6${a}0${r}0${t}` }),
  },
  telegram: {
    direct: ({ u }) => ({ channel_id: `chat_58${u}` }),
    group: ({ a, r, u }) => ({ channel_id: `group_-100${a}0${r}`, user_id: `user_58${u}` }),
    thread: ({ t }) => ({ thread_id: `${t + 1}` }),
  },
  whatsapp: {
    direct: ({ u }) => ({ user_id: `+1555000${u}` }),
    group: ({ a, r, u }) => ({ channel_id: `1203${a}0${r}@g.us`, user_id: `+1555000${u}` }),
  },
  matrix: {
    direct: ({ a, u }) => ({ channel_id: `!dm${a}x${u}:example.org`, user_id: `@user${u}:example.org` }),
    group: ({ a, r, u }) => ({ channel_id: `!room${a}x${r}:example.org`, user_id: `@user${u}:example.org` }),
    thread: ({ t }) => ({ thread_id: `$event${t}` }),
    hasDirectThreads: true,
  },
};

/** `n` messages; `n_accounts` of the bot's own on each channel. */
export function messages(seed, n, { n_accounts, channels = Object.keys(CHATS) }) {
  const next = random(seed);
  const below = (limit) => Math.floor(next() * limit);
  return Array.from({ length: n }, () => {
    const channel = channels[below(channels.length)];
    const chat = CHATS[channel];
    const ids = { a: below(n_accounts), r: below(9), t: below(4), u: below(40) };
    const parent = next() < 0.5 ? 'direct' : 'group';
    const isThread = chat.thread !== undefined && (parent === 'group' || chat.hasDirectThreads) && next() < 0.4;
    return {
      channel,
      account: `account-${ids.a}`,
      ...chat[parent](ids),
      ...(isThread ? { kind: 'thread', parent_kind: parent, ...chat.thread(ids) } : { kind: parent }),
    };
  });
}
