// The web chat as visitors meet it: a real browser against a real gateway with the demo worker.
//
//   FRONTDESK_BIN=target/debug/frontdesk node --test tests/e2e/webchat/
//
// Pictures of every state go to tests/e2e/artifacts/.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, afterEach, before, describe, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { badProxy, Gateway, launch, screenshotPath, site, until } from './harness.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const TIMEOUT = 20_000;

let browser;
let gateway;
const contexts = [];
const proxies = [];

before(async () => {
  browser = await launch();
  gateway = await Gateway.start('title = "Riverside Dental"\ngreeting = "Hello! How can we help you today?"\n');
});

after(async () => {
  await browser?.close();
  await gateway?.stop();
});

afterEach(async () => {
  for (const context of contexts.splice(0)) await context.close();
  for (const proxy of proxies.splice(0)) proxy.close();
});

/** A new person with a browser of their own. Anything the page complains about fails the case. */
async function visitor(options = {}) {
  const context = await browser.newContext({ locale: 'en-US', viewport: { width: 1100, height: 760 }, ...options });
  context.setDefaultTimeout(TIMEOUT);
  contexts.push(context);
  return context;
}

async function open(context, url = gateway.page) {
  const page = await context.newPage();
  page.complaints = [];
  page.on('pageerror', (error) => page.complaints.push(String(error)));
  page.on('console', (message) => {
    // A lost connection is reported by the browser itself; everything else is ours.
    if (message.type() === 'error' && !/WebSocket|ERR_|Failed to load resource/.test(message.text())) {
      page.complaints.push(message.text());
    }
  });
  page.on('dialog', (dialog) => {
    page.complaints.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  await page.goto(url);
  return page;
}

const box = (page) => page.getByRole('textbox', { name: 'Message' });
const send = (page) => page.getByRole('button', { name: 'Send', exact: true });
const log = (page) => page.getByRole('log');
const own = (page) => log(page).locator('[data-from=you]');
const answers = (page) => log(page).locator('[data-from=agent]:not(.draft)');
const online = (page) => page.getByText('Online', { exact: true }).waitFor();

async function say(page, text) {
  await box(page).fill(text);
  await box(page).press('Enter');
}

const sent = (page, n) => until(async () => (await own(page).and(page.locator('[data-state=sent]')).count()) === n, `${n} are sent`);
const answered = (page, n) => until(async () => (await answers(page).count()) === n, `there are ${n} answers`);
/** What is on the screen, top to bottom. */
const lines = (page) =>
  log(page).locator('.line:not(.draft)').evaluateAll((all) => all.map((l) => [l.dataset.from, l.querySelector('.bubble').innerText]));
/** As [`lines`], without regard to when an answer came between. */
const spoken = async (page) => (await lines(page)).filter(([from]) => from === 'you').map(([, text]) => text);

const quiet = (page) => assert.deepEqual(page.complaints, []);
const picture = (page, name) => page.screenshot({ path: screenshotPath(name) });

describe('a conversation', () => {
  test('the first message is answered, word by word', async () => {
    const page = await (await visitor()).newPage();
    const events = [];
    page.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => events.push(JSON.parse(payload).type)));
    const hosts = new Set();
    page.on('request', (request) => hosts.add(new URL(request.url()).host));
    await page.goto(gateway.page);
    await online(page);
    await page.getByText('How can we help you today?').waitFor();
    await picture(page, 'empty-light');
    await box(page).fill('Do you have a free appointment on Friday?');
    await send(page).click();
    await answered(page, 1);
    assert.equal(await own(page).count(), 1);
    assert.ok(events.includes('delta'), `streamed: ${events}`);
    assert.ok(events.indexOf('accepted') < events.indexOf('message'));
    assert.equal(await log(page).locator('.draft').count(), 0);
    assert.deepEqual([...hosts], [new URL(gateway.origin).host], 'nothing is loaded from elsewhere');
    assert.equal(await box(page).inputValue(), '');
  });

  test('a reload shows it once', async () => {
    const page = await open(await visitor());
    await say(page, 'first');
    await answered(page, 1);
    await say(page, 'second');
    await answered(page, 2);
    const before = await lines(page);
    await page.reload();
    await answered(page, 2);
    assert.deepEqual(await lines(page), before);
    quiet(page);
  });

  test('two tabs show the same', async () => {
    const context = await visitor();
    const [one, two] = [await open(context), await open(context)];
    await online(two);
    await say(one, 'from the first tab');
    await answered(two, 1);
    await say(two, 'from the second tab');
    await answered(one, 2);
    await sent(one, 2);
    await sent(two, 2);
    assert.deepEqual(await lines(one), await lines(two));
    quiet(one);
  });

  test('two visitors do not see each other', async () => {
    const [ada, bob] = [await open(await visitor()), await open(await visitor())];
    await online(bob);
    await say(ada, 'ada speaks of walnuts');
    await answered(ada, 1);
    await say(bob, 'bob speaks of plums');
    await answered(bob, 1);
    for (const page of [ada, bob]) await page.reload();
    await answered(ada, 1);
    await answered(bob, 1);
    assert.doesNotMatch(await log(bob).innerText(), /walnut/);
    assert.doesNotMatch(await log(ada).innerText(), /plum/);
  });

  test('many messages at once all arrive, once, in order', async () => {
    const page = await open(await visitor());
    await online(page);
    const texts = Array.from({ length: 12 }, (_, n) => `message ${n}`);
    for (const text of texts) await say(page, text);
    await page.getByText('That was quick.').waitFor();
    await picture(page, 'too-fast');
    await sent(page, 12);
    await page.reload();
    await sent(page, 12);
    assert.deepEqual(await spoken(page), texts);
  });
});

