// Workers, businesses and programs as an agency meets them, in a real browser.
//
//   FRONTDESK_BIN=target/debug/frontdesk node --test tests/e2e/page/workers.test.mjs
//
// Pictures of every page go to tests/e2e/artifacts/.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { Gateway } from '../webchat/harness.mjs';
import { People, claim } from './harness.mjs';

const HOSTILE = '</textarea><script>alert(1)</script> \u202egnp.exe';

let people;
let gateway;
let state;

before(async () => {
  people = await People.launch('workers');
  gateway = await Gateway.start('title = "Riverside Dental"\n');
  const page = await person();
  await claim(gateway, page);
  state = await page.context().storageState();
});

after(async () => {
  await people?.close();
  await gateway?.stop();
});

afterEach(() => people.leave());

const person = (options) => people.person(options);
const check = (page, name) => people.check(page, name);
const owner = (options) => person({ storageState: state, ...options });

async function asked(text) {
  const page = await person();
  await page.goto(gateway.page);
  await page.getByRole('textbox', { name: 'Message' }).fill(text);
  await page.getByRole('button', { name: 'Send' }).click();
  await page.locator('.line.agent').first().waitFor();
}

describe('workers and businesses', { concurrency: false }, () => {
  test('a worker gets a persona and knowledge, and earlier texts come back', async () => {
    const page = await owner();
    await page.goto(`${gateway.origin}/admin/workers`);
    await check(page, 'list');
    await page.locator('.rows a').first().click();
    await page.getByRole('heading', { name: 'Knowledge' }).waitFor();
    await check(page, 'empty');
    await page.getByRole('link', { name: 'Edit persona' }).click();
    for (const text of ['You are Pat, at the front desk of Riverside Dental.', HOSTILE]) {
      await page.getByRole('textbox', { name: 'Text' }).fill(text);
      await page.getByRole('button', { name: 'Save' }).click();
      await page.getByRole('status').getByText('is saved').waitFor();
      await page.getByRole('link', { name: 'Edit persona' }).click();
      assert.equal(await page.getByRole('textbox', { name: 'Text' }).inputValue(), text);
    }
    await check(page, 'persona');
    await page.locator('.rows a').first().click();
    await page.getByText('This is an earlier text').waitFor();
    assert.match(await page.getByRole('textbox', { name: 'Text' }).inputValue(), /Riverside/);
    await page.getByRole('button', { name: 'Save' }).click();

    await page.getByRole('link', { name: 'Add knowledge' }).click();
    const file = path.join(gateway.home, 'upload.md');
    writeFileSync(file, '# Prices\n\nA cleaning is 90.\n');
    await page.getByLabel('Take the text from a file').setInputFiles(file);
    await page.waitForFunction(() => document.getElementById('text').value.includes('A cleaning'));
    assert.equal(await page.getByLabel('Name of the file').inputValue(), 'upload.md');
    await page.getByLabel('Name of the file').fill('prices.md');
    await check(page, 'add-knowledge');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('all of it').waitFor();
    await check(page, 'knowledge');
  });

  test('a message is explained, and rules are added, moved and removed', async () => {
    await asked('Why you?');
    const page = await owner();
    await page.goto(`${gateway.origin}/admin/conversations`);
    await page.locator('.rows a').first().click();
    await page.getByRole('link', { name: 'Why this worker?' }).first().click();
    await page.getByText('No rule matches').waitFor();
    await check(page, 'explain');

    await page.goto(`${gateway.origin}/admin/workers`);
    await page.getByText('Add a worker').click();
    await page.locator('#worker-name').fill('night');
    await page.getByRole('button', { name: 'Add worker' }).click();
    await page.getByRole('status').getByText('The worker is there').waitFor();
    for (const [pattern, place] of [['webchat:*', 'last'], ['webchat:vip*', 'last'], ['nobody:*', 'first']]) {
      await page.getByText('Add a rule').click();
      await page.locator('#pattern').fill(pattern);
      await page.locator('#rule-agent').selectOption('night');
      await page.locator('#rule-place').selectOption(place);
      await page.getByRole('button', { name: 'Add rule' }).click();
      await page.getByRole('status').getByText('saved').waitFor();
    }
    const patterns = () => page.locator('tbody code').allInnerTexts();
    assert.deepEqual(await patterns(), ['nobody:*', 'webchat:*', 'webchat:vip*']);
    assert.equal(await page.getByText('never matches').count(), 2);
    await check(page, 'rules');
    await page.getByRole('button', { name: 'Move up: 3' }).click();
    assert.deepEqual(await patterns(), ['nobody:*', 'webchat:vip*', 'webchat:*']);
    await page.getByRole('button', { name: 'Remove: 1' }).click();
    assert.deepEqual(await patterns(), ['webchat:vip*', 'webchat:*']);
    await page.getByLabel('Address of a message').fill('webchat:vip1');
    await page.getByRole('button', { name: 'Explain' }).click();
    await page.getByText('Rule 1 is the first that matches').waitFor();
    await page.getByText('These rules match too').waitFor();
    await check(page, 'explained');
  });

  test('a business is added with one form, and erased by typing its id', async () => {
    const page = await owner();
    await page.goto(`${gateway.origin}/admin/tenants`);
    await check(page, 'businesses');
    await page.getByText('Add a business').click();
    await page.locator('#new-name').fill('Pine Street Estates');
    await page.locator('#new-id').fill('pine');
    await page.locator('#new-agent').fill('pine-desk');
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    await page.getByRole('status').getByText('It is there').waitFor();
    await check(page, 'business');
    await page.getByRole('link', { name: 'webchat-pine' }).click();
    await page.getByRole('textbox', { name: 'Message' }).fill('hello');
    await page.getByRole('button', { name: 'Send' }).click();
    await page.locator('.line.agent').first().waitFor();
    await page.goto(`${gateway.origin}/admin/tenant/erase?id=pine`);
    await check(page, 'erase');
    await page.getByRole('textbox').fill('pin');
    await page.getByRole('button', { name: 'Erase for good' }).click();
    await page.getByText('Nothing was erased').waitFor();
    await page.getByRole('textbox').fill('pine');
    await page.getByRole('button', { name: 'Erase for good' }).click();
    await page.getByRole('status').getByText('is gone').waitFor();
    assert.equal(await page.getByText('Pine Street').count(), 0);
  });

  test('a program gets a key, which is shown once', async () => {
    const page = await owner();
    await page.goto(`${gateway.origin}/admin/people`);
    await check(page, 'people');
    await page.getByText('Make a key').click();
    await page.locator('#key-name').fill('crm');
    await page.getByRole('button', { name: 'Make key' }).click();
    const key = await page.locator('.secret').innerText();
    assert.match(key, /^fdk_[0-9a-f]{64}$/);
    await check(page, 'key');
    await page.getByRole('link', { name: 'I have kept it' }).click();
    assert.ok(!(await page.content()).includes(key));
    await page.getByRole('button', { name: 'End: crm' }).click();
    await page.getByRole('status').waitFor();
  });

  test('it fits a phone, in German and in the dark', async () => {
    const page = await owner({ locale: 'de-DE', colorScheme: 'dark', viewport: { width: 360, height: 740 }, isMobile: true });
    for (const [name, address] of [
      ['workers', '/admin/workers'],
      ['worker', '/admin/worker?name=default'],
      ['file', '/admin/worker/file?name=default&file=SOUL.md'],
      ['businesses', '/admin/tenants'],
      ['explain', '/admin/explain?address=webchat:vip1'],
      ['people', '/admin/people'],
    ]) {
      await page.goto(`${gateway.origin}${address}`);
      await check(page, `phone-${name}`);
    }
  });
});
