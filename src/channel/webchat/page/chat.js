// The page: the box, the outbox and the line to the gateway, put together.

import { Conversation } from './conversation.js';
import { Outbox } from './outbox.js';
import { Transport } from './transport.js';

// As many lines as the gateway sends at once.
const HISTORY_LINES = 200;
const DELAYED_MS = 20_000;
const MAX_RETRY_MS = 30_000;

const settings = JSON.parse(document.getElementById('settings').textContent);
const { base, words, maxTextBytes } = settings;
const composer = document.getElementById('composer');
const box = document.getElementById('message');
const counter = document.getElementById('counter');
const notice = document.getElementById('notice');
const status = document.getElementById('status');
const isFramed = window.parent !== window;

const conversation = new Conversation(settings, document.documentElement.lang);
const outbox = new Outbox(base);
const transport = new Transport(base, {
  after: () => conversation.after,
  event: onEvent,
  state: onState,
  stranger: onStranger,
});

let isSending = false;
let retryTimer = 0;
let n_refusals = 0;

for (const message of outbox.all()) showWaiting(message);
transport.connect();
onInput();
if (!isFramed && matchMedia('(hover: hover)').matches) box.focus();

composer.addEventListener('submit', (event) => {
  event.preventDefault();
  submit();
});
box.addEventListener('input', onInput);
box.addEventListener('keydown', (event) => {
  // While an input method composes a word, Enter belongs to it.
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  submit();
});

function submit() {
  const text = box.value;
  if (!text.trim()) return;
  if (bytesOf(text) > maxTextBytes) {
    say(words.tooLong);
    return;
  }
  hush();
  const message = outbox.add(text);
  showWaiting(message);
  conversation.scrollToEnd();
  box.value = '';
  onInput();
  box.focus();
  pump();
}

/** Sends what waits, in order, one at a time: a message that is not confirmed is never overtaken. */
async function pump() {
  if (isSending) return;
  isSending = true;
  clearTimeout(retryTimer);
  try {
    for (let message = outbox.next(); message && transport.isReady; message = outbox.next()) {
      const answer = await transport.send(message);
      if (answer.type === 'accepted') onAccepted(answer);
      else if (!onRefused(message, answer)) return;
    }
  } catch {
    // The line broke. Whether the message arrived is in the history; if not, it is sent again.
    later(1000);
  } finally {
    isSending = false;
  }
}

/** True: go on with the next message. */
function onRefused(message, { reason, retry_after_ms: wait }) {
  if (reason === 'too_fast' || reason === 'unavailable') {
    if (reason === 'too_fast') say(words.tooFast);
    n_refusals += 1;
    later(Math.min(MAX_RETRY_MS, Math.max(wait ?? 0, 500 * 2 ** n_refusals)));
    return false;
  }
  outbox.setRefused(message.id, true);
  showWaiting({ ...message, refused: true }, reason === 'too_long' ? words.tooLong : words.refused);
  return true;
}

function later(ms) {
  clearTimeout(retryTimer);
  retryTimer = setTimeout(pump, ms);
}

function onEvent(event) {
  switch (event.type) {
    case 'history':
      for (const { id } of event.lines) if (id !== null) outbox.remove(id);
      conversation.merge(event, HISTORY_LINES);
      sessionStorageRemove(`${base} stranger`);
      break;
    case 'accepted':
      onAccepted(event);
      break;
    case 'message':
      if (conversation.receive(event)) tellFrame('unread');
      break;
    case 'typing':
      conversation.typing();
      break;
    case 'delta':
      conversation.extend(event.text);
      break;
    case 'reset':
      conversation.stopActivity();
      break;
    default:
      // `beat`, answers to our own messages, and what a newer gateway may say.
      break;
  }
}

function onAccepted(message) {
  n_refusals = 0;
  if (notice.dataset.text === words.tooFast) hush();
  outbox.remove(message.id);
  conversation.showOwn(message, 'sent');
}

function onState(state) {
  status.dataset.state = state;
  status.textContent = words[state];
  if (state === 'online') pump();
  else conversation.stopActivity();
}

/** The gateway does not know us. Loading the page once brings a new cookie, if the browser takes any. */
function onStranger() {
  const mark = `${base} stranger`;
  try {
    if (!sessionStorage.getItem(mark)) {
      sessionStorage.setItem(mark, '1');
      location.reload();
      return;
    }
  } catch {
    // No storage: then there are no cookies either.
  }
  const link = document.createElement('a');
  link.href = location.pathname;
  link.target = '_blank';
  link.rel = 'noopener';
  link.textContent = words.ownWindow;
  say(words.cookies, isFramed ? link : '');
}

function showWaiting(message, reason) {
  if (!message.refused) {
    conversation.showOwn(message, 'sending');
    setTimeout(() => outbox.has(message.id) && outbox.next() && stillWaits(message), DELAYED_MS);
    return;
  }
  conversation.showOwn(message, 'failed', {
    reason,
    onRetry: () => {
      outbox.setRefused(message.id, false);
      showWaiting({ ...message, refused: false });
      box.focus();
      pump();
    },
    onDiscard: () => {
      outbox.remove(message.id);
      conversation.removeOwn(message.id);
      box.focus();
    },
  });
}

function stillWaits(message) {
  const current = outbox.all().find(({ id }) => id === message.id);
  if (current && !current.refused) conversation.showOwn(current, 'delayed');
}

function onInput() {
  // `field-sizing` does this where browsers know it.
  if (!CSS.supports('field-sizing', 'content')) {
    box.style.height = 'auto';
    box.style.height = `${box.scrollHeight}px`;
  }
  const left = maxTextBytes - bytesOf(box.value);
  composer.classList.toggle('too-long', left < 0);
  composer.classList.toggle('empty', !box.value.trim());
  const count = Math.abs(left).toLocaleString(document.documentElement.lang);
  const isNear = left < maxTextBytes / 8;
  counter.textContent = isNear ? `${count} ${left < 0 ? words.over : words.left}` : '';
  if (notice.dataset.text === words.tooLong && left >= 0) hush();
}

function bytesOf(text) {
  // Most texts need no counting: a UTF-16 unit is at most three bytes.
  return text.length * 3 <= maxTextBytes / 2 ? text.length : new TextEncoder().encode(text).length;
}

function say(text, ...more) {
  notice.dataset.text = text;
  notice.replaceChildren(text, ' ', ...more);
  notice.hidden = false;
}

function hush() {
  notice.hidden = true;
  notice.dataset.text = '';
}

function sessionStorageRemove(key) {
  try {
    sessionStorage.removeItem(key);
  } catch {
    // There is none.
  }
}

// In a frame: the site around us shows and hides it. It is told that something happened, not what.
const closeButton = document.getElementById('close');
closeButton.hidden = !isFramed;
closeButton.addEventListener('click', () => tellFrame('close'));
document.addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && !event.isComposing) tellFrame('close');
});
addEventListener('message', (event) => {
  if (isFramed && event.source === window.parent && event.data?.frontdesk === 'opened') box.focus();
});
tellFrame('ready');

function tellFrame(what) {
  if (isFramed) window.parent.postMessage({ frontdesk: what }, '*');
}
