// The session keys of the program under test: $FRONTDESK_BIN route explain --config FILE --message -

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The keys of identity bundles under a `[session]` section, in their order. */
export function frontdeskKeys(session, messages) {
  const program = process.env.FRONTDESK_BIN;
  assert.ok(program, 'FRONTDESK_BIN must be the path of the program under test');
  const home = mkdtempSync(join(tmpdir(), 'frontdesk-keys-'));
  try {
    const config = join(home, 'config.toml');
    const keys = Object.entries(session).map(([key, value]) => `${key} = ${JSON.stringify(value)}`);
    writeFileSync(config, ['[session]', ...keys, ''].join('\n'));
    const { status, stdout, stderr } = spawnSync(
      program,
      ['--home', home, 'route', 'explain', '--config', config, '--message', '-'],
      { input: messages.map((message) => JSON.stringify(message)).join('\n'), encoding: 'utf8', maxBuffer: 1 << 27 },
    );
    assert.equal(status, 0, stderr);
    const answers = stdout.trim().split('\n').map((line) => JSON.parse(line));
    assert.equal(answers.length, messages.length);
    return answers.map((answer, n) => {
      assert.ok(answer.session_key, `${JSON.stringify(messages[n])}: ${answer.error}`);
      return answer.session_key;
    });
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}
