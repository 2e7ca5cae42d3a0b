// Slack's own Web API client against our SlackPeer: slack.mjs API_URL
import assert from 'node:assert/strict';
import { WebClient } from '@slack/web-api';

const [slackApiUrl] = process.argv.slice(2);
const client = new WebClient('xoxb-test', { slackApiUrl });
const self = await client.auth.test();
assert.equal(self.user_id, 'U0BOT');
assert.equal(self.team_id, 'T09ABC123');
const posted = await client.chat.postMessage({ channel: 'D04XYZ789', text: 'hello' });
assert.equal(posted.channel, 'D04XYZ789');
assert.ok(posted.ts);
await client.chat.postMessage({ channel: 'C1', thread_ts: '1700000000.000100', text: 'in a thread' });
const stranger = new WebClient('xoxb-wrong', { slackApiUrl });
await assert.rejects(stranger.auth.test(), (error) => error.data.error === 'invalid_auth');
