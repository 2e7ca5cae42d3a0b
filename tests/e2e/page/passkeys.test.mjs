// Passkeys in a real browser with a virtual authenticator.
//
//   FRONTDESK_BIN=target/debug/frontdesk node --test tests/e2e/page/passkeys.test.mjs
//
// Pictures of every page go to tests/e2e/artifacts/.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Gateway, launch } from '../webchat/harness.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const ARTIFACTS = path.resolve(import.meta.dirname, '..', 'artifacts');
const OWNER = { name: 'Ada', password: 'violet kettle harbour 17' };

let browser;
let gateway;
/** Where passkeys work, and where they do not. */
let here;
let numbers;
/** The owner's computer, with an authenticator in it. */
let page;
let authenticator;
/** Another of hers, where the page is open at an address in numbers. */
let other;

before(async () => {
  browser = await launch();
  gateway = await Gateway.start('title = "Riverside Dental"\n');
  [here, numbers] = [`http://localhost:${gateway.port}`, gateway.origin];
  page = await person();
  authenticator = await withAuthenticator(page);
  await page.goto(`${here}/admin/claim`);
  await page.fill('input[name=code]', readFileSync(path.join(gateway.home, 'claim.code'), 'utf8').trim());
  await page.fill('input[name=name]', OWNER.name);
  await page.fill('input[name=password]', OWNER.password);
  await page.press('input[name=password]', 'Enter');
  await page.waitForURL(`${here}/admin/`);
  other = await person({ viewport: { width: 360, height: 740 }, colorScheme: 'dark', locale: 'de-DE' });
  await other.goto(`${numbers}/admin/login`);
  await password(other);
  await other.waitForURL(`${numbers}/admin/`);
});

after(async () => {
  await browser?.close();
  await gateway?.stop();
});

/** On the machine itself. */
const command = (...words) => execFileSync(process.env.FRONTDESK_BIN, ['--home', gateway.home, ...words], { encoding: 'utf8' });

async function person(options = {}) {
  const context = await browser.newContext({ locale: 'en-US', viewport: { width: 1100, height: 800 }, ...options });
  context.setDefaultTimeout(20_000);
  const page = await context.newPage();
  page.complaints = [];
  page.on('pageerror', (error) => page.complaints.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error' && !/Failed to load resource|ERR_/.test(message.text())) page.complaints.push(message.text());
  });
  return page;
}

async function withAuthenticator(page) {
  const session = await page.context().newCDPSession(page);
  await session.send('WebAuthn.enable');
  const options = {
    protocol: 'ctap2',
    transport: 'internal',
    hasResidentKey: true,
    hasUserVerification: true,
    isUserVerified: true,
    automaticPresenceSimulation: true,
  };
  const { authenticatorId } = await session.send('WebAuthn.addVirtualAuthenticator', { options });
  return { send: (method, params = {}) => session.send(`WebAuthn.${method}`, { authenticatorId, ...params }) };
}

async function password(page) {
  await page.fill('#name', OWNER.name);
  await page.fill('#password', OWNER.password);
  await page.press('#password', 'Enter');
}

async function logOut() {
  await page.goto(`${here}/admin/`);
  await page.getByRole('button', { name: 'Log out' }).click();
  await page.waitForURL(`${here}/admin/login`);
}

/** What a screen reader's user would stumble over. */
async function check(page, name) {
  mkdirSync(ARTIFACTS, { recursive: true });
  await page.screenshot({ path: path.join(ARTIFACTS, `passkeys-${name}.png`), fullPage: true });
  const found = await page.evaluate(`(() => { ${AXE}; return axe.run(document, { resultTypes: ['violations'] }); })()`);
  const violations = found.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
  assert.deepEqual(violations, [], name);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wide <= 0, `${name} is ${wide} px wider than the screen`);
  assert.deepEqual(page.complaints, [], name);
}

