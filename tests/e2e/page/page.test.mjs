// The local page as its owner meets it: from the claim code to a conversation, in a real browser.
//
//   FRONTDESK_BIN=target/debug/frontdesk node --test tests/e2e/page/
//
// Pictures of every page go to tests/e2e/artifacts/.

import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { Gateway, until } from '../webchat/harness.mjs';
import { OWNER, People, claimCode, logIn } from './harness.mjs';

const HOSTILE = '<script>alert(1)</script><img src=x onerror=alert(2)> \u202egnp.exe';

let people;
let gateway;

before(async () => {
  people = await People.launch('page');
  gateway = await Gateway.start('title = "Riverside Dental"\n');
});

after(async () => {
  await people?.close();
  await gateway?.stop();
});

afterEach(() => people.leave());

const person = (options) => people.person(options);
const check = (page, name) => people.check(page, name);

async function loggedIn(options) {
  const page = await person(options);
  await logIn(gateway, page);
  return page;
}

async function chat(text) {
  const page = await person();
  await page.goto(gateway.page);
  await page.getByRole('textbox', { name: 'Message' }).fill(text);
  await page.getByRole('button', { name: 'Send' }).click();
  await page.locator('.line.agent').first().waitFor();
  return page;
}

describe('the local page', { concurrency: false }, () => {
  test('the owner claims the box with the keyboard alone, and the web chat is answered', async () => {
    const page = await person();
    await page.goto(`${gateway.origin}/admin/`);
    assert.equal(new URL(page.url()).pathname, '/admin/claim');
    await check(page, 'claim');
    const code = claimCode(gateway);
    for (const text of ['WRONG-CODE', OWNER.name, OWNER.password]) {
      await page.keyboard.type(text);
      await page.keyboard.press('Tab');
    }
    await page.keyboard.press('Enter');
    await page.getByRole('alert').waitFor();
    await check(page, 'claim-wrong');
    // Guessing is slowed down.
    await until(async () => {
      await page.goto(`${gateway.origin}/admin/claim`);
      for (const text of [code, OWNER.name, OWNER.password]) {
        await page.keyboard.type(text);
        await page.keyboard.press('Tab');
      }
      await Promise.all([page.waitForNavigation(), page.keyboard.press('Enter')]);
      return new URL(page.url()).pathname === '/admin/';
    }, 'the box is claimed');
    await page.getByRole('heading', { level: 1, name: 'Everything works' }).waitFor();
    await check(page, 'home');

    await chat('When are you open?');
    await page.getByRole('link', { name: 'Conversations' }).click();
    await page.locator('.rows a').first().click();
    await page.getByText('When are you open?', { exact: true }).waitFor();
    await check(page, 'conversation');
  });

  test('a conversation is followed while it goes on, and nothing that was written acts', async () => {
    const visitor = await chat('first');
    const page = await loggedIn();
    await page.goto(`${gateway.origin}/admin/conversations?words=first`);
    await check(page, 'search');
    await page.locator('.rows a').first().click();
    await visitor.getByRole('textbox', { name: 'Message' }).fill(HOSTILE);
    await visitor.getByRole('button', { name: 'Send' }).click();
    await page.locator('.log').getByText(HOSTILE, { exact: true }).first().waitFor();
    assert.equal(await page.locator('.log script, .log img').count(), 0);
    await check(page, 'hostile');
    await visitor.getByRole('textbox', { name: 'Message' }).fill('w'.repeat(15_000));
    await visitor.getByRole('button', { name: 'Send' }).click();
    await page.locator('.log').getByText('wwwwwwwwww').first().waitFor();
    await check(page, 'long');
  });

  test('a conversation is archived, restored and erased', async () => {
    await chat('to be erased');
    const page = await loggedIn();
    await page.goto(`${gateway.origin}/admin/conversations?words=erased`);
    await page.locator('.rows a').first().click();
    await page.getByRole('button', { name: 'Archive' }).click();
    await page.getByText('The next message begins a new conversation.').waitFor();
    await check(page, 'archived');
    await page.getByRole('button', { name: 'Restore' }).click();
    await page.getByText('It is live again.').waitFor();
    await page.getByRole('link', { name: 'Erase…' }).click();
    await check(page, 'erase');
    await page.getByRole('button', { name: 'Erase for good' }).click();
    await page.getByText('Erased.').waitFor();
    await page.goto(`${gateway.origin}/admin/conversations?words=erased`);
    await page.getByRole('heading', { name: 'Nothing found' }).waitFor();
    await check(page, 'nothing');
  });

  test('people are added and removed, and only look where they may only look', async () => {
    const page = await loggedIn();
    await page.goto(`${gateway.origin}/admin/people`);
    await page.getByText('Add a person').click();
    await page.locator('#new-name').fill('Grace');
    await page.locator('#new-password').fill('short');
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    await page.getByText('At least ten characters, please.').waitFor();
    await page.getByText('Add a person').click();
    await page.locator('#new-name').fill('Grace');
    await page.locator('#new-password').fill('copper lantern meadow 9');
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    await page.getByText('Added.').waitFor();
    await check(page, 'people');

    const support = await person();
    await support.goto(`${gateway.origin}/admin/login`);
    await support.fill('input[name=name]', 'grace');
    await support.fill('input[name=password]', 'copper lantern meadow 9');
    await support.press('input[name=password]', 'Enter');
    await support.waitForURL(`${gateway.origin}/admin/`);
    await support.goto(`${gateway.origin}/admin/people`);
    assert.equal(await support.getByText('Add a person').count(), 0);
    await check(support, 'people-support');

    await page.getByRole('button', { name: 'Remove: Grace' }).click();
    await page.getByText('Removed.').waitFor();
    await support.goto(`${gateway.origin}/admin/`);
    assert.equal(new URL(support.url()).pathname, '/admin/login');
  });

  test('a setting is looked at, used and taken back', async () => {
    const page = await loggedIn();
    await page.getByRole('link', { name: 'Settings' }).click();
    await page.getByLabel('Days until a quiet conversation is archived').fill('14');
    await check(page, 'settings');
    await page.getByRole('button', { name: 'See what would change' }).first().click();
    await page.getByText('ttl_days = 14').waitFor();
    await check(page, 'settings-review');
    await page.getByRole('button', { name: 'Use it' }).click();
    await page.getByText('In use now.').waitFor();
    assert.equal(await page.getByLabel('Days until a quiet conversation is archived').inputValue(), '14');
    await page.locator('#revisions a').last().click();
    await page.getByRole('heading', { name: 'What has changed since' }).waitFor();
    await check(page, 'settings-revision');
    await page.getByRole('button', { name: 'Go back to this one' }).click();
    await page.getByText('In use now.').waitFor();
    assert.equal(await page.getByLabel('Days until a quiet conversation is archived').inputValue(), '30');
    await page.getByText('Change the text').click();
    await page.locator('#text').fill('[sesion]\n');
    await page.locator('#file').getByRole('button', { name: 'See what would change' }).click();
    await page.getByRole('heading', { name: 'This cannot be used yet' }).waitFor();
    await check(page, 'settings-mistake');
  });

  test('a channel is added, tested and removed', async () => {
    const page = await loggedIn();
    await page.getByRole('link', { name: 'Channels' }).click();
    await page.getByRole('heading', { name: 'Add a channel' }).waitFor();
    await check(page, 'channels');
    await page.getByRole('link', { name: 'Slack' }).click();
    await page.getByText('connections:write').waitFor();
    await check(page, 'channels-new-slack');
    await page.goto(`${gateway.origin}/admin/channels/new?type=webhook`);
    await page.getByLabel('Short name').fill('crm');
    await page.getByLabel('Where answers are posted').fill('http://127.0.0.1:9/replies');
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    await page.getByText('whsec_').waitFor();
    await check(page, 'channels-made');
    await page.getByRole('button', { name: 'Test', exact: true }).click();
    await page.getByText('reply_url: ').waitFor();
    await check(page, 'channels-entry');
    await page.getByLabel('Yes, remove it').check();
    await page.getByRole('button', { name: 'Remove this channel' }).click();
    await page.getByText('Removed.').waitFor();
  });

  test('charts say how much is asked and answered, also as tables, and the log is live and can be filtered', async () => {
    const page = await loggedIn();
    await page.getByRole('img', { name: 'Messages and answers, last 24 hours' }).waitFor();
    await page.getByRole('link', { name: 'Activity', exact: true }).click();
    await page.getByRole('img', { name: 'Messages and answers' }).waitFor();
    assert.ok((await page.locator('svg rect').count()) > 0);
    await check(page, 'activity');
    await page.getByText('As a table').first().click();
    await page.getByRole('columnheader', { name: 'Answers' }).first().waitFor();
    await check(page, 'activity-table');
    await page.getByLabel('Time').first().selectOption('year');
    await page.getByRole('button', { name: 'Show' }).click();
    await page.waitForURL(/range=year/);
    await page.getByRole('img', { name: 'How long people wait for an answer' }).waitFor();
    await page.getByRole('link', { name: 'Log', exact: true }).click();
    await page.getByRole('log').waitFor();
    await check(page, 'logs');
    await page.getByLabel('Words').fill('no line is like this one');
    await page.getByRole('button', { name: 'Show' }).click();
    await page.getByText('Nothing was noted').waitFor();
    await check(page, 'logs-empty');
  });

  test('it reads well on a phone, in the dark, and in German', async () => {
    const page = await loggedIn({ viewport: { width: 360, height: 740 }, colorScheme: 'dark', locale: 'de-DE' });
    await page.getByRole('heading', { level: 1, name: 'Alles läuft' }).waitFor();
    await check(page, 'home-phone-dark-german');
    for (const [place, name] of [['conversations', 'Gespräche'], ['activity', 'Aktivität'], ['people', 'Personen'], ['settings', 'Einstellungen'], ['channels', 'Kanäle'], ['logs', 'Protokoll']]) {
      await page.goto(`${gateway.origin}/admin/${place}`);
      await page.getByRole('heading', { level: 1, name }).waitFor();
      await check(page, `${place}-phone-dark-german`);
    }
    await page.getByRole('button', { name: 'Abmelden', exact: true }).click();
    await page.getByRole('heading', { level: 1, name: 'Anmelden' }).waitFor();
    await check(page, 'login-phone-dark-german');
  });

  test('over HTTPS a session is one of its own, and the web chat is answered', async () => {
    const page = await person({ ignoreHTTPSErrors: true });
    const secure = gateway.origin.replace('http:', 'https:');
    // In clear after HTTPS: a cookie of the same name could not be set any more.
    for (const origin of [secure, gateway.origin]) {
      await page.goto(`${origin}/admin/login`);
      await page.fill('input[name=name]', OWNER.name);
      await page.fill('input[name=password]', OWNER.password);
      await page.press('input[name=password]', 'Enter');
      await page.waitForURL(`${origin}/admin/`);
    }
    const cookies = await page.context().cookies([gateway.origin, secure]);
    const sessions = cookies.filter(({ name }) => name.endsWith('frontdesk_session')).map(({ name, secure }) => [name, secure]);
    assert.deepEqual(sessions.sort(), [['__Host-frontdesk_session', true], ['frontdesk_session', false]]);
    await page.goto(`${secure}/admin/`);
    await page.getByText('Fingerprint (SHA-256)').waitFor();
    // A change is one of our own page there, too.
    await page.getByRole('button', { name: 'Log out', exact: true }).click();
    await page.waitForURL(`${secure}/admin/login`);
    await page.goto(`${gateway.origin}/admin/`);
    assert.equal(new URL(page.url()).pathname, '/admin/', 'the session in clear goes on');

    await page.goto(gateway.page.replace('http:', 'https:'));
    await page.getByRole('textbox', { name: 'Message' }).fill('Is it safe?');
    await page.getByRole('button', { name: 'Send' }).click();
    await page.locator('.line.agent').first().waitFor();
    assert.deepEqual(page.complaints, []);
  });

  test('it works without its script', async () => {
    const page = await loggedIn({ javaScriptEnabled: false });
    await page.getByRole('link', { name: 'Conversations' }).click();
    await page.locator('.rows a').first().click();
    await page.locator('.log .bubble').first().waitFor();
  });

  test('a start page is light', async () => {
    const page = await loggedIn();
    let bytes = 0;
    page.on('response', async (response) => (bytes += (await response.body().catch(() => '')).length));
    await page.goto(`${gateway.origin}/admin/`, { waitUntil: 'networkidle' });
    // As it is sent: it is not compressed.
    assert.ok(bytes > 0 && bytes < 100_000, `${bytes} bytes`);
  });
});
