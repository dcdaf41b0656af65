// Conversations in the browser's database; where it has none (or forbids it), in memory.

import {matches, summaryOf} from '/page/conversation.js';

const NAME = 'fathom';

function promise(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function openDatabase() {
  const request = indexedDB.open(NAME, 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore('conversations', {keyPath: 'id'});
    request.result.createObjectStore('summaries', {keyPath: 'id'});
  };
  return promise(request);
}

class DatabaseStore {
  isLasting = true;

  constructor(database) {
    this.database = database;
  }

  #stores(mode, ...names) {
    const transaction = this.database.transaction(names, mode);
    return names.map((name) => transaction.objectStore(name));
  }

  summaries() {
    return promise(this.#stores('readonly', 'summaries')[0].getAll());
  }

  get(id) {
    return promise(this.#stores('readonly', 'conversations')[0].get(id));
  }

  all() {
    return promise(this.#stores('readonly', 'conversations')[0].getAll());
  }

  async put(conversation) {
    const [conversations, summaries] = this.#stores('readwrite', 'conversations', 'summaries');
    conversations.put(conversation);
    await promise(summaries.put(summaryOf(conversation)));
  }

  async remove(id) {
    const [conversations, summaries] = this.#stores('readwrite', 'conversations', 'summaries');
    conversations.delete(id);
    await promise(summaries.delete(id));
  }

  // Summaries of those that match, read one after another so that memory stays small.
  search(query) {
    const found = [];
    const request = this.#stores('readonly', 'conversations')[0].openCursor();
    return new Promise((resolve, reject) => {
      request.onerror = () => reject(request.error);
      request.onsuccess = () => {
        const cursor = request.result;
        if (!cursor) {
          resolve(found);
          return;
        }
        if (matches(cursor.value, query)) {
          found.push(summaryOf(cursor.value));
        }
        cursor.continue();
      };
    });
  }
}

class MemoryStore {
  isLasting = false;
  #conversations = new Map();

  async summaries() {
    return [...this.#conversations.values()].map(summaryOf);
  }
  async get(id) {
    return structuredClone(this.#conversations.get(id));
  }
  async all() {
    return [...this.#conversations.values()];
  }
  async put(conversation) {
    this.#conversations.set(conversation.id, structuredClone(conversation));
  }
  async remove(id) {
    this.#conversations.delete(id);
  }
  async search(query) {
    return (await this.all()).filter((one) => matches(one, query)).map(summaryOf);
  }
}

export async function openStore() {
  try {
    return new DatabaseStore(await openDatabase());
  } catch {
    return new MemoryStore();
  }
}