describe('each line once', () => {
  /** A gateway of which every word is written here: one script of events per connection. */
  async function scripted(...scripts) {
    const page = await (await visitor()).newPage();
    const hellos = [];
    await page.routeWebSocket(/socket$/, (socket) => {
      socket.onMessage((frame) => {
        const { type, after } = JSON.parse(frame);
        if (type !== 'hello') return;
        hellos.push(after);
        for (const event of scripts.shift() ?? []) {
          if (event === 'close') socket.close();
          else socket.send(JSON.stringify(event));
        }
      });
    });
    await page.goto(gateway.page);
    return { page, hellos };
  }

  /** Ends with its last line, unless others who share the conversation said more. */
  const history = (lines, more = {}) => {
    const last = Math.max(0, ...lines.map(({ seq }) => seq ?? 0));
    return { type: 'history', lines, last, fresh: false, draft: null, ...more };
  };
  const you = (seq, text) => ({ seq, from: 'you', id: `m${text}`, at: 1_700_000_000_000, text });
  const agent = (seq, text) => ({ seq, from: 'agent', id: null, at: 1_700_000_000_000, text });
  const message = (seq, text, delivery, answers = []) => ({ type: 'message', seq, text, delivery, answers });
  const shows = (page, texts) =>
    until(async () => isDeepStrictEqual((await lines(page)).map(([, text]) => text), texts), `this is shown: ${texts}`);

  test('answers that come twice, notices, and lines that are in the history too', async () => {
    const { page, hellos } = await scripted(
      [
        history([you(1, 'hi'), agent(2, 'hello')]),
        message(2, 'hello', 'd1'),
        { type: 'accepted', id: 'mmore', text: 'more', at: 1_700_000_060_000 },
        message(4, 'more of it', 'd2'),
        message(4, 'more of it', 'd2'),
        message(4, 'a notice', 'd3'),
        message(4, 'a notice', 'd4'),
        'close',
      ],
      [history([you(3, 'more'), agent(4, 'more of it'), you(null, 'waits')])],
    );
    await shows(page, ['hi', 'hello', 'more', 'more of it', 'a notice', 'a notice', 'waits']);
    assert.deepEqual(hellos, [null, 2]);
    assert.equal(await log(page).locator('.draft').count(), 1, 'what waits is being worked on');
  });

  test('an answer that comes before its question is confirmed is shown below it', async () => {
    // Two connections of the gateway: which of two words goes out first is nobody's to say.
    const { page } = await scripted([
      history([you(1, 'hi'), agent(2, 'hello')]),
      message(4, 'one answer to both', 'd1', ['mfirst', 'msecond']),
      { type: 'accepted', id: 'mfirst', text: 'first', at: 1_700_000_060_000 },
      { type: 'accepted', id: 'msecond', text: 'second', at: 1_700_000_061_000 },
      { type: 'accepted', id: 'mthird', text: 'third', at: 1_700_000_062_000 },
    ]);
    await shows(page, ['hi', 'hello', 'first', 'second', 'one answer to both', 'third']);
    await page.routeWebSocket(/socket$/, (socket) => {
      socket.onMessage((frame) => {
        const { type, id, text } = JSON.parse(frame);
        if (type === 'hello') return socket.send(JSON.stringify(history([])));
        socket.send(JSON.stringify(message(2, `to ${text}`, 'd2', [id])));
        setTimeout(() => socket.send(JSON.stringify({ type: 'accepted', id, text, at: Date.now() })), 200);
      });
    });
    await page.reload();
    await online(page);
    await say(page, 'asked here');
    await shows(page, ['asked here', 'to asked here']);
    await sent(page, 1);
    await shows(page, ['asked here', 'to asked here']);
  });

  test('what was erased goes, and what was archived in the meantime is shown', async () => {
    const { page, hellos } = await scripted(
      [history([you(1, 'old'), agent(2, 'older')]), message(2, 'hello', 'd1'), 'close'],
      [history([you(3, 'new'), agent(4, 'hello')], { fresh: true, last: 6 }), 'close'],
      [history([agent(7, 'goes on')])],
    );
    await shows(page, ['new', 'hello', 'goes on']);
    assert.deepEqual(hellos, [null, 2, 6]);
  });

  test('half an answer is shown, taken up by a new tab, and taken back', async () => {
    const { page } = await scripted([
      history([you(1, 'hi')], { draft: 'Good' }),
      { type: 'delta', text: ' morn' },
      { type: 'beat' },
      { type: 'something new' },
    ]);
    await page.getByText('Good morn').waitFor();
    assert.equal(await answers(page).count(), 0);
    const { page: other } = await scripted([history([], { draft: 'Wrong' }), { type: 'reset' }]);
    await online(other);
    assert.equal(await log(other).locator('.line').count(), 0);
  });
});

