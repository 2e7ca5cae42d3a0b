// The line to the gateway: a WebSocket; where that is blocked, an event stream; where that is held
// back too, asking every few seconds. All three carry the same events, and each starts with the
// history after the last known line, so changing between them loses nothing.

const SOCKET_HELLO_MS = 4000;
const STREAM_START_MS = 5000;
const POLL_MS = 3000;
const POLL_BUSY_MS = 1000;
// The gateway beats every 25 seconds.
const SILENCE_MS = 60_000;
const ANSWER_MS = 15_000;
const BLOCKED_MS = 10 * 60_000;
const MAX_WAIT_MS = 15_000;

export class Transport {
  #base;
  #listener;
  #link = null;
  #timer = 0;
  #n_failures = 0;
  #socketBlockedUntil = 0;
  #streamBlockedUntil = 0;

  /**
   * `listener`: `after()` the last known line, `event(event)`, `state('online' | 'connecting' |
   * 'reconnecting' | 'offline')`, `stranger()` when the gateway does not know our cookie.
   */
  constructor(base, listener) {
    this.#base = base;
    this.#listener = listener;
    addEventListener('online', () => this.wake());
    addEventListener('offline', () => this.#lose());
    addEventListener('pagehide', () => this.#drop());
    addEventListener('pageshow', (event) => event.persisted && this.wake());
    document.addEventListener('visibilitychange', () => !document.hidden && this.wake());
  }

  get isReady() {
    return this.#link?.isReady ?? false;
  }

  /** Connects now, unless there is a connection. */
  wake() {
    if (this.#link) return;
    clearTimeout(this.#timer);
    this.#n_failures = 0;
    this.connect();
  }

  connect() {
    this.#drop();
    const now = Date.now();
    if (now >= this.#socketBlockedUntil) this.#openSocket();
    else if (now >= this.#streamBlockedUntil) this.#openStream();
    else this.#openPoll();
  }

  /** The gateway's answer to `{id, text}`; rejects when the line broke and nobody knows. */
  send(message) {
    if (!this.isReady) return Promise.reject(new Error('not connected'));
    return this.#link.send(message);
  }

  #openSocket() {
    const url = new URL(`${this.#base}/socket`, location.href);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const waiting = new Map();
    let watchdog = 0;
    let socket;
    try {
      socket = new WebSocket(url);
    } catch {
      socket = null;
    }
    const link = this.#take(() => {
      clearTimeout(watchdog);
      socket?.close();
      for (const { reject } of waiting.values()) reject(new Error('connection lost'));
    });
    const watch = (ms, then) => {
      clearTimeout(watchdog);
      watchdog = setTimeout(then, ms);
    };
    const fail = () => (link.isReady ? this.#lose(link) : this.#doubt(link, 'socket'));
    if (!socket) return void fail();
    watch(SOCKET_HELLO_MS, fail);
    socket.onclose = fail;
    socket.onopen = () => socket.send(JSON.stringify({ type: 'hello', after: this.#listener.after() }));
    socket.onmessage = ({ data }) => {
      watch(SILENCE_MS, fail);
      const event = JSON.parse(data);
      if (event.type === 'history') this.#prove(link);
      this.#listener.event(event);
      if (event.type === 'accepted' || event.type === 'refused') {
        waiting.get(event.id)?.resolve(event);
        waiting.delete(event.id);
      }
    };
    link.send = ({ id, text }) =>
      new Promise((resolve, reject) => {
        waiting.set(id, { resolve, reject });
        socket.send(JSON.stringify({ type: 'message', id, text }));
        // No answer is as good as no line: another one starts with the history.
        setTimeout(() => waiting.has(id) && this.#lose(link), ANSWER_MS);
      });
  }

  #openStream() {
    const source = new EventSource(this.#url('events'));
    let watchdog = 0;
    const link = this.#take(() => {
      clearTimeout(watchdog);
      source.close();
    });
    const watch = (ms, then) => {
      clearTimeout(watchdog);
      watchdog = setTimeout(then, ms);
    };
    const fail = () => (link.isReady ? this.#lose(link) : this.#doubt(link, 'stream'));
    watch(STREAM_START_MS, fail);
    // It would come back by itself, but with the old address and so with old lines.
    source.onerror = fail;
    source.onmessage = ({ data }) => {
      watch(SILENCE_MS, fail);
      const event = JSON.parse(data);
      if (event.type === 'history') this.#prove(link);
      this.#listener.event(event);
    };
    link.send = (message) => this.#post(message);
  }

  #openPoll() {
    let timer = 0;
    const link = this.#take(() => clearTimeout(timer));
    const poll = async () => {
      clearTimeout(timer);
      let history;
      try {
        history = await this.#fetchHistory();
      } catch {
        return this.#lose(link);
      }
      if (this.#link !== link) return;
      this.#prove(link);
      this.#listener.event(history);
      const isBusy = history.draft !== null || history.lines.some((line) => line.seq === null);
      clearTimeout(timer);
      timer = setTimeout(poll, isBusy ? POLL_BUSY_MS : POLL_MS);
    };
    link.send = async (message) => {
      const answer = await this.#post(message);
      timer = setTimeout(poll, POLL_BUSY_MS);
      return answer;
    };
    poll();
  }

  /** A new connection takes the place of the old one. */
  #take(close) {
    const link = { isReady: false, close, send: null };
    this.#link = link;
    return link;
  }

  #drop() {
    const link = this.#link;
    this.#link = null;
    link?.close();
  }

  #prove(link) {
    if (this.#link !== link || link.isReady) return;
    link.isReady = true;
    this.#n_failures = 0;
    this.#listener.state('online');
  }

  /** It never worked. If the gateway can be reached otherwise, this way is blocked: take the next. */
  async #doubt(link, way) {
    if (this.#link !== link) return;
    link.close();
    try {
      const history = await this.#fetchHistory();
      if (this.#link !== link) return;
      if (way === 'socket') this.#socketBlockedUntil = Date.now() + BLOCKED_MS;
      else this.#streamBlockedUntil = Date.now() + BLOCKED_MS;
      this.#listener.event(history);
      this.connect();
    } catch {
      this.#lose(link);
    }
  }

  /** Tries again, soon at first, then more rarely, never all visitors at once. */
  #lose(link = this.#link) {
    if (this.#link !== link) return;
    this.#drop();
    this.#listener.state(navigator.onLine ? 'reconnecting' : 'offline');
    const wait = Math.min(MAX_WAIT_MS, 400 * 2 ** this.#n_failures);
    this.#n_failures += 1;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.connect(), wait * (0.5 + Math.random() / 2));
  }

  #url(name) {
    const after = this.#listener.after();
    return `${this.#base}/${name}${after === null ? '' : `?after=${after}`}`;
  }

  async #fetchHistory() {
    const response = await fetch(this.#url('history'), { cache: 'no-store', signal: AbortSignal.timeout(ANSWER_MS) });
    if (response.status === 401) this.#listener.stranger();
    if (!response.ok) throw new Error(`history: ${response.status}`);
    return response.json();
  }

  async #post({ id, text }) {
    const response = await fetch(`${this.#base}/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ id, text }),
      signal: AbortSignal.timeout(ANSWER_MS),
    });
    if (response.status === 401) this.#listener.stranger();
    const answer = await response.json();
    if (answer.type === 'accepted') this.#listener.event(answer);
    return answer;
  }
}