describe('passkeys', { concurrency: false }, () => {
  test('one is added with the password', async () => {
    await page.goto(`${here}/admin/people`);
    await page.locator('summary', { hasText: 'Add a passkey' }).click();
    await page.getByLabel('What it is called').fill('Laptop');
    await check(page, 'add');
    await page.locator('#passkey-password').fill('a wrong password');
    await page.locator('#passkey-password').press('Enter');
    await page.getByRole('alert').getByText('The name or the password is wrong').waitFor();
    assert.equal((await authenticator.send('getCredentials')).credentials.length, 0);
    await new Promise((resolve) => setTimeout(resolve, 1100));
    await page.locator('#passkey-password').fill(OWNER.password);
    await page.locator('#passkey-password').press('Enter');
    await page.getByRole('status').getByText('The passkey is added').waitFor();
    const [made] = (await authenticator.send('getCredentials')).credentials;
    assert.ok(made.isResidentCredential && made.rpId === 'localhost');
    await page.getByText('Laptop').waitFor();
    await check(page, 'added');
  });

  test('the same device is not added twice', async () => {
    await page.locator('summary', { hasText: 'Add a passkey' }).click();
    await page.getByLabel('What it is called').fill('Laptop again');
    await page.locator('#passkey-password').fill(OWNER.password);
    await page.locator('#passkey-password').press('Enter');
    await page.getByRole('alert').getByText('has a passkey of yours already').waitFor();
  });

  test('it logs in without a password, by keyboard', async () => {
    await logOut();
    await check(page, 'door');
    await page.getByRole('button', { name: 'Log in with a passkey' }).focus();
    await page.keyboard.press('Enter');
    await page.waitForURL(`${here}/admin/`);
  });

  test('whom the device did not see is not let in', async () => {
    await logOut();
    await authenticator.send('setUserVerified', { isUserVerified: false });
    await page.getByRole('button', { name: 'Log in with a passkey' }).click();
    await page.getByRole('alert').getByText('No passkey was used').waitFor();
    await check(page, 'not-used');
    await authenticator.send('setUserVerified', { isUserVerified: true });
    await page.getByRole('button', { name: 'Log in with a passkey' }).click();
    await page.waitForURL(`${here}/admin/`);
  });

  test('it is asked for after the password', async () => {
    await page.goto(`${here}/admin/people`);
    await page.locator('summary', { hasText: 'Ask for a passkey as well' }).click();
    await page.locator('#ask-password').fill(OWNER.password);
    await page.getByRole('button', { name: 'Ask for a passkey as well' }).click();
    await page.getByRole('status').getByText('Your password alone is not enough').waitFor();
    await logOut();
    await page.goto(`${here}/admin/login?next=${encodeURIComponent('/admin/activity')}`);
    await password(page);
    await page.getByRole('heading', { name: 'Now your passkey' }).waitFor();
    await check(page, 'second');
    await page.goto(`${here}/admin/people`);
    assert.match(page.url(), /\/admin\/login/);
    await page.goto(`${here}/admin/login/passkey?next=${encodeURIComponent('/admin/activity')}`);
    await page.getByRole('button', { name: 'Use passkey' }).click();
    await page.waitForURL(`${here}/admin/activity`);
  });

  test('where it cannot work, the page says where it does', async () => {
    const phone = await person({ viewport: { width: 360, height: 740 }, colorScheme: 'dark', locale: 'de-DE' });
    await phone.goto(`${numbers}/admin/login`);
    assert.equal(await phone.getByRole('button').count(), 1);
    await check(phone, 'numbers-door-360-de');
    await password(phone);
    await phone.getByRole('heading', { name: 'Jetzt Ihr Passkey' }).waitFor();
    assert.equal(await phone.locator('main li').textContent(), 'localhost');
    await check(phone, 'numbers-second-360-de');
    await phone.context().close();
  });

  test('one that is removed opens nothing', async () => {
    // Asking for it ended what had begun with the password alone.
    await other.goto(`${numbers}/admin/people`);
    await other.waitForURL(/login/);
    await page.goto(`${here}/admin/people`);
    await page.locator('#passkeys summary', { hasText: 'Remove' }).click();
    await page.setViewportSize({ width: 360, height: 740 });
    await check(page, 'remove-360');
    await page.setViewportSize({ width: 1100, height: 800 });
    await logOut();
    const { passkeys } = JSON.parse(command('--json', 'users', 'passkeys', 'list', OWNER.name));
    command('users', 'passkeys', 'remove', OWNER.name, passkeys[0].id);
    await page.getByRole('button', { name: 'Log in with a passkey' }).click();
    await page.getByRole('alert').getByText('This passkey is not accepted here').waitFor();
    await check(page, 'refused');
    await page.waitForTimeout(2100);
    await password(page);
    await page.waitForURL(`${here}/admin/`);
  });
});
