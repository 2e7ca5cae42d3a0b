// A new box, from the claim code to the first answered message: the six questions in a real browser.
//
//   FRONTDESK_BIN=target/debug/frontdesk node --test tests/e2e/page/
//
// Pictures of every page go to tests/e2e/artifacts/.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { Gateway } from '../webchat/harness.mjs';
import { People, claim, logIn } from './harness.mjs';

const QUESTIONS = ['business', 'hours', 'model', 'channel', 'alerts', 'updates'];

let people;
let model;
const gateways = [];

before(async () => {
  people = await People.launch('setup');
  model = await serveModel();
});

after(async () => {
  await people?.close();
  model?.close();
  for (const gateway of gateways) await gateway.stop();
});

afterEach(() => people.leave());

/** A server of models as small as one can be: it lists two, and the one that chats says what it was told of the business. */
async function serveModel() {
  const asked = [];
  const server = http.createServer((request, response) => {
    if (request.url === '/v1/models') {
      response.setHeader('content-type', 'application/json');
      return response.end(JSON.stringify({ object: 'list', data: [{ id: 'tiny-embed' }, { id: 'tiny-chat' }] }));
    }
    let body = '';
    request.on('data', (data) => (body += data));
    request.on('end', () => {
      asked.push(JSON.parse(body));
      response.setHeader('content-type', 'text/event-stream');
      const delta = (delta, finish_reason = null) => `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason }] })}\n\n`;
      response.end(`${delta({ role: 'assistant', content: 'Good day from the model.' })}${delta({}, 'stop')}data: [DONE]\n\n`);
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { asked, address: `127.0.0.1:${server.address().port}`, close: () => server.close() };
}

async function newBox() {
  const gateway = await Gateway.bare();
  gateways.push(gateway);
  return gateway;
}

const person = (options) => people.person({ timezoneId: 'Europe/Berlin', ...options });
const check = (page, name) => people.check(page, name);
const step = (page) => new URL(page.url()).pathname.split('/').at(-1);
const save = (page, name = 'Save and go on') => Promise.all([page.waitForNavigation(), page.getByRole('button', { name, exact: true }).click()]);
const config = (gateway) => readFileSync(path.join(gateway.home, 'config.toml'), 'utf8');

async function say(frame, text) {
  await frame.getByRole('textbox', { name: 'Message' }).fill(text);
  await frame.getByRole('button', { name: 'Send' }).click();
}

describe('the setup', { concurrency: false }, () => {
  test('a dental practice goes from the claim code to the first answer', async () => {
    const gateway = await newBox();
    const page = await person();
    const began = performance.now();
    await claim(gateway, page);
    const looks = [];
    const look = async (name) => {
      const at = performance.now();
      await check(page, name);
      looks.push(performance.now() - at);
    };

    await look('1-business');
    await page.getByLabel('Name of the business').fill('Dr. Lind');
    await page.getByLabel('Dental practice').check();
    await page.getByText('Address and telephone').click();
    await page.getByLabel('Telephone').fill('+49 30 1234');
    await save(page);

    assert.equal(step(page), 'hours');
    assert.equal(await page.getByLabel('Time zone').inputValue(), 'Europe/Berlin', 'the zone of the browser');
    await page.getByLabel('Monday 1: from').fill('08:00');
    await page.getByLabel('Monday 1: to').fill('12:00');
    await page.getByLabel('Monday 2: from').fill('14:00');
    await page.getByLabel('Monday 2: to').fill('18:00');
    await page.getByRole('button', { name: 'Same as Monday until Friday' }).click();
    await look('2-hours');
    await save(page);

    assert.equal(step(page), 'model');
    await look('3-model');
    await page.getByLabel('A server in your network').check();
    await page.getByLabel('Its address').fill('127.0.0.1:1');
    await save(page, 'Check and save');
    await page.getByRole('alert').filter({ hasText: 'Nothing listens there' }).waitFor();
    await look('3-model-refused');
    await page.getByLabel('Its address').fill(model.address);
    await save(page, 'Check and save');
    await page.getByText('The model answers.').waitFor();
    await look('3-model-works');
    await page.getByText('Use another model').click();
    assert.equal(await page.getByLabel('Model', { exact: true }).inputValue(), 'tiny-chat');
    assert.ok(!(await page.getByLabel('Key', { exact: true }).isVisible()), 'only what belongs to the choice is shown');
    await page.getByRole('link', { name: 'Go on' }).click();

    await page.waitForURL(/channel$/);
    await look('4-channel');
    assert.ok((await page.locator('pre').textContent()).includes(`${gateway.origin}/chat/webchat/widget.js`));
    await save(page);

    assert.equal(step(page), 'alerts');
    await look('5-alerts');
    await Promise.all([page.waitForNavigation(), page.getByRole('button', { name: 'Save and send a test' }).click()]);
    await page.getByRole('alert').filter({ hasText: 'nothing was sent' }).waitFor();
    await Promise.all([page.waitForNavigation(), page.getByRole('button', { name: 'Skip' }).click()]);
    assert.equal(step(page), 'updates');
    await look('6-updates');
    await save(page);

    assert.equal(step(page), 'try');
    const chat = page.frameLocator('iframe.chat');
    await say(chat, 'Are you open now?');
    await chat.locator('.line.agent').filter({ hasText: 'Good day from the model.' }).waitFor();
    const took = performance.now() - began - looks.reduce((sum, one) => sum + one, 0);
    console.log(`from the claim page to the first answer: ${(took / 1000).toFixed(1)} s`);
    await look('7-try');

    const system = model.asked.at(-1).messages[0].content;
    assert.match(system, /front desk of the dental practice/);
    assert.match(system, /Name: Dr\. Lind \(dental practice\)/);
    assert.match(system, /Monday to Friday 08:00–12:00 and 14:00–18:00/);
    assert.match(system, /Now it is: .*\(Europe\/Berlin\)/);
    assert.match(config(gateway), /dm_scope = "per-channel-peer"/);
    assert.match(readFileSync(path.join(gateway.home, 'agents/default/SOUL.md'), 'utf8'), /dental emergency service/);

    await Promise.all([page.waitForURL(`${gateway.origin}/admin/`), page.getByRole('button', { name: 'Finish' }).click()]);
    await page.getByRole('heading', { level: 1, name: 'Everything works' }).waitFor();
  });

  test('whoever leaves comes back to the next question, from another browser too', async () => {
    const gateway = await newBox();
    const page = await person();
    await claim(gateway, page);
    await page.getByLabel('Name of the business').fill('Pine Homes');
    await page.getByLabel('Estate agency').check();
    await save(page);
    await gateway.kill();
    await gateway.up();

    const other = await person({ locale: 'de-DE', viewport: { width: 360, height: 740 }, colorScheme: 'dark' });
    await logIn(gateway, other);
    assert.equal(step(other), 'hours');
    await check(other, 'phone-2-hours');
    await other.getByRole('link', { name: 'Zurück' }).click();
    await other.waitForURL(/business$/);
    assert.equal(await other.getByLabel('Name des Unternehmens').inputValue(), 'Pine Homes');
    assert.ok(await other.getByLabel('Immobilienbüro').isChecked());
    for (const [n, question] of QUESTIONS.entries()) {
      await other.goto(`${gateway.origin}/admin/setup/${question}`);
      await check(other, `phone-${n + 1}-${question}`);
    }
    await other.goto(`${gateway.origin}/admin/setup/try`);
    await other.frameLocator('iframe.chat').getByRole('textbox').waitFor();
    await check(other, 'phone-7-try');
    await other.goto(`${gateway.origin}/admin/setup/hours`);
    await Promise.all([other.waitForURL(`${gateway.origin}/admin/`), other.getByRole('button', { name: 'Später fertig machen' }).click()]);
    await other.goto(`${gateway.origin}/admin/`);
    assert.equal(new URL(other.url()).pathname, '/admin/', 'nobody is sent there again');
  });

  test('it is answered with the keyboard alone, and without a script', async () => {
    const gateway = await newBox();
    const page = await person({ javaScriptEnabled: false });
    await claim(gateway, page);
    const focused = () => page.locator(':focus');
    /** Goes on to what has this name, as whoever has no mouse does. A field for a time has several parts. */
    const tabTo = async (name) => {
      for (let n = 0; n < 300; n += 1) {
        if (await focused().and(page.getByRole('button', { name, exact: true }).or(page.getByRole('radio', { name }))).count()) return;
        await page.keyboard.press('Tab');
      }
      assert.fail(`the keyboard does not reach ${name}`);
    };
    assert.equal(await focused().getAttribute('name'), 'name', 'the first field is where one begins');
    await page.keyboard.type('Keys & Co.');
    await Promise.all([page.waitForURL(/hours$/), page.keyboard.press('Enter')]);
    await tabTo('Save and go on');
    await Promise.all([page.waitForURL(/model$/), page.keyboard.press('Enter')]);
    await tabTo('A server in your network');
    await page.keyboard.press('ArrowUp');
    await tabTo('Check and save');
    await Promise.all([page.waitForURL(/channel$/), page.keyboard.press('Enter')]);
    for (const next of ['alerts', 'updates', 'try']) {
      await tabTo('Skip');
      await Promise.all([page.waitForURL(new RegExp(`${next}$`)), page.keyboard.press('Enter')]);
    }
    await tabTo('Finish');
    await Promise.all([page.waitForURL(`${gateway.origin}/admin/`), page.keyboard.press('Enter')]);
    assert.match(config(gateway), /name = "Keys & Co\."/);
  });
});
