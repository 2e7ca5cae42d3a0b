// A Slack that runs on loopback: auth.test, apps.connections.open, Socket Mode, chat.postMessage, and
// signed HTTP events. certify.test.mjs lets Slack's own clients judge it.
//
// In a test:         const slack = await startSlack(); … await slack.close();
// As a program:      node socket_mode_server.mjs [--port N]
//   prints one line  {"api_url":…,"control_url":…} and stops when its standard input ends.
//
// Control, for tests in other languages; all bodies are JSON:
//   GET  /control/state             connections, envelopes, acks, calls, posts
//   POST /control/event             {"event":{…},"envelope":{…}}      → {"envelope_id":…}
//   POST /control/frame             {…}                               sent as it is to the newest connection
//   POST /control/disconnect        {"reason":"refresh_requested","close_after_ms":200}
//   POST /control/drop              {}                                cuts every connection
//   POST /control/script            {"method":"chat.postMessage","status":429,"headers":{…},"body":{…},"times":1}
//                                   or {"method":…,"lose":true}: does it, and never answers
//   POST /control/deliver           {"url":…,"event":{…},"sign":{…},"headers":{…}}: a signed HTTP event → {"status":…}

import { createHmac, randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';
import { WebSocketServer } from 'ws';

export const TEAM = 'T09ABC123';
export const APP = 'A0FRONT01';
export const BOT_USER = 'U0BOT0001';
export const BOT = 'B0BOT0001';
export const BOT_TOKEN = 'xoxb-1-test';
export const APP_TOKEN = 'xapp-1-test';
export const SIGNING_SECRET = '8f742231b10e8888abcd99yyyzzz85a5';

// Slack waits three seconds for an ack, then sends the envelope again.
const ACK_TIMEOUT_MS = 3000;
const MAX_DELIVERIES = 4;
const PING_MS = 5000;

export async function startSlack(options = {}) {
  const slack = new Slack(options);
  await slack.listen(options.port ?? 0);
  return slack;
}

// A message event as Slack sends it. `changes` replace fields; undefined removes one.
export function message(changes = {}) {
  const ts = changes.ts ?? nextTs();
  const event = {
    type: 'message',
    user: 'U07DEF456',
    channel: 'C04XYZ789',
    channel_type: 'channel',
    text: 'hello',
    client_msg_id: randomUUID(),
    team: TEAM,
    ts,
    event_ts: ts,
    ...changes,
  };
  return Object.fromEntries(Object.entries(event).filter(([, value]) => value !== undefined));
}

export function directMessage(user, text, changes = {}) {
  return message({ user, text, channel: `D0${user}`, channel_type: 'im', ...changes });
}

// The two events that Slack makes of one message that mentions the bot.
export function mention(changes = {}) {
  const event = message(changes);
  const { channel_type: _, ...rest } = event;
  return [event, { ...rest, type: 'app_mention' }];
}

// The headers Slack signs a body with.
export function sign(body, { secret = SIGNING_SECRET, ageSecs = 0 } = {}) {
  const timestamp = String(Math.floor(Date.now() / 1000) - ageSecs);
  const digest = createHmac('sha256', secret).update(`v0:${timestamp}:${body}`).digest('hex');
  return { 'x-slack-request-timestamp': timestamp, 'x-slack-signature': `v0=${digest}` };
}

// Sends one HTTP request as Slack would. `sign: null` leaves the signature out.
export async function deliver(url, payload, { sign: signing = {}, headers = {} } = {}) {
  const body = typeof payload === 'string' ? payload : JSON.stringify(payload);
  const signature = signing === null ? {} : sign(body, signing);
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...signature, ...headers },
    body,
  });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

let lastTs = 0;
function nextTs() {
  lastTs = Math.max(lastTs + 1, Date.now() * 1000);
  return `${Math.floor(lastTs / 1e6)}.${String(lastTs % 1e6).padStart(6, '0')}`;
}