describe('bad networks', () => {
  test('a gateway that dies and comes back loses and doubles nothing', async () => {
    const context = await visitor();
    const page = await open(context);
    await say(page, 'before');
    await answered(page, 1);
    await gateway.kill();
    await page.getByText('Reconnecting').waitFor();
    await say(page, 'while it was away');
    await say(page, 'and another');
    await page.getByText('Sending…').first().waitFor();
    await picture(page, 'reconnecting');
    await gateway.up();
    await sent(page, 3);
    await until(async () => (await answers(page).count()) >= 2, 'what was sent is answered');
    // Killed right after a message was confirmed.
    await say(page, 'last words');
    await sent(page, 4);
    await gateway.kill();
    await gateway.up();
    await online(page);
    const all = ['before', 'while it was away', 'and another', 'last words'];
    await until(async () => (await lines(page)).at(-1)?.[0] === 'agent', 'the last one is answered');
    assert.deepEqual(await spoken(page), all);
    const before = await lines(page);
    await page.reload();
    await sent(page, 4);
    assert.deepEqual(await spoken(page), all);
    assert.deepEqual((await lines(page)).toSorted(), before.toSorted());
    quiet(page);
  });

  test('what was written while offline is sent afterwards', async () => {
    const context = await visitor();
    const page = await open(context);
    await online(page);
    await context.setOffline(true);
    await page.getByText('You are offline').waitFor();
    await say(page, 'written under ground');
    await page.getByText('Sending…').waitFor();
    await picture(page, 'offline');
    await context.setOffline(false);
    await answered(page, 1);
    assert.deepEqual(await spoken(page), ['written under ground']);
  });

  test('a tab that was reloaded in the middle of sending sends it once', async () => {
    const context = await visitor();
    const page = await open(context);
    await online(page);
    await context.setOffline(true);
    await say(page, 'survives the reload');
    await page.getByText('Sending…').waitFor();
    await context.setOffline(false);
    await page.reload();
    await answered(page, 1);
    await sent(page, 1);
    assert.deepEqual(await spoken(page), ['survives the reload']);
  });

  test('a message that was refused can be tried again or given up', async () => {
    const page = await (await visitor()).newPage();
    let refusals = 2;
    await page.routeWebSocket(/socket$/, (socket) => {
      const server = socket.connectToServer();
      socket.onMessage((frame) => {
        const { type, id } = JSON.parse(frame);
        if (type !== 'message' || refusals === 0) return server.send(frame);
        refusals -= 1;
        socket.send(JSON.stringify({ type: 'refused', id, reason: 'refused' }));
      });
    });
    await page.goto(gateway.page);
    await say(page, 'once more, please');
    await say(page, 'never mind');
    await until(async () => (await page.getByText('could not be accepted').count()) === 2, 'both are refused');
    await picture(page, 'refused');
    await page.reload();
    await page.getByRole('button', { name: 'Discard' }).last().click();
    await page.getByRole('button', { name: 'Try again' }).click();
    await answered(page, 1);
    assert.deepEqual(await spoken(page), ['once more, please']);
  });

  for (const [name, options, path] of [
    ['sockets are blocked: a stream takes over', {}, '/events'],
    ['streams are held back too: the page asks', { holdsStreamsBack: true }, '/history'],
  ]) {
    test(name, async () => {
      const proxy = await badProxy(gateway.port, options);
      proxies.push(proxy);
      const page = await (await visitor()).newPage();
      const asked = [];
      page.on('request', (request) => asked.push(new URL(request.url()).pathname));
      await page.goto(`${proxy.origin}/chat/webchat`);
      await online(page);
      assert.ok(asked.some((seen) => seen.endsWith(path)), `${asked}`);
      await say(page, 'through the needle');
      await answered(page, 1);
      await say(page, 'twice');
      await answered(page, 2);
      assert.ok(asked.some((seen) => seen.endsWith('/messages')));
      await page.reload();
      await answered(page, 2);
      assert.deepEqual(await spoken(page), ['through the needle', 'twice']);
    });
  }
});

