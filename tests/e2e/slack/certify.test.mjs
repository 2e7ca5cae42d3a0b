// Slack's own clients, unmodified, judge the mock and the fixtures: what they accept, Slack would send.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile, readdir } from 'node:fs/promises';
import { test } from 'node:test';
import bolt from '@slack/bolt';
import { SocketModeClient } from '@slack/socket-mode';
import { WebClient } from '@slack/web-api';
import { WebSocket } from 'ws';
import { freePort } from './frontdesk.mjs';
import {
  APP_TOKEN, BOT, BOT_TOKEN, BOT_USER, SIGNING_SECRET, TEAM,
  deliver, directMessage, mention, message, startSlack,
} from './socket_mode_server.mjs';

const { App, LogLevel, verifySlackRequest } = bolt;
const quiet = { debug() {}, info() {}, warn() {}, error() {}, setLevel() {}, getLevel: () => LogLevel.ERROR, setName() {} };

async function withSlack(options, body) {
  const slack = await startSlack(options);
  try {
    await body(slack);
  } finally {
    await slack.close();
  }
}

function webClient(slack, token = BOT_TOKEN) {
  return new WebClient(token, { slackApiUrl: slack.apiUrl, logger: quiet });
}

test('the web client learns who it is and posts into channels and threads', () =>
  withSlack({ channels: ['C1'] }, async (slack) => {
    const client = webClient(slack);
    const me = await client.auth.test();
    assert.deepEqual([me.team_id, me.user_id, me.bot_id], [TEAM, BOT_USER, BOT]);
    const posted = await client.chat.postMessage({ channel: 'C1', text: 'in the channel' });
    assert.equal(posted.channel, 'C1');
    await client.chat.postMessage({ channel: 'C1', text: 'in the thread', thread_ts: posted.ts });
    assert.equal(slack.said('C1').length, 1);
    assert.equal(slack.said('C1', posted.ts).length, 1);
  }));

test('the web client reads refusals as Slack errors', () =>
  withSlack({ channels: ['C1'] }, async (slack) => {
    const refusal = (error) => (thrown) => thrown.code === 'slack_webapi_platform_error' && thrown.data.error === error;
    await assert.rejects(webClient(slack).chat.postMessage({ channel: 'C2', text: 'x' }), refusal('channel_not_found'));
    await assert.rejects(webClient(slack, 'xoxb-wrong').auth.test(), refusal('invalid_auth'));
    await assert.rejects(webClient(slack, APP_TOKEN).auth.test(), refusal('not_allowed_token_type'));
  }));

test('the web client waits as long as a 429 tells it to', () =>
  withSlack({}, async (slack) => {
    slack.script({ method: 'chat.postMessage', status: 429, headers: { 'retry-after': '1' } });
    await webClient(slack).chat.postMessage({ channel: 'C1', text: 'x' });
    const [first, second] = slack.calls.filter(({ method }) => method === 'chat.postMessage');
    assert.ok(second.at - first.at >= 1000, `${second.at - first.at} ms`);
    assert.equal(slack.posts.length, 1);
  }));

test('the socket mode client takes an event, and its ack settles the envelope', () =>
  withSlack({}, async (slack) => {
    const client = new SocketModeClient({ appToken: APP_TOKEN, logger: quiet, clientOptions: { slackApiUrl: slack.apiUrl } });
    const heard = [];
    client.on('message', async ({ ack, event, retry_num }) => {
      heard.push({ text: event.text, retry_num });
      await ack();
    });
    await client.start();
    const id = slack.sendEvent(message({ text: 'over the socket' }));
    await slack.until('the ack', () => slack.acks.some((ack) => ack.envelope_id === id && ack.isKnown));
    assert.deepEqual(heard, [{ text: 'over the socket', retry_num: 0 }]);
    await client.disconnect();
  }));

test('an envelope that the socket mode client does not acknowledge comes again', () =>
  withSlack({ ackTimeoutMs: 200 }, async (slack) => {
    const client = new SocketModeClient({ appToken: APP_TOKEN, logger: quiet, clientOptions: { slackApiUrl: slack.apiUrl } });
    const attempts = [];
    client.on('message', async ({ ack, retry_num, retry_reason }) => {
      attempts.push([retry_num, retry_reason]);
      if (retry_num > 0) await ack();
    });
    await client.start();
    const id = slack.sendEvent(message());
    await slack.until('the ack', () => slack.acks.some((ack) => ack.envelope_id === id));
    assert.deepEqual(attempts, [[0, ''], [1, 'timeout']]);
    await client.disconnect();
  }));

