// The program against emulate, a Slack Web API that others wrote. It has no Socket Mode, so events come
// over HTTP, signed here; what was answered is read back with Slack's own client. Needs Node 22.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WebClient } from '@slack/web-api';
import { createEmulator } from 'emulate';
import { freePort, startFrontdesk } from './frontdesk.mjs';
import { BOT_TOKEN, SIGNING_SECRET, deliver, message, mention } from './socket_mode_server.mjs';

const TEAM = 'T000000001';
const ADMIN = 'U000000001';

async function withEmulator(body) {
  const emulator = await createEmulator({
    service: 'slack',
    port: await freePort(),
    seed: { slack: {
      tokens: [
        { token: BOT_TOKEN, type: 'bot', scopes: 'chat:write,channels:read,channels:history,im:write,im:history', bot_user_id: 'U0BOT0001', bot_id: 'B0BOT0001' },
        { token: 'xoxp-admin', type: 'user', user_id: ADMIN },
      ],
    } },
  });
  let frontdesk;
  try {
    frontdesk = await startFrontdesk({ bot_token: BOT_TOKEN, signing_secret: SIGNING_SECRET, base_url: `${emulator.url}/api` });
    await body(new WebClient('xoxp-admin', { slackApiUrl: `${emulator.url}/api/` }), frontdesk);
  } finally {
    await frontdesk?.stop();
    await emulator.close();
  }
}

const callback = (event) => ({
  type: 'event_callback', team_id: TEAM, api_app_id: 'A0FRONT01', event, event_id: `Ev${event.ts}`, event_time: 1_700_000_000,
  authorizations: [{ team_id: TEAM, user_id: 'U0BOT0001', is_bot: true, is_enterprise_install: false }],
});

async function until(what, find) {
  for (const deadline = Date.now() + 15_000; Date.now() < deadline; ) {
    const found = await find();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${what}: not within 15 s`);
}

test('a mention and a thread are answered in place', () =>
  withEmulator(async (admin, { hooks }) => {
    const { channel, ts } = await admin.chat.postMessage({ channel: 'C000000001', text: '<@U0BOT0001> hello' });
    for (const event of mention({ channel, ts, user: ADMIN, text: '<@U0BOT0001> hello' })) {
      assert.equal((await deliver(hooks, callback(event))).status, 200);
    }
    const others = async () => (await admin.conversations.history({ channel })).messages.filter((m) => m.user !== ADMIN);
    const [answer] = await until('the answer', async () => (await others()).length > 0 && others());
    assert.ok(answer.text.length > 0);
    assert.equal(answer.thread_ts, undefined);

    const inThread = { channel, ts: `${Number.parseInt(ts) + 9}.000100`, thread_ts: ts, user: ADMIN, text: '<@U0BOT0001> more?' };
    assert.equal((await deliver(hooks, callback(message(inThread)))).status, 200);
    const replies = async () => (await admin.conversations.replies({ channel, ts })).messages.filter((m) => m.ts !== ts);
    const [reply] = await until('the reply', async () => (await replies()).length > 0 && replies());
    assert.equal(reply.thread_ts, ts);
    assert.equal((await others()).filter((m) => m.thread_ts === undefined).length, 1);
  }));
