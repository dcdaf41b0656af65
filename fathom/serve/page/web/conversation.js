// A conversation is a tree: every message has the one it answers as its parent, an edited message
// and a reply that was asked for again are siblings, and of siblings one is chosen. What is shown,
// and sent, is the path of chosen messages. Nothing here touches the page or the network.

export const ROOT = 'root';
export const VERSION = 1;

const ROLES = ['user', 'assistant'];

export function newId() {
  // randomUUID needs https or localhost; this works anywhere.
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) =>
    byte.toString(16).padStart(2, '0'),
  ).join('');
}

// `settings`: see settings.js.
export function create(settings) {
  const now = Date.now();
  return {
    version: VERSION,
    id: newId(),
    title: '',
    created_ms: now,
    updated_ms: now,
    settings: {...settings},
    nodes: {},
    children: {},
    chosen: {},
  };
}

// Adds a message below `parentId` and chooses it.
export function add(conversation, parentId, fields) {
  const node = {id: newId(), parent: parentId, created_ms: Date.now(), content: '', reasoning: '', ...fields};
  conversation.nodes[node.id] = node;
  (conversation.children[parentId] ??= []).push(node.id);
  conversation.chosen[parentId] = node.id;
  conversation.updated_ms = node.created_ms;
  return node;
}

// Takes away a message that nothing answers.
export function removeLeaf(conversation, id) {
  const {parent} = conversation.nodes[id];
  const rest = conversation.children[parent].filter((child) => child !== id);
  conversation.children[parent] = rest;
  delete conversation.nodes[id];
  if (conversation.chosen[parent] === id) {
    conversation.chosen[parent] = rest.at(-1);
  }
}

export function hasAnswer(conversation, id) {
  return (conversation.children[id] ?? []).length > 0;
}

export function siblings(conversation, id) {
  return conversation.children[conversation.nodes[id].parent];
}

export function choose(conversation, id) {
  conversation.chosen[conversation.nodes[id].parent] = id;
}

// The chosen messages, first to last.
export function path(conversation) {
  const result = [];
  for (let id = conversation.chosen[ROOT]; id; id = conversation.chosen[id]) {
    result.push(conversation.nodes[id]);
  }
  return result;
}

export function isEmpty(conversation) {
  return Object.keys(conversation.nodes).length === 0;
}

// What the server gets to read for a reply below `id`.
export function messagesUpTo(conversation, id) {
  const messages = [];
  for (let at = id; at !== ROOT; at = conversation.nodes[at].parent) {
    const {role, content} = conversation.nodes[at];
    if (role === 'user' || content) {
      messages.unshift({role, content});
    }
  }
  const system = conversation.settings.system?.trim();
  return system ? [{role: 'system', content: system}, ...messages] : messages;
}

// The first line, at most 60 characters of it.
export function titleOf(text) {
  const line = text.trim().split('\n', 1)[0].trim();
  return line.length <= 60 ? line : line.slice(0, 59).trimEnd() + '…';
}

// What is known of a conversation without opening it.
export function summaryOf({id, title, updated_ms}) {
  return {id, title, updated_ms};
}

// Whether all words of the query are in the title or in a message.
export function matches(conversation, query) {
  const text = [conversation.title, ...Object.values(conversation.nodes).map((node) => node.content)]
    .join('\n')
    .toLowerCase();
  return query
    .toLowerCase()
    .split(/\s+/)
    .every((word) => text.includes(word));
}

const isText = (value) => typeof value === 'string';
const isRecord = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

// A copy with only what belongs to a conversation, out of a file that may hold anything. Throws an
// Error that says what is wrong with it.
export function imported(value) {
  if (!isRecord(value) || value.version !== VERSION || !isRecord(value.nodes)) {
    throw new Error(`expected a conversation of version ${VERSION}`);
  }
  const result = create({});
  result.title = isText(value.title) ? value.title : '';
  for (const [key, setting] of Object.entries(isRecord(value.settings) ? value.settings : {})) {
    if (isText(setting)) {
      result.settings[key] = setting;
    }
  }
  const ids = new Map([[ROOT, ROOT]]);
  const waiting = Object.values(value.nodes);
  // Parents first; what is left over when nothing moves hangs on nothing.
  for (let size = -1; waiting.length !== size;) {
    size = waiting.length;
    for (const node of waiting.splice(0)) {
      if (!isRecord(node) || !ROLES.includes(node.role) || !isText(node.content)) {
        throw new Error('expected messages with a role of user or assistant and a text as content');
      }
      if (ids.has(node.parent)) {
        const kept = {role: node.role, content: node.content, state: 'done'};
        for (const name of ['reasoning', 'model', 'note']) {
          kept[name] = isText(node[name]) ? node[name] : '';
        }
        ids.set(node.id, add(result, ids.get(node.parent), kept).id);
      } else {
        waiting.push(node);
      }
    }
  }
  if (waiting.length > 0) {
    throw new Error(`expected every message to hang on another, found ${waiting.length} that do not`);
  }
  for (const [parent, child] of Object.entries(isRecord(value.chosen) ? value.chosen : {})) {
    const id = ids.get(child);
    if (id && id !== ROOT && result.nodes[id].parent === ids.get(parent)) {
      choose(result, id);
    }
  }
  return result;
}
