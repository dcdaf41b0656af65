// Conversations as a file, out and in.

import {VERSION, imported} from '/page/conversation.js';
import {h} from '/page/dom.js';

export async function exportAll(store) {
  const text = JSON.stringify({fathom_conversations: VERSION, conversations: await store.all()}, null, 1);
  const address = URL.createObjectURL(new Blob([text], {type: 'application/json'}));
  h('a', {
    href: address,
    download: `fathom-conversations-${new Date().toISOString().slice(0, 10)}.json`,
  }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

// Adds the conversations of a file; they get ids of their own, so nothing is overwritten. All or,
// with an Error that says why, none. Gives their number.
export async function importFile(file, store) {
  let value;
  try {
    value = JSON.parse(await file.text());
  } catch {
    throw new Error(`${file.name}: expected JSON`);
  }
  if (!Array.isArray(value?.conversations)) {
    throw new Error(`${file.name}: expected a file that this page exported`);
  }
  const conversations = value.conversations.map((conversation, at) => {
    try {
      return imported(conversation);
    } catch (error) {
      throw new Error(`${file.name}: conversations[${at}]: ${error.message}`);
    }
  });
  for (const conversation of conversations) {
    await store.put(conversation);
  }
  return conversations.length;
}
