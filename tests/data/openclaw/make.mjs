// Makes the fixtures of this folder by running OpenClaw itself: its gateway, with a model and a Telegram of
// our own on loopback, and the functions of its plugin SDK for channels that have no server to imitate.
//
//   node make.mjs PACKAGE OUT [FROM]     runs it; OUT/state is the whole state directory
//   node make.mjs trim OUT FIXTURE       keeps what an import reads, without paths of this machine
//
// PACKAGE is an installed `openclaw`, FROM a state directory of an earlier release that `openclaw doctor --fix`
// shall migrate first.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';

const [pkg, out, from] = process.argv.slice(2);

function trim(made, fixture) {
  const state = path.join(made, 'state');
  const put = (name, bytes) => {
    fs.mkdirSync(path.dirname(path.join(fixture, name)), { recursive: true });
    fs.writeFileSync(path.join(fixture, name), bytes);
  };
  const elsewhere = (text) => text.replace(/\/tmp\/home-\w+/g, '/home/owner').replace(/"[^"]*\/node_modules\/[^"]*"/g, '""');
  const entry = ({ skillsSnapshot, systemPromptReport, ...rest }) => rest;
  for (const name of fs.readdirSync(state, { recursive: true }).sort()) {
    const file = path.join(state, name);
    if (/^openclaw\.json$|^workspace[^/]*\/(SOUL|MEMORY)\.md$|^agents\/[^/]+\/sessions\/[^/]+\.jsonl$/.test(name)) {
      put(name, elsewhere(fs.readFileSync(file, 'utf8')));
    } else if (/^agents\/[^/]+\/sessions\/sessions\.json$/.test(name)) {
      const entries = Object.entries(JSON.parse(fs.readFileSync(file, 'utf8')));
      put(name, elsewhere(JSON.stringify(Object.fromEntries(entries.map(([key, value]) => [key, entry(value)])), null, 1)));
    } else if (/\/openclaw-agent\.sqlite$/.test(name)) {
      put(name, '');
      const target = path.join(fixture, name);
      fs.cpSync(file, target);
      const db = new DatabaseSync(target);
      db.exec('PRAGMA foreign_keys = OFF; PRAGMA journal_mode = DELETE');
      const kept = ['schema_meta', 'session_nodes', 'transcript_events'];
      const of = (type) => db.prepare('SELECT name FROM sqlite_master WHERE type = ?').all(type).map((row) => row.name);
      for (const trigger of of('trigger')) db.exec(`DROP TRIGGER "${trigger}"`);
      for (const virtual of of('table').filter((n) => of('table').includes(`${n}_data`))) db.exec(`DROP TABLE "${virtual}"`);
      for (const table of of('table')) if (!kept.includes(table) && !table.startsWith('sqlite_')) db.exec(`DROP TABLE "${table}"`);
      for (const { session_key, entry_json } of db.prepare('SELECT session_key, entry_json FROM session_nodes').all()) {
        const text = elsewhere(JSON.stringify(entry(JSON.parse(entry_json))));
        db.prepare('UPDATE session_nodes SET entry_json = ? WHERE session_key = ?').run(text, session_key);
      }
      for (const { session_id, seq, event_json } of db.prepare('SELECT session_id, seq, event_json FROM transcript_events WHERE event_json IS NOT NULL').all()) {
        db.prepare('UPDATE transcript_events SET event_json = ? WHERE session_id = ? AND seq = ?').run(elsewhere(event_json), session_id, seq);
      }
      db.exec('VACUUM');
      db.close();
    }
  }
}

if (pkg === 'trim') {
  trim(out, from);
  process.exit(0);
}
const version = JSON.parse(fs.readFileSync(path.join(pkg, 'package.json'), 'utf8')).version;
const home = fs.mkdtempSync(path.join(os.tmpdir(), 'home-'));
const state = path.join(home, '.openclaw');
fs.mkdirSync(state, { recursive: true });

const json = (response, value) => {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(value));
};

