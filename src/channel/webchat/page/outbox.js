// Messages that the gateway has not confirmed. They survive a reload of this tab, in its own storage.

export class Outbox {
  #key;
  #messages;

  constructor(base) {
    this.#key = `frontdesk${base}`;
    this.#messages = this.#load();
  }

  /** All that waits, oldest first: `{id, text, at, refused}`. */
  all() {
    return [...this.#messages];
  }

  /** The next one to send. One that was refused waits for the person. */
  next() {
    return this.#messages.find((message) => !message.refused);
  }

  has(id) {
    return this.#messages.some((message) => message.id === id);
  }

  add(text) {
    const message = { id: newId(), text, at: Date.now(), refused: false };
    this.#messages.push(message);
    this.#save();
    return message;
  }

  /** The gateway has it, or the person gave it up. */
  remove(id) {
    this.#messages = this.#messages.filter((message) => message.id !== id);
    this.#save();
  }

  setRefused(id, refused) {
    for (const message of this.#messages) {
      if (message.id === id) message.refused = refused;
    }
    this.#save();
  }

  #load() {
    try {
      const stored = JSON.parse(sessionStorage.getItem(this.#key) ?? '[]');
      return Array.isArray(stored) ? stored.filter((m) => typeof m?.id === 'string' && typeof m.text === 'string') : [];
    } catch {
      return [];
    }
  }

  #save() {
    try {
      sessionStorage.setItem(this.#key, JSON.stringify(this.#messages));
    } catch {
      // Storage is full or forbidden: the messages live as long as the page.
    }
  }
}

/** A UUID where the browser makes one (it does not on plain HTTP), else as many random bits. */
function newId() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
