// Frontdesk and the published OpenClaw group messages into sessions alike, but for four faults of the latter.
//
//   FRONTDESK_BIN=target/debug/frontdesk node --test tests/e2e/openclaw/openclaw.test.mjs

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { frontdeskKeys } from './frontdesk.mjs';
import { messages } from './messages.mjs';
import { openclawKey } from './openclaw.mjs';

const N_MESSAGES = 5_000;
const WITH_ACCOUNT = '{channel}:{account}:{server_id}:{channel_id}:{user_id}';

test('the resolver is that of the version the guides speak of', () => {
  const manifest = new URL('../node_modules/openclaw/package.json', import.meta.url);
  assert.equal(JSON.parse(readFileSync(manifest)).version, '2026.4.15');
});

/** Two messages share a session in one system if and only if they share one in the other. */
function checkGrouping(dmScope, session, all) {
  const own = frontdeskKeys(session, all);
  const [ownOf, theirsOf] = [new Map(), new Map()];
  for (const [n, message] of all.entries()) {
    const theirs = openclawKey(dmScope, message);
    for (const [map, from, to] of [[ownOf, theirs, own[n]], [theirsOf, own[n], theirs]]) {
      const seen = map.get(from) ?? { to, message };
      map.set(from, seen);
      assert.equal(to, seen.to, `${from} is of both ${JSON.stringify(seen.message)} and ${JSON.stringify(message)}`);
    }
  }
  // Neither all apart nor all together: the comparison saw sessions that are shared and sessions that are not.
  assert.ok(theirsOf.size > 100 && theirsOf.size < all.length / 2, `${theirsOf.size} sessions`);
}

describe('messages are grouped alike', () => {
  for (const seed of [1, 2]) {
    test(`direct messages by channel and peer, groups and threads (seed ${seed})`, () => {
      const all = messages(seed, N_MESSAGES, { n_accounts: 1 });
      checkGrouping('per-channel-peer', { dm_scope: 'per-channel-peer' }, all);
    });
    test(`direct messages by account, channel and peer, groups and threads (seed ${seed})`, () => {
      const all = messages(seed, N_MESSAGES, { n_accounts: 3 });
      const session = { dm_scope: 'per-channel-peer', key_format: WITH_ACCOUNT };
      checkGrouping('per-account-channel-peer', session, all);
    });
    test(`all direct messages together, groups and threads apart (seed ${seed})`, () => {
      checkGrouping('main', { dm_scope: 'main' }, messages(seed, N_MESSAGES, { n_accounts: 3 }));
    });
    test(`direct messages by peer on one channel type (seed ${seed})`, () => {
      for (const channel of ['slack', 'matrix']) {
        const all = messages(seed, N_MESSAGES, { n_accounts: 3, channels: [channel] });
        checkGrouping('per-peer', { dm_scope: 'per-peer' }, all);
      }
    });
  }
});

/** OpenClaw files both messages under one key; Frontdesk keeps them apart. */
function checkFault(dmScope, session, pair) {
  const [first, second] = pair.map((message) => openclawKey(dmScope, message));
  assert.equal(first, second, 'openclaw does not have this fault');
  const own = frontdeskKeys(session, pair);
  assert.notEqual(own[0], own[1]);
}

describe('what openclaw merges and Frontdesk does not', () => {
  const apart = { dm_scope: 'per-channel-peer' };

  test('groups of one name that two accounts are in, because the account is missing', () => {
    const general = { channel: 'irc', kind: 'group', channel_id: '#general', user_id: 'nick' };
    const pair = [{ ...general, account: 'libera' }, { ...general, account: 'oftc' }];
    checkFault('per-account-channel-peer', apart, pair);
    checkFault('per-account-channel-peer', { ...apart, key_format: WITH_ACCOUNT }, pair);
  });

  test('people and rooms whose ids differ in case', () => {
    const direct = { channel: 'matrix', kind: 'direct', channel_id: '!dm:example.org' };
    checkFault('per-channel-peer', apart, [
      { ...direct, user_id: '@Alice:example.org' },
      { ...direct, user_id: '@alice:example.org' },
    ]);
    const group = { channel: 'matrix', kind: 'group', user_id: '@alice:example.org' };
    checkFault('per-channel-peer', apart, [
      { ...group, channel_id: '!QtykxKocfZaZOUrTwp:example.org' },
      { ...group, channel_id: '!qtykxkocfzazourtwp:example.org' },
    ]);
  });

  test('strangers with one number on two channels, under per-peer', () => {
    checkFault('per-peer', { dm_scope: 'per-peer' }, [
      { channel: 'telegram', kind: 'direct', channel_id: 'chat_123' },
      { channel: 'discord', kind: 'direct', user_id: 'user_123' },
    ]);
    // Not because the kind stands in front: the bare number is kept apart too.
    const bare = { kind: 'direct', user_id: '123' };
    const own = frontdeskKeys({ dm_scope: 'per-peer' }, [{ ...bare, channel: 'telegram' }, { ...bare, channel: 'discord' }]);
    assert.deepEqual(own, ['telegram:123', 'discord:123']);
  });

  test('a room named like a thread of another, because `:` is not escaped', () => {
    const message = { channel: 'irc', account: 'libera', user_id: 'nick' };
    checkFault('per-channel-peer', apart, [
      { ...message, kind: 'group', channel_id: '#general:thread:5' },
      { ...message, kind: 'thread', channel_id: '#general', thread_id: '5' },
    ]);
    const topic = { channel: 'telegram', user_id: 'user_1' };
    checkFault('per-channel-peer', apart, [
      { ...topic, kind: 'group', channel_id: '-100:topic:5' },
      { ...topic, kind: 'thread', channel_id: '-100', thread_id: '5' },
    ]);
  });
});