class Slack extends EventEmitter {
  constructor({ channels, echo = true, ackTimeoutMs = ACK_TIMEOUT_MS } = {}) {
    super();
    this.setMaxListeners(100);
    this.knownChannels = channels && new Set(channels);
    this.echo = echo;
    this.ackTimeoutMs = ackTimeoutMs;
    this.tickets = new Set();
    this.connections = [];
    this.envelopes = new Map();
    this.acks = [];
    this.calls = [];
    this.posts = [];
    this.scripts = [];
    this.http = createServer((request, response) => this.#serve(request, response));
    this.sockets = new WebSocketServer({ noServer: true });
    this.http.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
  }

  async listen(port) {
    await new Promise((resolve, reject) => {
      this.http.once('error', reject).listen(port, '127.0.0.1', resolve);
    });
    this.origin = `http://127.0.0.1:${this.http.address().port}`;
    this.apiUrl = `${this.origin}/api/`;
    this.pinging = setInterval(() => this.live().forEach(({ ws }) => ws.ping()), PING_MS);
  }

  async close() {
    clearInterval(this.pinging);
    for (const envelope of this.envelopes.values()) clearTimeout(envelope.timer);
    for (const { ws } of this.connections) ws.terminate();
    this.http.closeAllConnections();
    await new Promise((resolve) => this.http.close(resolve));
  }

  // Resolves with what `find` returns as soon as that is not undefined, null or false.
  async until(what, find, withinMs = 15_000) {
    const deadline = Date.now() + withinMs;
    for (;;) {
      const found = find();
      if (found) return found;
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(`${what}: not within ${withinMs} ms\n${JSON.stringify(this.state(), null, 1)}`);
      await once(this, 'change', { signal: AbortSignal.timeout(left) }).catch(() => {});
    }
  }

  live() {
    return this.connections.filter((connection) => connection.closedAt === undefined);
  }

  // What the bot said in a channel, outside threads or in one.
  said(channel, threadTs) {
    return this.posts.filter((post) => post.channel === channel && post.thread_ts === threadTs);
  }

  state() {
    return {
      connections: this.connections.map(({ ws: _, ...rest }) => rest),
      envelopes: [...this.envelopes.values()].map(({ timer: _, frame, ...rest }) => ({ id: frame.envelope_id, ...rest })),
      acks: this.acks,
      calls: this.calls,
      posts: this.posts,
    };
  }

  // Wraps an event as Slack does, for the socket and for HTTP.
  callback(event, envelope = {}) {
    return {
      token: 'one-long-verification-token',
      team_id: TEAM,
      api_app_id: APP,
      event,
      type: 'event_callback',
      event_id: `Ev${randomUUID().slice(0, 8).toUpperCase()}`,
      event_time: Math.floor(Date.now() / 1000),
      authorizations: [
        { enterprise_id: null, team_id: TEAM, user_id: BOT_USER, is_bot: true, is_enterprise_install: false },
      ],
      is_ext_shared_channel: false,
      ...(event.type === 'message' && { context_team_id: TEAM, context_enterprise_id: null }),
      ...envelope,
    };
  }

  // Sends an event over Socket Mode, again and again until it is acknowledged or given up.
  sendEvent(event, envelope) {
    return this.sendEnvelope('events_api', this.callback(event, envelope));
  }

  sendEnvelope(type, payload) {
    const frame = { type, envelope_id: randomUUID(), payload, accepts_response_payload: type !== 'events_api' };
    if (type === 'events_api') Object.assign(frame, { retry_attempt: 0, retry_reason: '' });
    const envelope = { frame, deliveries: [], ackedAt: undefined, timer: undefined };
    this.envelopes.set(frame.envelope_id, envelope);
    this.#deliverEnvelope(envelope);
    return frame.envelope_id;
  }

  // Sends an envelope again although it was acknowledged, as after an ack that got lost.
  redeliver(envelopeId) {
    const envelope = this.envelopes.get(envelopeId);
    envelope.ackedAt = undefined;
    envelope.deliveries = [];
    this.#deliverEnvelope(envelope);
  }

  sendFrame(frame) {
    this.live().at(-1)?.ws.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
  }

  // Announces the end of all connections; Slack closes them itself a little later.
  disconnect(reason = 'refresh_requested', closeAfterMs = 10_000) {
    for (const connection of this.live()) {
      connection.isLeaving = true;
      connection.ws.send(JSON.stringify({ type: 'disconnect', reason, debug_info: { host: 'mock' } }));
      setTimeout(() => connection.ws.close(), closeAfterMs).unref();
    }
  }

  drop() {
    for (const { ws } of this.live()) ws.terminate();
  }

  // The next `times` calls of `method` get this instead of an answer.
  script({ method, times = 1, ...answer }) {
    this.scripts.push({ method, times, ...answer });
  }

  #deliverEnvelope(envelope) {
    const { frame, deliveries } = envelope;
    clearTimeout(envelope.timer);
    if (envelope.ackedAt !== undefined || deliveries.length >= MAX_DELIVERIES) return;
    const live = this.live();
    const connection = live.findLast(({ isLeaving }) => !isLeaving) ?? live.at(-1);
    if (connection) {
      if (frame.type === 'events_api' && deliveries.length > 0) {
        Object.assign(frame, { retry_attempt: deliveries.length, retry_reason: 'timeout' });
      }
      deliveries.push({ connection: connection.id, at: Date.now() });
      connection.ws.send(JSON.stringify(frame));
    }
    envelope.timer = setTimeout(() => this.#deliverEnvelope(envelope), connection ? this.ackTimeoutMs : 100);
    envelope.timer.unref();
  }

  #upgrade(request, socket, head) {
    const ticket = new URL(request.url, this.origin).searchParams.get('ticket');
    if (!this.tickets.delete(ticket)) {
      socket.end('HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\n');
      return;
    }
    this.sockets.handleUpgrade(request, socket, head, (ws) => {
      const id = this.connections.length + 1;
      const connection = { id, ws, openedAt: Date.now(), nOpenBefore: this.live().length, isLeaving: false };
      this.connections.push(connection);
      ws.on('message', (data) => this.#received(connection, data.toString()));
      ws.on('error', () => {});
      ws.on('close', () => {
        connection.closedAt = Date.now();
        this.emit('change');
      });
      ws.send(JSON.stringify({
        type: 'hello',
        num_connections: this.live().length,
        debug_info: { host: 'mock', started: new Date().toISOString(), build_number: 1, approximate_connection_time: 18060 },
        connection_info: { app_id: APP },
      }));
      this.emit('change');
    });
  }

  #received(connection, text) {
    const ack = JSON.parse(text);
    const envelope = this.envelopes.get(ack.envelope_id);
    this.acks.push({ ...ack, connection: connection.id, at: Date.now(), isKnown: envelope !== undefined });
    if (envelope) {
      envelope.ackedAt = Date.now();
      clearTimeout(envelope.timer);
    }
    this.emit('change');
  }