describe('what is written stays text', () => {
  test('markup, scripts, right-to-left and endless words are inert', async () => {
    const page = await open(await visitor());
    const texts = [
      '<img src=x onerror="window.hit=1"><script>window.hit=1</script>',
      'javascript:window.hit=1 data:text/html,x "onmouseover="window.hit=1',
      'שלום עולם, 123 hello \u202Eevil\u202C مرحبا',
      'x'.repeat(16_000),
    ];
    for (const [n, text] of texts.entries()) {
      await say(page, text);
      await answered(page, n + 1);
    }
    assert.deepEqual(await spoken(page), texts);
    assert.equal(await page.evaluate(() => window.hit), undefined);
    assert.equal(await log(page).locator('img, script, iframe, a').count(), 0);
    const isWider = () => page.evaluate(() => [document.documentElement, document.getElementById('log')].some((e) => e.scrollWidth > e.clientWidth));
    assert.equal(await isWider(), false);
    await page.setViewportSize({ width: 360, height: 640 });
    assert.equal(await isWider(), false);
    await page.reload();
    await answered(page, 4);
    assert.equal(await page.evaluate(() => window.hit), undefined);
    quiet(page);
  });

  test('addresses become links that tell nothing and open apart', async () => {
    const page = await open(await visitor());
    await say(page, 'see https://example.com/a?b=1, or (http://example.org/x).\nnot javascript://example.com');
    await sent(page, 1);
    const links = await own(page).locator('a').evaluateAll((all) => all.map((a) => [a.href, a.rel, a.target]));
    const rel = 'noopener noreferrer nofollow';
    assert.deepEqual(links, [['https://example.com/a?b=1', rel, '_blank'], ['http://example.org/x', rel, '_blank']]);
    assert.match(await own(page).locator('.bubble').innerText(), /\n/);
  });

  test('a text of 100 kB is refused before it is lost', async () => {
    const page = await open(await visitor());
    const text = 'y'.repeat(100_000);
    await box(page).fill(text);
    await send(page).click();
    await page.getByText('This message is too long').waitFor();
    await picture(page, 'too-long');
    assert.equal((await box(page).inputValue()).length, text.length);
    assert.equal(await own(page).count(), 0);
  });
});

