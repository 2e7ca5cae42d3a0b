// Updates as the owner meets them, in a real browser: nothing there, something there, on its way, gone wrong. The updater is a file
// here, as it is for the gateway. And a channel that is paused.
//
//   FRONTDESK_BIN=target/debug/frontdesk node --test tests/e2e/page/updates.test.mjs
//
// Pictures go to tests/e2e/artifacts/.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { Gateway } from '../webchat/harness.mjs';
import { PHONE, People, claim } from './harness.mjs';

const AVAILABLE = {
  running: '9.1.0',
  installation: 'sd-boot',
  state: { code: 'available', version: '9.2.0' },
  offer: { version: '9.2.0', bytes: 48_000_000, severity: 'security', notes: 'Closes a hole in the web chat.\nSlack answers faster. <script>alert(1)</script>' },
  checked: { at_ms: Date.now() - 3_600_000 },
  way_back: '9.0.0',
  outcomes: [
    { at_ms: Date.now() - 86_400_000, event: { code: 'installed', from: '9.0.0', to: '9.1.0' } },
    { at_ms: Date.now() - 9 * 86_400_000, event: { code: 'fell_back', from: '8.9.0', to: '9.0.0', why: { code: 'not_healthy', detail: 'gateway: no answer within 60 s' } } },
  ],
};

let people;
let gateway;
let state;

const person = (options) => people.person({ storageState: state, ...options });
const check = (page, name) => people.check(page, name);

function says(change = {}) {
  mkdirSync(path.join(gateway.home, 'updates'), { recursive: true });
  writeFileSync(path.join(gateway.home, 'updates', 'status.json'), JSON.stringify({ ...AVAILABLE, ...change }));
}

const wanted = () => JSON.parse(readFileSync(path.join(gateway.home, 'updates', 'wanted.json'), 'utf8'));

before(async () => {
  people = await People.launch('updates');
  gateway = await Gateway.start('title = "Riverside Dental"\n');
  const page = await people.person();
  await claim(gateway, page);
  state = await page.context().storageState();
});

after(async () => {
  await people?.close();
  await gateway?.stop();
});

afterEach(() => people.leave());

describe('updates', { concurrency: false }, () => {
  test('without an updater the page says so, and what to do', async () => {
    const page = await person();
    await page.goto(`${gateway.origin}/admin/updates`);
    await page.getByText('Nothing looks for updates here').waitFor();
    await check(page, 'none');
    const phone = await person(PHONE);
    await phone.goto(`${gateway.origin}/admin/updates`);
    await check(phone, 'none-phone');
  });

  test('an update is installed with the keyboard, and the page follows it', async () => {
    says();
    const page = await person();
    await page.goto(`${gateway.origin}/admin/`);
    await page.getByRole('link', { name: 'Version 9.2.0 is there.' }).click();
    await page.getByText('Closes a security hole', { exact: true }).waitFor();
    await check(page, 'available');
    const phone = await person(PHONE);
    await phone.goto(`${gateway.origin}/admin/updates`);
    await check(phone, 'available-phone');
    await page.getByRole('button', { name: 'Install 9.2.0 now' }).focus();
    await page.keyboard.press('Enter');
    await page.getByText('The updater was asked to install it').waitFor();
    const { id, want, version, by } = wanted();
    assert.deepEqual({ want, version, by }, { want: 'install', version: '9.2.0', by: 'Ada' });
    await check(page, 'asked');
    const request = { id, want, state: 'taken' };
    says({ request, state: { code: 'downloading', version: '9.2.0', have: 12_000_000, of: 48_000_000 } });
    await page.getByText('Version 9.2.0 is being downloaded: 12').waitFor();
    await check(page, 'downloading');
    const dark = await person(PHONE);
    await dark.goto(`${gateway.origin}/admin/updates`);
    await check(dark, 'downloading-phone');
    says({ request, state: { code: 'trial', version: '9.2.0', from: '9.1.0', on_copy: true } });
    await page.getByText('9.1.0 comes back by itself').waitFor();
    await check(page, 'trial');
    const why = { code: 'not_healthy', detail: 'gateway: no answer within 60 s' };
    says({ request: { id, want, state: 'refused', why }, state: { code: 'failed', version: '9.2.0', why } });
    await page.getByText('The update was not installed.').waitFor();
    await check(page, 'failed');
    await page.goto(`${gateway.origin}/admin/`);
    await page.getByText('Worth a look').click();
    await page.getByText('The last update did not work').waitFor();
    await check(page, 'home');
  });

  test('without script it can be followed too, and going back is asked twice', async () => {
    says({ state: { code: 'downloading', version: '9.2.0', have: 12_000_000, of: 48_000_000 } });
    const page = await person({ javaScriptEnabled: false });
    await page.goto(`${gateway.origin}/admin/updates`);
    says({ request: undefined });
    await page.getByRole('link', { name: 'Look again' }).click();
    await page.getByText('Go back to 9.0.0').first().click();
    await page.getByRole('checkbox', { name: 'Yes, go back' }).check();
    await page.getByRole('button', { name: 'Go back to 9.0.0' }).click();
    await page.getByText('asked to bring the previous version back').waitFor();
    assert.equal(wanted().want, 'rollback');
  });

  test('what the owner wants is kept', async () => {
    says();
    const page = await person();
    await page.goto(`${gateway.origin}/admin/updates`);
    await page.getByLabel('By themselves').check();
    await page.getByLabel('Between').fill('02:00-04:00');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Saved.').waitFor();
    assert.match(readFileSync(path.join(gateway.home, 'config.toml'), 'utf8'), /window = "02:00-04:00"/);
  });

  test('a package of the system is not updated from here', async () => {
    says({ installation: 'package' });
    const page = await person();
    await page.goto(`${gateway.origin}/admin/updates`);
    await page.getByText('installed as a package').waitFor();
    assert.equal(await page.getByRole('button', { name: /Install/ }).count(), 0);
    await check(page, 'package');
  });
});

describe('a paused channel', { concurrency: false }, () => {
  test('visitors are told, the owner sees it, and it goes on', async () => {
    const page = await person();
    await page.goto(`${gateway.origin}/admin/channels`);
    await page.locator('tbody a').first().click();
    await page.getByRole('button', { name: 'Pause this channel' }).click();
    await page.getByText('Paused. Nothing that waits is lost.').waitFor();
    await check(page, 'paused');
    const visitor = await people.person();
    await visitor.goto(gateway.page);
    await visitor.getByRole('textbox', { name: 'Message' }).fill('Hello?');
    await visitor.getByRole('button', { name: 'Send' }).click();
    const phone = await person(PHONE);
    await phone.goto(`${gateway.origin}/admin/`);
    await phone.getByText('Angehalten', { exact: true }).waitFor();
    await check(phone, 'paused-home');
    assert.equal(await visitor.locator('.line.agent').count(), 0);
    await page.getByRole('button', { name: 'Let it go on' }).click();
    await page.getByText('It goes on, and sends what waited.').waitFor();
    const other = await people.person();
    await other.goto(gateway.page);
    await other.getByRole('textbox', { name: 'Message' }).fill('Hello again?');
    await other.getByRole('button', { name: 'Send' }).click();
    await other.locator('.line.agent').first().waitFor();
  });
});
