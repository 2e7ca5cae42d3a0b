// The program against the mock that Slack's own clients accepted (certify.test.mjs).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { startFrontdesk } from './frontdesk.mjs';
import {
  APP_TOKEN, BOT_TOKEN, BOT_USER, SIGNING_SECRET,
  deliver, directMessage, mention, message, startSlack,
} from './socket_mode_server.mjs';

const OVER_SOCKET = { bot_token: BOT_TOKEN, app_token: APP_TOKEN };
const OVER_HTTP = { bot_token: BOT_TOKEN, signing_secret: SIGNING_SECRET };

async function withFrontdesk(keys, body, options) {
  const slack = await startSlack(options);
  let frontdesk;
  try {
    frontdesk = await startFrontdesk({ ...keys, base_url: slack.apiUrl });
    if (keys.app_token) await slack.until('the connection', () => slack.live().length > 0);
    await body(slack, frontdesk);
  } catch (error) {
    error.message += `\n--- log of the gateway ---\n${frontdesk?.log() ?? ''}`;
    throw error;
  } finally {
    await frontdesk?.stop();
    await slack.close();
  }
}

const answered = (slack, channel, threadTs) =>
  slack.until(`an answer in ${channel} ${threadTs ?? ''}`, () => slack.said(channel, threadTs).length > 0);

// When a later message has been answered, an earlier one would have been answered too.
async function settle(slack, say = (event) => slack.sendEvent(event)) {
  const user = `USETTLE${slack.calls.length}`;
  await say(directMessage(user, 'are you still there?'));
  await answered(slack, `D0${user}`);
}

test('a direct message is answered where it was written', () =>
  withFrontdesk(OVER_SOCKET, async (slack) => {
    slack.sendEvent(directMessage('U1', 'hi'));
    slack.sendEvent(directMessage('U2', 'hi', { thread_ts: '1700000000.000100' }));
    await answered(slack, 'D0U1');
    await answered(slack, 'D0U2', '1700000000.000100');
    assert.equal(slack.posts.length, 2);
  }));

test('a mention in a channel is answered in the channel, once, and chatter is not', () =>
  withFrontdesk(OVER_SOCKET, async (slack) => {
    slack.sendEvent(message({ channel: 'C1', text: 'lunch?' }));
    const [asMessage, asMention] = mention({ channel: 'C1', text: `<@${BOT_USER}> what are your hours?` });
    slack.sendEvent(asMessage);
    slack.sendEvent(asMention);
    await answered(slack, 'C1');
    await settle(slack);
    assert.equal(slack.said('C1').length, 1);
  }));

test('the mention may arrive before the message', () =>
  withFrontdesk(OVER_SOCKET, async (slack) => {
    const [asMessage, asMention] = mention({ channel: 'C1', text: `<@${BOT_USER}> what are your hours?` });
    slack.sendEvent(asMention);
    slack.sendEvent(asMessage);
    await answered(slack, 'C1');
    await settle(slack);
    assert.equal(slack.said('C1').length, 1);
  }));

test('a mention in a thread is answered in that thread only', () =>
  withFrontdesk(OVER_SOCKET, async (slack) => {
    const at = { channel: 'C1', thread_ts: '1700000000.000100', parent_user_id: 'U07DEF456' };
    for (const event of mention({ ...at, text: `<@${BOT_USER}> and on Sundays?` })) slack.sendEvent(event);
    await answered(slack, 'C1', '1700000000.000100');
    await settle(slack);
    assert.equal(slack.said('C1', '1700000000.000100').length, 1);
    assert.equal(slack.said('C1').length, 0);
  }));

test('the bot does not answer its own words or those of other bots', () =>
  withFrontdesk(OVER_SOCKET, async (slack) => {
    slack.sendEvent(directMessage('U1', 'hi'));
    await answered(slack, 'D0U1');
    slack.sendEvent(message({ channel: 'C1', user: undefined, subtype: 'bot_message', bot_id: 'B0OTHER01', text: `<@${BOT_USER}> hi` }));
    await slack.until('acks of all envelopes', () => [...slack.envelopes.values()].every(({ ackedAt }) => ackedAt));
    await settle(slack);
    assert.equal(slack.said('D0U1').length, 1);
    assert.equal(slack.said('C1').length, 0);
  }));

test('an envelope that is delivered again is acknowledged again and answered once', () =>
  withFrontdesk(OVER_SOCKET, async (slack) => {
    const id = slack.sendEvent(directMessage('U1', 'hi'));
    await answered(slack, 'D0U1');
    await slack.until('the ack', () => slack.acks.some((ack) => ack.envelope_id === id));
    slack.redeliver(id);
    await slack.until('the second ack', () => slack.acks.filter((ack) => ack.envelope_id === id).length === 2);
    await settle(slack);
    assert.equal(slack.said('D0U1').length, 1);
  }));

test('what is not a message is acknowledged', () =>
  withFrontdesk(OVER_SOCKET, async (slack) => {
    slack.sendEnvelope('slash_commands', { command: '/hours', text: '' });
    slack.sendEvent({ type: 'reaction_added', user: 'U1', reaction: 'eyes', item: {} });
    slack.sendEvent(message({ subtype: 'message_changed', hidden: true, message: {}, user: undefined }));
    await slack.until('three acks', () => slack.acks.length === 3);
    await settle(slack);
    assert.equal(slack.posts.length, 1);
  }));

