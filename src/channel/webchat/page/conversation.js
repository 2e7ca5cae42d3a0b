// What is on the screen: lines in order, each once, and what is being written.

import { marked, plain } from './richtext.js';

const NEAR_END_PX = 80;
const SAME_GROUP_MS = 5 * 60_000;
// An answer without news for this long was given up. Its whole text comes when there is one.
const ACTIVITY_MS = 90_000;

export class Conversation {
  #log = document.getElementById('log');
  #latest = document.getElementById('latest');
  #activity = document.getElementById('activity');
  #title;
  #words;
  #time;
  #day;
  #own = new Map();
  #shown = new Map();
  #deliveries = new Set();
  // Answers to what was not confirmed here yet, by the id of what they answer.
  #early = new Map();
  #after = null;
  #draft = null;
  #draftText = '';
  #draftTimer = 0;
  #draftFrame = 0;

  constructor({ title, words }, language) {
    this.#title = title;
    this.#words = words;
    this.#time = new Intl.DateTimeFormat(language, { hour: '2-digit', minute: '2-digit' });
    this.#day = new Intl.DateTimeFormat(language, { weekday: 'long', day: 'numeric', month: 'long' });
    this.#latest.addEventListener('click', () => this.scrollToEnd());
    this.#log.addEventListener('scroll', () => this.#latest.toggleAttribute('hidden', this.#isNearEnd()), { passive: true });
    // The end stays in view when the keyboard of a phone opens or a long answer grows.
    let wasNearEnd = true;
    this.#log.addEventListener('scroll', () => (wasNearEnd = this.#isNearEnd()), { passive: true });
    new ResizeObserver(() => wasNearEnd && this.scrollToEnd()).observe(this.#log);
  }

  /** Where the last history ended. Lines that came live are asked for once more. */
  get after() {
    return this.#after;
  }

  /**
   * Takes over a history. The screen starts anew, as after a reload, when what it shows was erased, and when
   * `limit` lines may hide a gap.
   */
  merge({ lines, last, fresh, draft }, limit) {
    const isStart = this.#after === null && this.#own.size === 0;
    const isWaiting = lines.at(-1)?.seq === null;
    if (fresh || (this.#after !== null && lines.length >= limit)) this.#clear();
    this.#keepingPlace(() => {
      for (const line of lines) {
        if (line.from === 'you') this.showOwn({ ...line, id: line.id ?? `line ${line.seq}` }, 'sent');
        else this.#showAgent(line, 'history');
      }
      if (draft !== null) this.#setDraft(draft);
      else if (this.#draftText || !isWaiting) this.stopActivity();
    });
    this.#after = last;
    if (isStart) this.scrollToEnd();
    if (isWaiting && !this.#draft) this.typing();
  }

  /** A line that came while we were connected. */
  receive({ seq, delivery, answers = [], text }) {
    if (this.#deliveries.has(delivery)) return false;
    this.#deliveries.add(delivery);
    this.#keepingPlace(() => {
      this.stopActivity();
      // It may overtake the word that they were taken. What is answered was taken.
      for (const id of answers) if (this.#own.has(id)) this.showOwn({ id }, 'sent');
      const line = this.#showAgent({ seq, text, at: Date.now() }, 'live');
      for (const id of answers) if (line && !this.#own.has(id)) this.#early.set(id, line);
    });
    return true;
  }

  /** A line of the visitor, or the new state of one: `sending`, `delayed`, `failed`, `sent`. */
  showOwn({ id, text, at }, state, { reason, onRetry, onDiscard } = {}) {
    let line = this.#own.get(id);
    this.#keepingPlace(() => {
      if (!line) {
        line = this.#line('you', plain(text), at);
        this.#own.set(id, line);
        this.#insert(line, state === 'sent', this.#early.get(id));
        this.#early.delete(id);
      } else if (state === 'sent' && line.dataset.state !== 'sent') {
        // Those that wait stay below those that arrived.
        this.#insert(line, true);
      }
      line.dataset.state = state;
      const note = line.querySelector('.note');
      note.replaceChildren();
      if (state === 'sending') note.append(this.#words.sending);
      if (state === 'delayed') note.append(this.#words.delayed);
      if (state === 'failed') {
        note.append(reason ?? this.#words.failed, ' ', button(this.#words.retry, onRetry), ' ', button(this.#words.discard, onDiscard));
      }
    });
  }

  removeOwn(id) {
    this.#own.get(id)?.remove();
    this.#own.delete(id);
    this.#regroup();
  }

  typing() {
    if (!this.#draft) this.#keepingPlace(() => this.#setDraft(''));
    this.#expireDraft();
  }

  extend(text) {
    this.#keepingPlace(() => this.#setDraft(this.#draftText + text));
  }

  stopActivity() {
    clearTimeout(this.#draftTimer);
    cancelAnimationFrame(this.#draftFrame);
    this.#draftFrame = 0;
    this.#draft?.remove();
    this.#draft = null;
    this.#draftText = '';
    this.#activity.textContent = '';
  }

  scrollToEnd() {
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#latest.hidden = true;
  }

  #showAgent({ seq, text, at }, source) {
    const key = `${seq}\n${text}`;
    // A line is known by number and text. Two notices may say the same after the same line, but
    // what a history brought does not come again.
    const before = this.#shown.get(key);
    if (before === 'history' || (before && source === 'history')) return null;
    this.#shown.set(key, source);
    const line = this.#line('agent', marked(text), at);
    this.#insert(line, true);
    return line;
  }

  #setDraft(text) {
    if (!this.#draft) {
      this.#draft = this.#line('agent', '', null);
      this.#draft.classList.add('draft');
      // Read aloud once, when it is whole.
      this.#draft.setAttribute('aria-hidden', 'true');
      this.#activity.textContent = `${this.#title} ${this.#words.typing}`;
    }
    this.#draftText = text;
    // Words come faster than the screen can show them.
    if (!this.#draftFrame) this.#draftFrame = requestAnimationFrame(() => this.#keepingPlace(() => this.#drawDraft()));
    if (!this.#draft.isConnected) this.#drawDraft();
    // Always below everything that was said, but above what is not yet sent.
    if (!this.#draft.isConnected || this.#draft.nextElementSibling?.dataset.state === 'sent') this.#insert(this.#draft, true);
    this.#expireDraft();
  }

  #drawDraft() {
    cancelAnimationFrame(this.#draftFrame);
    this.#draftFrame = 0;
    const content = this.#draftText ? marked(this.#draftText) : dots();
    this.#draft?.querySelector('.bubble').replaceChildren(content);
  }

  #expireDraft() {
    clearTimeout(this.#draftTimer);
    this.#draftTimer = setTimeout(() => this.stopActivity(), ACTIVITY_MS);
  }

  #line(from, content, at) {
    const line = document.createElement('div');
    line.className = `line ${from}`;
    line.dataset.from = from;
    line.dataset.at = at ?? Date.now();
    const speaker = document.createElement('span');
    speaker.className = 'unseen';
    speaker.textContent = `${from === 'you' ? this.#words.you : this.#title}: `;
    const bubble = document.createElement('div');
    bubble.className = 'bubble';
    bubble.dir = 'auto';
    bubble.append(content);
    const meta = document.createElement('div');
    meta.className = 'meta';
    if (at !== null) {
      const time = document.createElement('time');
      time.dateTime = new Date(at).toISOString();
      time.title = new Date(at).toLocaleString(document.documentElement.lang);
      time.textContent = this.#time.format(at);
      meta.append(time);
    }
    const note = document.createElement('span');
    note.className = 'note';
    meta.append(note);
    line.append(speaker, bubble, meta);
    return line;
  }

  /** At the end, or above what waits, or above `answer`, which came first. */
  #insert(line, isBeforeWaiting, answer = null) {
    document.getElementById('greeting')?.classList.add('small');
    const waiting = [...this.#own.values()].find((own) => own !== line && own.isConnected && own.dataset.state !== 'sent');
    const anchor = isBeforeWaiting ? waiting ?? null : null;
    // What is being written comes last of all that was said.
    const draft = this.#draft?.isConnected && line !== this.#draft && isBeforeWaiting ? this.#draft : null;
    const next = answer ?? draft ?? anchor;
    // A line that is moved without need is animated, and read aloud, a second time.
    if (!line.isConnected || nextLine(line) !== next) this.#log.insertBefore(line, next);
    this.#regroup();
  }

  /** Lines of one side in quick succession share a time; each day has a heading. */
  #regroup() {
    const headings = new Set(this.#log.querySelectorAll('.day'));
    let previous = null;
    for (const line of this.#log.querySelectorAll('.line')) {
      const at = Number(line.dataset.at);
      const isNewDay = !previous || dayOf(at) !== dayOf(Number(previous.dataset.at));
      if (isNewDay) headings.delete(this.#headingBefore(line, at));
      const isSameGroup =
        !isNewDay && previous.dataset.from === line.dataset.from && at - Number(previous.dataset.at) < SAME_GROUP_MS;
      line.classList.toggle('follows', isSameGroup);
      previous?.classList.toggle('followed', isSameGroup);
      previous = line;
    }
    previous?.classList.remove('followed');
    for (const heading of headings) heading.remove();
  }

  #headingBefore(line, at) {
    const before = line.previousElementSibling;
    const name = this.#dayName(at);
    if (before?.className === 'day' && before.textContent === name) return before;
    const heading = document.createElement('p');
    heading.className = 'day';
    heading.textContent = name;
    this.#log.insertBefore(heading, line);
    return heading;
  }

  #dayName(at) {
    const days = Math.round((startOfDay(Date.now()) - startOfDay(at)) / 86_400_000);
    if (days === 0) return this.#words.today;
    if (days === 1) return this.#words.yesterday;
    return this.#day.format(at);
  }

  #clear() {
    for (const [id, line] of this.#own) if (line.dataset.state === 'sent') this.#own.delete(id);
    for (const line of this.#log.querySelectorAll('.line.agent, .line[data-state=sent]')) line.remove();
    this.#shown.clear();
    this.#early.clear();
    this.#after = null;
  }

  /** Someone who reads further up is not moved; someone at the end stays there. */
  #keepingPlace(change) {
    const wasNearEnd = this.#isNearEnd();
    change();
    if (wasNearEnd) this.scrollToEnd();
    else this.#latest.hidden = false;
  }

  #isNearEnd() {
    return this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < NEAR_END_PX;
  }
}

function nextLine(line) {
  let next = line.nextElementSibling;
  while (next?.className === 'day') next = next.nextElementSibling;
  return next;
}

function button(text, onClick) {
  const made = document.createElement('button');
  made.type = 'button';
  made.className = 'link-button';
  made.textContent = text;
  made.addEventListener('click', onClick);
  return made;
}

function dots() {
  const made = document.createElement('span');
  made.className = 'dots';
  made.append(...[0, 1, 2].map(() => document.createElement('span')));
  return made;
}

function startOfDay(at) {
  return new Date(at).setHours(0, 0, 0, 0);
}

function dayOf(at) {
  return new Date(at).toDateString();
}