describe('who a visitor is', () => {
  test('only the signed cookie says it', async () => {
    const context = await visitor();
    const page = await open(context);
    await say(page, 'remember me');
    await answered(page, 1);
    const [cookie] = await context.cookies();
    assert.equal(cookie.httpOnly, true);
    assert.equal(cookie.path, '/chat/webchat');
    assert.equal(await page.evaluate(() => document.cookie), '');
    assert.doesNotMatch(await page.content(), new RegExp(cookie.value.slice(0, 32)));

    const thief = await visitor();
    const [hex, tag] = cookie.value.split('.');
    const last = tag.at(0) === 'A' ? 'B' : 'A';
    for (const value of [hex, `${hex}.`, `${hex}.${last}${tag.slice(1)}`, `anon_${hex}`]) {
      const forged = { headers: { cookie: `${cookie.name}=${value}`, origin: gateway.origin } };
      assert.equal((await thief.request.get(`${gateway.page}/history`, forged)).status(), 401, value);
      const post = await thief.request.post(`${gateway.page}/messages`, { ...forged, data: { id: 'forged', text: 'x' } });
      assert.equal(post.status(), 401, value);
    }
    await thief.addCookies([{ ...cookie, value: `${hex}.${last}${tag.slice(1)}` }]);
    const other = await open(thief, `${gateway.page}?visitor=anon_${hex}&user_id=anon_${hex}`);
    await online(other);
    assert.equal(await log(other).locator('.line').count(), 0);
  });

  test('a visitor whose cookie is gone becomes a new one and can write', async () => {
    const context = await visitor();
    const page = await open(context);
    await online(page);
    await context.clearCookies();
    await context.setOffline(true);
    await say(page, 'hello again');
    await context.setOffline(false);
    await answered(page, 1);
    assert.deepEqual(await spoken(page), ['hello again']);
  });
});

describe('for everyone', () => {
  test('the keyboard is enough', async () => {
    const page = await open(await visitor());
    await online(page);
    assert.ok(await box(page).evaluate((element) => element === document.activeElement), 'the box has the focus');
    await page.keyboard.type('two');
    await page.keyboard.press('Shift+Enter');
    await page.keyboard.type('lines');
    await page.keyboard.press('Enter');
    await answered(page, 1);
    assert.deepEqual(await spoken(page), ['two\nlines']);
    assert.ok(await box(page).evaluate((element) => element === document.activeElement), 'the focus stays');
    await page.keyboard.type('with the button');
    await page.keyboard.press('Tab');
    assert.ok(await send(page).evaluate((element) => element === document.activeElement));
    await picture(page, 'keyboard');
    await page.keyboard.press('Enter');
    await answered(page, 2);
    await page.keyboard.press('Shift+Tab');
    assert.ok(await log(page).evaluate((element) => element === document.activeElement), 'the log can be scrolled');
  });

  for (const colorScheme of ['light', 'dark']) {
    for (const width of [1100, 360]) {
      test(`no barriers: ${colorScheme}, ${width} px`, async () => {
        const viewport = { width, height: 740 };
        const context = await visitor({ colorScheme, viewport, hasTouch: width < 500, isMobile: width < 500 });
        const page = await open(context);
        await online(page);
        await check(page);
        await say(page, 'Hello, do you treat children too?');
        await answered(page, 1);
        await say(page, 'See https://example.com/form\nI filled it in.');
        await answered(page, 2);
        await page.waitForTimeout(400);
        await picture(page, `talk-${colorScheme}-${width}`);
        await box(page).fill('z'.repeat(17_000));
        await send(page).click();
        await check(page);
      });
    }
  }

  async function check(page) {
    // Injected by the test driver, past the page's policy.
    await page.evaluate(AXE);
    const { violations } = await page.evaluate(() => globalThis.axe.run(document));
    assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)]), []);
  }

  test('German visitors are addressed in German', async () => {
    const page = await open(await visitor({ locale: 'de-DE' }));
    await page.getByRole('textbox', { name: 'Nachricht' }).fill('Guten Tag');
    await page.getByRole('button', { name: 'Senden' }).click();
    await answered(page, 1);
    await page.getByText('Heute').waitFor();
    quiet(page);
  });
});