test('the socket mode client connects again after a refresh, with a new ticket', () =>
  withSlack({}, async (slack) => {
    const client = new SocketModeClient({
      appToken: APP_TOKEN, logger: quiet, clientPingTimeout: 100, clientOptions: { slackApiUrl: slack.apiUrl },
    });
    await client.start();
    const again = once(client, 'connected');
    slack.disconnect('refresh_requested');
    await again;
    assert.equal(slack.connections.length, 2);
    await client.disconnect();
  }));

test('a ticket opens one connection only', () =>
  withSlack({}, async (slack) => {
    const { url } = await webClient(slack, APP_TOKEN).apps.connections.open();
    const outcome = () => new Promise((resolve) => {
      const ws = new WebSocket(url);
      ws.on('open', () => resolve('open')).on('error', () => resolve('refused'));
    });
    assert.equal(await outcome(), 'open');
    assert.equal(await outcome(), 'refused');
  }));

test('a Bolt app over the socket hears messages and mentions, answers in place, and knows itself', () =>
  withSlack({}, async (slack) => {
    const app = new App({
      token: BOT_TOKEN, appToken: APP_TOKEN, socketMode: true, logger: quiet, clientOptions: { slackApiUrl: slack.apiUrl },
    });
    const heard = [];
    app.message(async ({ message, say }) => {
      heard.push(['message', message.channel_type, message.text]);
      if (message.channel_type === 'im') await say('hello in private');
    });
    app.event('app_mention', async ({ event, say }) => {
      heard.push(['app_mention', event.channel_type, event.text]);
      await say({ text: 'hello in the thread', thread_ts: event.ts });
    });
    await app.start();
    slack.sendEvent(directMessage('U1', 'hi'));
    const [asMessage, asMention] = mention({ channel: 'C1', text: `<@${BOT_USER}> hi` });
    slack.sendEvent(asMessage);
    slack.sendEvent(asMention);
    await slack.until('both answers', () => slack.said('D0U1').length && slack.said('C1', asMention.ts).length);
    await slack.until('all acks', () => [...slack.envelopes.values()].every(({ ackedAt }) => ackedAt));
    assert.deepEqual(heard.sort(), [
      ['app_mention', undefined, `<@${BOT_USER}> hi`],
      ['message', 'channel', `<@${BOT_USER}> hi`],
      ['message', 'im', 'hi'],
    ]);
    assert.equal(slack.posts.length, 2, 'the app did not answer its own words');
    await app.stop();
    // Bolt says stopped before its connection is closed, and waits half a minute for one that is cut.
    await slack.until('the end of the connection', () => slack.live().length === 0);
  }));

test('a Bolt app over HTTP takes what the mock signs and refuses everything else', () =>
  withSlack({}, async (slack) => {
    const app = new App({
      token: BOT_TOKEN, signingSecret: SIGNING_SECRET, logger: quiet, clientOptions: { slackApiUrl: slack.apiUrl },
    });
    const heard = [];
    app.message(async ({ message }) => {
      heard.push(message.text);
    });
    const port = await freePort();
    await app.start({ port, host: '127.0.0.1' });
    const url = `http://127.0.0.1:${port}/slack/events`;
    const payload = slack.callback(message({ text: 'over HTTP' }));
    assert.equal((await deliver(url, payload)).status, 200);
    assert.equal((await deliver(url, payload, { sign: null })).status, 401);
    assert.equal((await deliver(url, payload, { sign: { secret: 'another' } })).status, 401);
    assert.equal((await deliver(url, payload, { sign: { ageSecs: 301 } })).status, 401);
    const verification = { token: 'x', challenge: 'please say this', type: 'url_verification' };
    const verified = await deliver(url, verification);
    assert.equal(verified.status, 200);
    assert.match(verified.text, /please say this/);
    assert.deepEqual(heard, ['over HTTP'], 'and it heard the one good request');
    await app.stop();
  }));

test("Bolt's verdict on the signature of every fixture is the expected one", async () => {
  const root = new URL('../../data/channel/slack/', import.meta.url);
  const now = 1_700_000_060_000;
  let nChecked = 0;
  for (const name of await readdir(root)) {
    const [headers, body, expected] = await Promise.all(
      ['headers.json', 'body.json', 'expected.json'].map((file) => readFile(new URL(`${name}/${file}`, root), 'utf8')),
    );
    // Bolt does not look for timestamps that lie ahead, and reads the body as UTF-8 before it verifies.
    if (name === 'signed_in_the_future' || name === 'not_utf_8') continue;
    const verify = () => verifySlackRequest({
      signingSecret: SIGNING_SECRET, body, headers: JSON.parse(headers), nowMilliseconds: now,
    });
    if (JSON.parse(expected).status === 401) assert.throws(verify, name);
    else assert.doesNotThrow(verify, name);
    nChecked += 1;
  }
  assert.ok(nChecked >= 20, `${nChecked} fixtures`);
});