async function body(request) {
  let text = '';
  for await (const chunk of request) text += chunk;
  try {
    return JSON.parse(text);
  } catch {
    return Object.fromEntries(new URLSearchParams(text));
  }
}

async function serve(handle) {
  const server = http.createServer((request, response) => {
    handle(request, response).catch((error) => {
      response.writeHead(500);
      response.end(String(error));
    });
  });
  server.keepAliveTimeout = 0;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${server.address().port}`, close: () => server.closeAllConnections() || server.close() };
}

// The model says what it was told; asked for a file, it wants to read one first.
const model = await serve(async (request, response) => {
  const asked = await body(request);
  const text = (m) => (typeof m.content === 'string' ? m.content : (m.content ?? []).map((b) => b.text ?? '').join(''));
  const last = asked.messages?.at(-1);
  const said = text(asked.messages?.findLast((m) => m.role === 'user') ?? {}).split('\n').filter(Boolean).at(-1) ?? '';
  const wantsTool = last?.role === 'user' && said.includes('read the file');
  const delta = wantsTool
    ? { role: 'assistant', tool_calls: [{ index: 0, id: 'call_1', type: 'function', function: { name: 'read', arguments: '{"path":"SOUL.md"}' } }] }
    : { role: 'assistant', content: `You said: ${said.replace(/^\[[^\]]*\]\s*/, '')}` };
  const finish_reason = wantsTool ? 'tool_calls' : 'stop';
  const frame = { id: 'c1', object: 'chat.completion.chunk', created: 1, model: 'echo' };
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.write(`data: ${JSON.stringify({ ...frame, choices: [{ index: 0, delta, finish_reason: null }] })}\n\n`);
  response.write(`data: ${JSON.stringify({ ...frame, choices: [{ index: 0, delta: {}, finish_reason }], usage: { prompt_tokens: 9, completion_tokens: 3, total_tokens: 12 } })}\n\n`);
  response.end('data: [DONE]\n\n');
});

// Telegram's Bot API, as far as a bot needs it to answer.
const updates = [];
const sent = [];
let n_update = from ? 500 : 100;
const telegram = await serve(async (request, response) => {
  const method = request.url.split('?')[0].split('/').at(-1);
  const asked = await body(request);
  if (process.env.VERBOSE) console.error(method, JSON.stringify(asked));
  const me = { id: 777000777, is_bot: true, first_name: 'Desk', username: 'desk_bot', can_join_groups: true, can_read_all_group_messages: true };
  if (method === 'getMe') return json(response, { ok: true, result: me });
  if (method === 'getUpdates') {
    const offset = Number(asked.offset ?? 0);
    for (let n = 0; n < 20 && !updates.some((u) => u.update_id >= offset); n++) await new Promise((r) => setTimeout(r, 100));
    return json(response, { ok: true, result: updates.filter((u) => u.update_id >= offset) });
  }
  if (method === 'sendMessage' || method === 'editMessageText') {
    sent.push(asked);
    const chat = { id: Number(asked.chat_id), type: 'private' };
    return json(response, { ok: true, result: { message_id: 9000 + sent.length, date: 1, chat, from: me, text: asked.text } });
  }
  if (method === 'getChat') return json(response, { ok: true, result: { id: Number(asked.chat_id), type: 'private', first_name: 'X' } });
  if (method === 'getFile') return json(response, { ok: false, error_code: 400, description: 'no files' });
  return json(response, { ok: true, result: method === 'getWebhookInfo' ? { url: '' } : method.startsWith('get') ? [] : true });
});

async function until(what, holds) {
  for (let n = 0; n < 1200; n++) {
    if (await holds()) return;
    await new Promise((r) => setTimeout(r, 100));
  }
  throw new Error(`${what} did not happen`);
}

async function tell(chat, user, text, extra = {}) {
  const n_before = sent.length;
  const update_id = n_update++;
  updates.push({ update_id, message: { message_id: update_id, date: Math.floor(Date.now() / 1000), chat, from: user, text, ...extra } });
  await until(`an answer to ${text}`, () => sent.length > n_before);
}

const port = 20000 + Math.floor(Math.random() * 20000);
const config = `// Written by hand, as people do: JSON5 with comments.
{
  gateway: {
    mode: 'local',
    port: ${port},
    auth: { mode: 'token', token: 'gateway-token-of-the-fixture' },
    http: { endpoints: { chatCompletions: { enabled: true } } },
  },
  models: {
    providers: {
      fake: {
        baseUrl: '${model.url}/v1',
        apiKey: 'sk-model-key-of-the-fixture',
        api: 'openai-completions',
        models: [{ id: 'echo', name: 'Echo', contextWindow: 200000, maxTokens: 1000 }],
      },
    },
  },
  agents: {
    defaults: { model: { primary: 'fake/echo' }, workspace: '~/.openclaw/workspace', skipBootstrap: true },
    list: [
      { id: 'reception', default: true, name: 'Reception' },
      { id: 'sales', workspace: '~/.openclaw/workspace-sales', model: 'fake/echo' },
    ],
  },
  bindings: [
    { agentId: 'sales', match: { channel: 'telegram', peer: { kind: 'group', id: '-1001234567890' } } },
    { agentId: 'sales', match: { channel: 'slack', teamId: 'T09ABC123' } },
    { agentId: 'sales', match: { channel: 'telegram', accountId: 'second' } },
  ],
  session: {
    dmScope: 'per-account-channel-peer',
    identityLinks: { alice: ['telegram:5839201', 'whatsapp:+15551234567'] },
    reset: { mode: 'idle', idleMinutes: 43200 },
  },
  messages: { groupChat: { mentionPatterns: ['@desk'] } },
  channels: {
    telegram: {
      enabled: true,
      dmPolicy: 'open',
      allowFrom: ['*'],
      groupPolicy: 'open',
      groups: { '*': { requireMention: false } },
      apiRoot: '${telegram.url}',
      accounts: {
        default: { botToken: '777000777:token-of-the-fixture', apiRoot: '${telegram.url}' },
        second: { enabled: false, botToken: { source: 'env', provider: 'default', id: 'SECOND_BOT_TOKEN' } },
      },
    },
  },
  plugins: { allow: ['telegram'] },
  tools: { deny: ['exec', 'process', 'browser', 'canvas'] },
}
`;

const environment = {
  ...process.env,
  HOME: home,
  OPENCLAW_HOME: home,
  OPENCLAW_STATE_DIR: state,
  OPENCLAW_CONFIG_PATH: path.join(state, 'openclaw.json'),
  OPENCLAW_SKIP_CRON: '1',
  OPENCLAW_SKIP_BROWSER_CONTROL_SERVER: '1',
  OPENCLAW_SKIP_CANVAS_HOST: '1',
  OPENCLAW_DISABLE_BONJOUR: '1',
  SECOND_BOT_TOKEN: '1:second',
  TZ: 'UTC',
  NO_PROXY: '127.0.0.1,localhost',
};
Object.assign(process.env, environment);

function openclaw(...args) {
  return spawn(process.execPath, [path.join(pkg, 'openclaw.mjs'), ...args], { env: environment, cwd: home, stdio: ['ignore', 'inherit', 'inherit'] });
}

async function record() {
  // What a channel plugin of this release notes when a message comes in.
  const sdk = (name) => import(pathToFileURL(path.join(pkg, `dist/plugin-sdk/${name}.js`)));
  const { recordInboundSession } = await sdk('conversation-runtime');
  const { buildAgentSessionKey, resolveThreadSessionKeys } = await sdk('routing');
  const note = async (agentId, channel, accountId, peer, thread, ctx) => {
    const base = buildAgentSessionKey({ agentId, channel, accountId, peer, dmScope: 'per-account-channel-peer', identityLinks: { alice: ['telegram:5839201', 'whatsapp:+15551234567'] } });
    const { sessionKey } = resolveThreadSessionKeys({ baseSessionKey: base, threadId: thread });
    const storePath = path.join(state, 'agents', agentId, 'sessions', 'sessions.json');
    fs.mkdirSync(path.dirname(storePath), { recursive: true });
    await recordInboundSession({
      storePath,
      sessionKey,
      ctx: { Provider: channel, Surface: channel, OriginatingChannel: channel, AccountId: accountId, SessionKey: sessionKey, MessageThreadId: thread, ...ctx },
      updateLastRoute: { sessionKey, channel, to: ctx.OriginatingTo, accountId, threadId: thread },
      onRecordError: (error) => { throw error; },
    });
    return sessionKey;
  };
  return [
    await note('sales', 'slack', 'default', { kind: 'direct', id: 'U07DEF456' }, undefined, { ChatType: 'direct', From: 'slack:U07DEF456', To: 'user:U07DEF456', OriginatingTo: 'user:U07DEF456', NativeChannelId: 'D04XYZ789', SenderName: 'Dora', SenderId: 'U07DEF456', ConversationLabel: 'Dora' }),
    await note('sales', 'slack', 'default', { kind: 'channel', id: 'C04XYZ789' }, undefined, { ChatType: 'channel', From: 'slack:channel:C04XYZ789', To: 'channel:C04XYZ789', OriginatingTo: 'channel:C04XYZ789', NativeChannelId: 'C04XYZ789', GroupSubject: '#general', GroupSpace: 'T09ABC123', ConversationLabel: '#general' }),
    await note('sales', 'slack', 'default', { kind: 'channel', id: 'C04XYZ789' }, '1761036200.000400', { ChatType: 'channel', From: 'slack:channel:C04XYZ789', To: 'channel:C04XYZ789', OriginatingTo: 'channel:C04XYZ789', NativeChannelId: 'C04XYZ789', GroupSubject: '#general', ConversationLabel: '#general' }),
    await note('reception', 'discord', 'default', { kind: 'channel', id: '998100000000000001' }, undefined, { ChatType: 'channel', From: 'discord:channel:998100000000000001', To: 'channel:998100000000000001', OriginatingTo: 'channel:998100000000000001', GroupSubject: '#help', GroupChannel: '#help', GroupSpace: '742000000000000001', ConversationLabel: '#help' }),
    await note('reception', 'whatsapp', 'default', { kind: 'direct', id: '+15551234567' }, undefined, { ChatType: 'direct', From: '+15551234567', To: '+15550000000', OriginatingTo: '+15551234567', SenderName: 'Alice', ConversationLabel: 'Alice' }),
    await note('reception', 'whatsapp', 'default', { kind: 'group', id: '120363403215116621@g.us' }, undefined, { ChatType: 'group', From: '120363403215116621@g.us', To: '+15550000000', OriginatingTo: '120363403215116621@g.us', GroupSubject: 'Team', ConversationLabel: 'Team' }),
    await note('reception', 'matrix', 'default', { kind: 'channel', id: '!RoomAbC:example.org' }, undefined, { ChatType: 'channel', From: 'matrix:channel:!RoomAbC:example.org', To: 'room:!RoomAbC:example.org', OriginatingTo: 'room:!RoomAbC:example.org', NativeChannelId: '!RoomAbC:example.org', ConversationLabel: 'Lobby' }),
    await note('reception', 'matrix', 'default', { kind: 'direct', id: '@Eve:example.org' }, undefined, { ChatType: 'direct', From: 'matrix:@Eve:example.org', To: 'room:!Dm1:example.org', OriginatingTo: 'room:!Dm1:example.org', NativeDirectUserId: '@Eve:example.org', NativeChannelId: '!Dm1:example.org', SenderName: 'Eve', ConversationLabel: 'Eve' }),
  ];
}

if (from) {
  fs.cpSync(from, state, { recursive: true });
  const file = path.join(state, 'openclaw.json');
  const text = fs.readFileSync(file, 'utf8');
  const places = { model: model.url, telegram: telegram.url };
  fs.writeFileSync(file, text.replace(/http:\/\/127\.0\.0\.1:\d+\/v1/g, `${places.model}/v1`).replace(/(apiRoot['"]?: ?['"])http:\/\/127\.0\.0\.1:\d+/g, `$1${places.telegram}`).replace(/port: \d+/, `port: ${port}`));
  const doctor = openclaw('doctor', '--fix', '--non-interactive', '--yes');
  console.error('doctor ended', await once(doctor, 'exit'));
} else {
  fs.writeFileSync(path.join(state, 'openclaw.json'), config);
}
for (const [folder, who] of [['workspace', 'reception'], ['workspace-sales', 'sales']]) {
  fs.mkdirSync(path.join(state, folder), { recursive: true });
  fs.writeFileSync(path.join(state, folder, 'SOUL.md'), `You are the ${who} of Pine Street.\n`);
  fs.writeFileSync(path.join(state, folder, 'MEMORY.md'), '# Memory\n\n- Closed on Wednesdays.\n');
}
const keys = from ? ['agent:sales:slack:default:direct:u07def456', 'agent:reception:main'] : await record();

const gateway = openclaw('gateway', 'run', '--port', String(port), '--allow-unconfigured');
const base = `http://127.0.0.1:${port}`;
await until('the gateway', async () => {
  if (gateway.exitCode !== null) throw new Error('the gateway ended');
  try { return (await fetch(`${base}/healthz`)).ok; } catch { return false; }
});
await until('Telegram', () => true);