describe('the widget on another site', () => {
  const html = (origin) => `<!doctype html><html lang="en"><title>Riverside Dental</title>
    <meta name="viewport" content="width=device-width">
    <body style="font: 16px sans-serif; max-width: 40em; margin: 3em auto"><h1>Riverside Dental</h1>
    <p>Family dentistry by the river. <a href="#">Book an appointment</a></p>
    <script src="${origin}/chat/webchat/widget.js" async></script></body></html>`;
  // A site that is careful about what it runs.
  const policy = (origin) => ({
    'content-security-policy': `default-src 'none'; script-src ${origin}; frame-src ${origin}; style-src 'unsafe-inline'`,
  });

  test('opens, sends, gets an answer, closes, by keyboard', async () => {
    const host = await site(html(gateway.origin), policy(gateway.origin));
    proxies.push(host);
    const page = await open(await visitor(), host.origin);
    const launcher = page.getByRole('button', { name: 'Open chat' });
    await launcher.waitFor();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Tab');
    await picture(page, 'widget-closed');
    await page.keyboard.press('Enter');
    const frame = page.frameLocator('iframe');
    await box(frame).waitFor();
    await frame.getByText('Online', { exact: true }).waitFor();
    await until(() => box(frame).evaluate((element) => element === document.activeElement && document.hasFocus()), 'the box has the focus');
    await page.keyboard.type('Are you open on Saturday?');
    await page.keyboard.press('Enter');
    await frame.locator('[role=log] [data-from=agent]:not(.draft)').waitFor();
    await page.waitForTimeout(400);
    await picture(page, 'widget-open');
    await page.keyboard.press('Escape');
    await until(async () => (await page.getByRole('dialog').count()) === 0, 'it is closed');
    assert.ok(await launcher.evaluate((element) => element.getRootNode().activeElement === element), 'the focus is back');
    await page.keyboard.press('Enter');
    await until(() => box(frame).evaluate((element) => element === document.activeElement), 'it opens again');
    assert.equal(await frame.locator('[role=log] [data-from=you]').count(), 1);
    await page.evaluate(AXE);
    const { violations } = await page.evaluate(() => globalThis.axe.run('frontdesk-chat', { iframes: false }));
    assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)]), []);
    quiet(page);
  });

  test('fills a phone and can be closed there', async () => {
    const host = await site(html(gateway.origin));
    proxies.push(host);
    const page = await open(await visitor({ viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true }), host.origin);
    await page.getByRole('button', { name: 'Open chat' }).tap();
    const frame = page.frameLocator('iframe');
    await frame.getByText('Online', { exact: true }).waitFor();
    await page.waitForTimeout(300);
    await picture(page, 'widget-phone');
    await frame.getByRole('button', { name: 'Close chat' }).tap();
    await page.getByRole('button', { name: 'Open chat' }).waitFor();
  });

  test('sites that are not listed cannot show the page', async () => {
    const strict = await Gateway.start('embed_origins = ["https://example.com"]\n');
    proxies.push({ close: () => strict.stop() });
    const answer = await fetch(strict.page);
    assert.match(answer.headers.get('content-security-policy'), /frame-ancestors 'self' https:\/\/example\.com$/);
    const host = await site(`<!doctype html><iframe src="${strict.page}"></iframe>`);
    proxies.push(host);
    const page = await (await visitor()).newPage();
    await page.goto(host.origin);
    await page.waitForTimeout(500);
    assert.equal(await page.frameLocator('iframe').getByRole('log').count(), 0);
  });
});
