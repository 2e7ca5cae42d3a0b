// The program against emulate, a Slack Web API that others wrote. It has no Socket Mode, so events come
// over HTTP, signed here; what was answered is read back with Slack's own client. Needs Node 22.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WebClient } from '@slack/web-api';
import { createEmulator } from 'emulate';
import { freePort, startFrontdesk } from './frontdesk.mjs';
import { BOT_TOKEN, SIGNING_SECRET, deliver, message, mention } from './socket_mode_server.mjs';

const ADMIN_TOKEN = 'xoxp-1-admin';
const TEAM = 'T000000001';
const ADMIN = 'U000000001';
const GENERAL = 'C000000001';

async function withEmulator(body) {
  const emulator = await createEmulator({
    service: 'slack',
    port: await freePort(),
    seed: {
      slack: {
        users: [{ name: 'reception' }],
        tokens: [{ token: BOT_TOKEN, type: 'bot', user: 'reception' }, { token: ADMIN_TOKEN, type: 'user', user_id: ADMIN }],
      },
    },
  });
  let frontdesk;
  try {
    const slackApiUrl = `${emulator.url}/api/`;
    frontdesk = await startFrontdesk({ bot_token: BOT_TOKEN, signing_secret: SIGNING_SECRET, base_url: slackApiUrl });
    const { user_id: bot } = await new WebClient(BOT_TOKEN, { slackApiUrl }).auth.test();
    await body(new WebClient(ADMIN_TOKEN, { slackApiUrl }), bot, frontdesk);
  } catch (error) {
    error.message += `\n--- log of the gateway ---\n${frontdesk?.log() ?? ''}`;
    throw error;
  } finally {
    await frontdesk?.stop();
    await emulator.close();
  }
}

const callback = (event, bot) => ({
  type: 'event_callback',
  team_id: TEAM,
  api_app_id: 'A0FRONT01',
  event,
  event_id: `Ev${event.ts}`,
  event_time: Number.parseInt(event.ts, 10),
  authorizations: [{ team_id: TEAM, user_id: bot, is_bot: true, is_enterprise_install: false }],
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
  withEmulator(async (admin, bot, { hooks }) => {
    const text = `<@${bot}> hello`;
    const { channel, ts } = await admin.chat.postMessage({ channel: GENERAL, text });
    for (const event of mention({ channel, ts, user: ADMIN, text })) {
      assert.equal((await deliver(hooks, callback(event, bot))).status, 200);
    }
    const ofBot = (messages) => messages.filter(({ user }) => user === bot);
    const inChannel = async () => ofBot((await admin.conversations.history({ channel })).messages);
    const inThread = async () => ofBot((await admin.conversations.replies({ channel, ts })).messages);

    await until('the answer', async () => (await inChannel()).length > 0);
    const reply = await admin.chat.postMessage({ channel, thread_ts: ts, text: `<@${bot}> more?` });
    const event = message({ channel, ts: reply.ts, thread_ts: ts, user: ADMIN, text: `<@${bot}> more?` });
    assert.equal((await deliver(hooks, callback(event, bot))).status, 200);
    await until('the reply', async () => (await inThread()).length > 0);

    const [answers, replies] = [await inChannel(), await inThread()];
    assert.deepEqual([answers.length, replies.length], [1, 1]);
    assert.deepEqual([answers[0].thread_ts, replies[0].thread_ts], [undefined, ts]);
    assert.ok(answers[0].text.length > 0);
  }));
