// What the cases stand on: a gateway in a home of its own, a browser, and the bad networks in between.

import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';

const ARTIFACTS = path.resolve(import.meta.dirname, '..', 'artifacts');
const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
];

export const launch = () =>
  chromium.launch({ executablePath: process.env.CHROMIUM_BIN ?? '/usr/bin/chromium', args: FLAGS });

export function screenshotPath(name) {
  mkdirSync(ARTIFACTS, { recursive: true });
  return path.join(ARTIFACTS, `webchat-${name}.png`);
}

/** One gateway with one web chat. It may be killed and started again on the same home and port. */
export class Gateway {
  #home = mkdtempSync(path.join(tmpdir(), 'frontdesk-webchat-'));
  #process = null;

  static async start(settings = '') {
    const gateway = new Gateway();
    gateway.port = await freePort();
    const config = `[gateway]\nport = ${gateway.port}\n\n[session]\ndm_scope = "per-channel-peer"\n\n` +
      `[[channels]]\nid = "webchat"\ntype = "webchat"\n${settings}`;
    writeFileSync(path.join(gateway.#home, 'config.toml'), config);
    await gateway.up();
    return gateway;
  }

  /** One that nobody has set up: of its configuration only the port is known. */
  static async bare() {
    const gateway = new Gateway();
    gateway.port = await freePort();
    writeFileSync(path.join(gateway.#home, 'config.toml'), `[gateway]\nport = ${gateway.port}\n`);
    await gateway.up();
    return gateway;
  }

  get home() {
    return this.#home;
  }

  get origin() {
    return `http://127.0.0.1:${this.port}`;
  }

  get page() {
    return `${this.origin}/chat/webchat`;
  }

  async up() {
    const binary = process.env.FRONTDESK_BIN;
    if (!binary) throw new Error('FRONTDESK_BIN is not set');
    this.#process = spawn(binary, ['--home', this.#home, 'gateway', 'run'], { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [this.#process.stdout, this.#process.stderr]) stream.on('data', (data) => (output += data));
    const started = this.#process;
    await until(async () => {
      if (started.exitCode !== null) throw new Error(`the gateway ended: ${output}`);
      return (await fetch(`${this.origin}/readyz`).catch(() => null))?.ok;
    }, 'the gateway is ready');
  }

  /** As a power cut would. */
  async kill() {
    const ended = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.kill('SIGKILL');
    await ended;
  }

  async stop() {
    if (this.#process.exitCode === null && this.#process.signalCode === null) await this.kill();
    rmSync(this.#home, { recursive: true, force: true });
  }
}

/** A proxy that refuses upgrades and, if asked, holds streams back until they end. */
export async function badProxy(target, { holdsStreamsBack = false } = {}) {
  const server = http.createServer((request, response) => {
    const options = { host: '127.0.0.1', port: target, method: request.method, path: request.url, headers: request.headers };
    const upstream = http.request(options, (answer) => {
      if (holdsStreamsBack && answer.headers['content-type'] === 'text/event-stream') {
        answer.resume();
        return;
      }
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    upstream.on('error', () => response.destroy());
    response.on('close', () => upstream.destroy());
    request.pipe(upstream);
  });
  server.on('upgrade', (_request, socket) => socket.end('HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n'));
  return listen(server);
}

/** Another site with one page. */
export async function site(html, headers = {}) {
  return listen(
    http.createServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', ...headers });
      response.end(html);
    }),
  );
}

export async function until(isTrue, what, ms = 20_000) {
  const end = Date.now() + ms;
  while (!(await isTrue())) {
    if (Date.now() > end) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function listen(server) {
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  return {
    origin: `http://127.0.0.1:${port}`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

async function freePort() {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
