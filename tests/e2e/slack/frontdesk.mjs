// Starts the program under test with one Slack channel: $FRONTDESK_BIN --home DIR gateway run.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const START_MS = 15_000;
const STOP_MS = 10_000;

// `channel` holds the keys of the entry besides `type`. With no provider the demo worker answers.
export async function startFrontdesk(channel) {
  const program = process.env.FRONTDESK_BIN;
  assert.ok(program, 'FRONTDESK_BIN must be the path of the program under test');
  const home = await mkdtemp(join(tmpdir(), 'frontdesk-slack-'));
  const port = await freePort();
  const keys = Object.entries(channel).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
  const config = [
    '[gateway]', `port = ${port}`, '',
    '[session]', 'dm_scope = "per-channel-peer"', '',
    '[[channels]]', 'type = "slack"', ...keys, '',
  ];
  await writeFile(join(home, 'config.toml'), config.join('\n'));

  const child = spawn(program, ['--home', home, 'gateway', 'run'], { stdio: ['ignore', 'pipe', 'pipe'] });
  const log = [];
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => log.push(text));
  const exited = once(child, 'exit');
  const frontdesk = {
    hooks: `http://127.0.0.1:${port}/hooks/slack`,
    log: () => log.join(''),
    async stop() {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGTERM');
        const kill = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
        await exited;
        clearTimeout(kill);
      }
      await rm(home, { recursive: true, force: true });
    },
  };

  const deadline = Date.now() + START_MS;
  for (;;) {
    const isReady = await fetch(`http://127.0.0.1:${port}/readyz`).then(({ status }) => status === 200, () => false);
    if (isReady) return frontdesk;
    const isOver = child.exitCode !== null || Date.now() > deadline;
    if (isOver) {
      await frontdesk.stop();
      throw new Error(`the gateway did not become ready\n${frontdesk.log()}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}