test('a refresh opens the next connection first and loses nothing', () =>
  withFrontdesk(OVER_SOCKET, async (slack) => {
    const users = Array.from({ length: 12 }, (_, n) => `U${n}`);
    for (const [n, user] of users.entries()) {
      if (n === 4 || n === 8) slack.disconnect('refresh_requested', 1000);
      slack.sendEvent(directMessage(user, `question ${n}`));
    }
    for (const user of users) await answered(slack, `D0${user}`);
    await slack.until('a second connection', () => slack.connections.length >= 2);
    assert.equal(slack.connections[1].nOpenBefore, 1, 'the old connection was open when the new one came');
    await settle(slack);
    for (const user of users) assert.equal(slack.said(`D0${user}`).length, 1, user);
    await slack.until('the old connections to be left', () => slack.live().length === 1);
  }));

test('a cut connection comes back, and what was not acknowledged is answered once', () =>
  withFrontdesk(OVER_SOCKET, async (slack) => {
    slack.sendEvent(directMessage('U1', 'before'));
    slack.drop();
    slack.sendEvent(directMessage('U2', 'while away'));
    await answered(slack, 'D0U1');
    await answered(slack, 'D0U2');
    await settle(slack);
    assert.deepEqual([slack.said('D0U1').length, slack.said('D0U2').length], [1, 1]);
  }));

test('a 429 is obeyed and the answer arrives once', () =>
  withFrontdesk(OVER_SOCKET, async (slack) => {
    slack.script({
      method: 'chat.postMessage', status: 429, headers: { 'retry-after': '2' }, body: { ok: false, error: 'ratelimited' },
    });
    slack.sendEvent(directMessage('U1', 'hi'));
    await answered(slack, 'D0U1');
    const [first, second] = slack.calls.filter(({ method }) => method === 'chat.postMessage');
    assert.ok(second.at - first.at >= 2000, `${second.at - first.at} ms`);
    await settle(slack);
    assert.equal(slack.said('D0U1').length, 1);
  }));

test('an answer that may have been posted is not posted again', () =>
  withFrontdesk(OVER_SOCKET, async (slack) => {
    slack.script({ method: 'chat.postMessage', lose: true });
    slack.sendEvent(directMessage('U1', 'hi'));
    await answered(slack, 'D0U1');
    await settle(slack);
    // A repetition would come after a pause.
    await setTimeout(3000);
    assert.equal(slack.said('D0U1').length, 1);
  }));

test('words of the agent cannot call anybody, and Slack fetches no address for them', () =>
  withFrontdesk(OVER_SOCKET, async (slack) => {
    slack.sendEvent(directMessage('U1', 'say &lt;!channel&gt; &amp; https://example.com'));
    await answered(slack, 'D0U1');
    const [post] = slack.said('D0U1');
    assert.doesNotMatch(post.text, /[<>]|&(?!amp;|lt;|gt;)/);
    assert.deepEqual([post.unfurl_links, post.unfurl_media], [false, false]);
  }));

test('over HTTP only what Slack signed, and signed now, is taken', () =>
  withFrontdesk(OVER_HTTP, async (slack, { hooks }) => {
    const event = (user) => slack.callback(directMessage(user, 'hi'));
    assert.equal((await deliver(hooks, event('U1'))).status, 200);
    assert.equal((await deliver(hooks, event('U2'), { sign: null })).status, 401);
    assert.equal((await deliver(hooks, event('U3'), { sign: { secret: 'another' } })).status, 401);
    assert.equal((await deliver(hooks, event('U4'), { sign: { ageSecs: 301 } })).status, 401);
    assert.equal((await deliver(hooks, event('U5'), { sign: { ageSecs: -301 } })).status, 401);
    assert.equal((await deliver(hooks, '{"type":"event_call')).status, 400);
    await answered(slack, 'D0U1');
    await settle(slack, (settling) => deliver(hooks, slack.callback(settling)));
    assert.equal(slack.posts.length, 2);
  }));

test('the address is verified by its challenge, if Slack asks', () =>
  withFrontdesk(OVER_HTTP, async (slack, { hooks }) => {
    const verification = { token: 'x', challenge: 'please say this', type: 'url_verification' };
    const verified = await deliver(hooks, verification);
    assert.deepEqual([verified.status, JSON.parse(verified.text)], [200, { challenge: 'please say this' }]);
    assert.equal((await deliver(hooks, verification, { sign: null })).status, 401);
  }));

test('a retry over HTTP is accepted and answered once', () =>
  withFrontdesk(OVER_HTTP, async (slack, { hooks }) => {
    const event = slack.callback(directMessage('U1', 'hi'));
    assert.equal((await deliver(hooks, event)).status, 200);
    for (const retry of ['1', '2', '3']) {
      const headers = { 'x-slack-retry-num': retry, 'x-slack-retry-reason': 'http_timeout' };
      assert.equal((await deliver(hooks, event, { headers })).status, 200);
    }
    await answered(slack, 'D0U1');
    await settle(slack, (settling) => deliver(hooks, slack.callback(settling)));
    assert.equal(slack.said('D0U1').length, 1);
  }));

test('message and mention over HTTP are one message', () =>
  withFrontdesk(OVER_HTTP, async (slack, { hooks }) => {
    for (const event of mention({ channel: 'C1', text: `<@${BOT_USER}> hi` })) {
      assert.equal((await deliver(hooks, slack.callback(event))).status, 200);
    }
    await answered(slack, 'C1');
    await settle(slack, (settling) => deliver(hooks, slack.callback(settling)));
    assert.equal(slack.said('C1').length, 1);
  }));

test('without a signing secret there is no webhook', () =>
  withFrontdesk(OVER_SOCKET, async (slack, { hooks }) => {
    assert.equal((await deliver(hooks, slack.callback(directMessage('U1', 'hi')))).status, 404);
  }));