  async #serve(request, response) {
    const url = new URL(request.url, this.origin);
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString();
    if (url.pathname.startsWith('/api/')) {
      this.#call(url.pathname.slice('/api/'.length), request, body, response);
    } else if (url.pathname.startsWith('/control/')) {
      const answer = await this.#control(url.pathname.slice('/control/'.length), body && JSON.parse(body));
      reply(response, answer === undefined ? 404 : 200, answer ?? {});
    } else {
      reply(response, 404, {});
    }
  }

  async #control(verb, body) {
    switch (verb) {
      case 'state':
        return this.state();
      case 'event':
        return { envelope_id: this.sendEvent(body.event, body.envelope) };
      case 'frame':
        return this.sendFrame(body) ?? {};
      case 'disconnect':
        return this.disconnect(body.reason, body.close_after_ms) ?? {};
      case 'drop':
        return this.drop() ?? {};
      case 'script':
        return this.script(body) ?? {};
      case 'deliver': {
        const { status, text } = await deliver(body.url, this.callback(body.event), body);
        return { status, text };
      }
      default:
        return undefined;
    }
  }

  #call(method, request, body, response) {
    const contentType = request.headers['content-type'] ?? '';
    const isJson = contentType.startsWith('application/json');
    const args = isJson ? JSON.parse(body || '{}') : Object.fromEntries(new URLSearchParams(body));
    const token = request.headers.authorization?.replace(/^Bearer /, '') ?? args.token;
    this.calls.push({ method, at: Date.now(), contentType, hasToken: token !== undefined });

    const script = this.scripts.find((script) => script.method === method && script.times > 0);
    if (script) {
      script.times -= 1;
      if (script.lose) {
        this.#do(method, token, args);
        request.socket.destroy();
      } else {
        reply(response, script.status ?? 200, script.body ?? {}, script.headers);
      }
    } else {
      reply(response, 200, this.#do(method, token, args));
    }
    this.emit('change');
  }

  #do(method, token, args) {
    const expected = method === 'apps.connections.open' ? APP_TOKEN : BOT_TOKEN;
    if (token === undefined) return { ok: false, error: 'not_authed' };
    if (token !== expected) {
      const isOther = token === APP_TOKEN || token === BOT_TOKEN;
      return { ok: false, error: isOther ? 'not_allowed_token_type' : 'invalid_auth' };
    }
    switch (method) {
      case 'auth.test':
        return {
          ok: true,
          url: 'https://acme.slack.com/',
          team: 'Acme',
          user: 'reception',
          team_id: TEAM,
          user_id: BOT_USER,
          bot_id: BOT,
          is_enterprise_install: false,
        };
      case 'apps.connections.open': {
        const ticket = randomUUID();
        this.tickets.add(ticket);
        return { ok: true, url: `${this.origin.replace('http', 'ws')}/link/?ticket=${ticket}&app_id=${APP}` };
      }
      case 'chat.postMessage':
        return this.#post(args);
      default:
        return { ok: false, error: 'unknown_method', req_method: method };
    }
  }

  #post({ channel, text, thread_ts, unfurl_links, unfurl_media }) {
    if (!channel || (this.knownChannels && !this.knownChannels.has(channel))) {
      return { ok: false, error: 'channel_not_found' };
    }
    if (!text) return { ok: false, error: 'no_text' };
    const ts = nextTs();
    this.posts.push({ channel, text, thread_ts, ts, unfurl_links, unfurl_media, at: Date.now() });
    const said = {
      type: 'message',
      user: BOT_USER,
      bot_id: BOT,
      app_id: APP,
      bot_profile: { id: BOT, app_id: APP, name: 'Reception', team_id: TEAM },
      team: TEAM,
      text,
      ts,
      ...(thread_ts && { thread_ts, parent_user_id: 'U07DEF456' }),
    };
    if (this.echo && this.live().length > 0) {
      // A bot that hears a place hears itself there.
      const channel_type = channel.startsWith('D') ? 'im' : 'channel';
      this.sendEvent({ ...said, channel, channel_type, event_ts: ts });
    }
    return { ok: true, channel, ts, message: said };
  }
}

function reply(response, status, body, headers = {}) {
  const isText = typeof body === 'string';
  response.writeHead(status, { 'content-type': isText ? 'text/html' : 'application/json; charset=utf-8', ...headers });
  response.end(isText ? body : JSON.stringify(body));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const at = process.argv.indexOf('--port');
  const slack = await startSlack({ port: at < 0 ? 0 : Number(process.argv[at + 1]) });
  console.log(JSON.stringify({ api_url: slack.apiUrl, control_url: `${slack.origin}/control` }));
  process.stdin.resume().on('end', () => slack.close());
}