async function ask(agent, key, text) {
  const response = await fetch(`${base}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: 'Bearer gateway-token-of-the-fixture', 'content-type': 'application/json', ...(key ? { 'x-openclaw-session-key': key } : {}) },
    body: JSON.stringify({ model: `openclaw/${agent}`, user: key ? undefined : 'crm', messages: [{ role: 'user', content: text }] }),
  });
  const answer = await response.text();
  if (!response.ok) throw new Error(`${key}: ${response.status} ${answer}`);
}

const alice = { id: 5839201, is_bot: false, first_name: 'Alice', username: 'alice' };
const bob = { id: 42, is_bot: false, first_name: 'Bob', last_name: '😀', username: 'bob' };
const forum = { id: -1001234567890, type: 'supergroup', title: 'Pine: Team %', is_forum: true };
const again = from ? ' again' : '';
await tell({ id: 5839201, type: 'private', first_name: 'Alice' }, alice, `Good morning${again}, is Friday free?`);
await tell({ id: 5839201, type: 'private', first_name: 'Alice' }, alice, `And please read the file${again}`);
await tell({ id: 42, type: 'private', first_name: 'Bob' }, bob, `Grüezi 👋${again}\nsecond line`);
await tell({ id: -4001, type: 'group', title: 'Small group' }, bob, `hello all${again}`);
await tell({ id: -4001, type: 'group', title: 'Small group' }, alice, `hello Bob${again}`);
await tell(forum, bob, `in the topic${again}`, { message_thread_id: 42, is_topic_message: true });
for (const key of keys) await ask(key.split(':')[1], key, `A word for ${key.split(':')[2]}${again}`);
await ask('reception', undefined, `Hello from a program${again}`);
if (!from) {
  await ask('reception', 'agent:reception:main', 'To the main session');
  await ask('reception', 'agent:reception:main', 'Once more, and read the file');
  await ask('reception', 'agent:reception:cron:nightly', 'A job of the night');
  await ask('reception', 'agent:reception:hook:gmail:1', 'A hook');
  await ask('reception', 'agent:reception:direct:alice', 'A link from an earlier scope');
  await ask('reception', 'agent:reception:telegram:direct:42', 'An earlier scope');
} else {
  await ask('reception', 'agent:reception:main', `A long one ${'word '.repeat(4000)}`);
}
await new Promise((r) => setTimeout(r, 4000));
gateway.kill('SIGTERM');
await Promise.race([once(gateway, 'exit'), new Promise((r) => setTimeout(r, 20000))]);
gateway.kill('SIGKILL');
model.close();
telegram.close();
fs.mkdirSync(out, { recursive: true });
fs.cpSync(state, path.join(out, 'state'), { recursive: true });
console.error(`made with ${version} in ${home}`);
process.exit(0);
