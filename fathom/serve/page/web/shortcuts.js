// Keys that work anywhere on the page. All take modifiers or are Escape, so that none is in the way
// of writing or of a screen reader: on a Mac, Option writes letters, so it is Control and Shift there.

import {byId, h} from '/page/dom.js';

const isMac = /Mac|iPhone|iPad/.test(navigator.platform);
const MODIFIERS = isMac ? ['Ctrl', 'Shift'] : ['Alt'];

const SHORTCUTS = [
  {keys: ['Enter'], does: 'Send the message'},
  {keys: ['Shift', 'Enter'], does: 'New line'},
  {keys: ['Esc'], does: 'Stop the reply; close what is open'},
  {keys: [...MODIFIERS, 'N'], code: 'KeyN', action: 'newConversation', does: 'New conversation'},
  {keys: [...MODIFIERS, 'F'], code: 'KeyF', action: 'search', does: 'Search conversations'},
  {keys: [...MODIFIERS, 'P'], code: 'KeyP', action: 'settings', does: 'Parameters'},
  {keys: [...MODIFIERS, 'R'], code: 'KeyR', action: 'retry', does: 'Reply again'},
  {keys: [...MODIFIERS, 'E'], code: 'KeyE', action: 'edit', does: 'Edit the last message'},
  {keys: [...MODIFIERS, 'M'], code: 'KeyM', action: 'prompt', does: 'Go to the message box'},
  {keys: [...MODIFIERS, 'K'], code: 'KeyK', action: 'help', does: 'This list'},
];

// `actions`: by the names above, and `escape`.
export function installShortcuts(actions) {
  document.addEventListener('keydown', (event) => {
    if (event.isComposing || document.querySelector('dialog[open]')) {
      return;
    }
    if (event.key === 'Escape') {
      if (event.target.id !== 'search' || event.target.value === '') {
        // there it empties the field
        actions.escape();
      }
      return;
    }
    const shortcut = SHORTCUTS.find((one) => one.code === event.code);
    const hasModifiers =
      event.altKey === !isMac && event.ctrlKey === isMac && event.shiftKey === isMac && !event.metaKey;
    if (shortcut && hasModifiers) {
      event.preventDefault();
      actions[shortcut.action]();
    }
  });
  byId('shortcut-list').append(
    ...SHORTCUTS.map(({keys, does}) =>
      h('div', {}, h('dt', {}, ...keys.flatMap((key) => [h('kbd', {}, key), ' '])), h('dd', {}, does)),
    ),
  );
}
