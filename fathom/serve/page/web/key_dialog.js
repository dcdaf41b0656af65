// Asks for the API key of a server that wants one.

import {setKey} from '/page/api.js';
import {byId} from '/page/dom.js';

let asking = null;

// Whether a key was given. Whoever asks meanwhile waits for the same answer.
export function askForKey() {
  asking ??= new Promise((resolve) => {
    const dialog = byId('key-dialog');
    const done = new AbortController();
    const {signal} = done;
    let isGiven = false;
    byId('key-form').addEventListener(
      'submit',
      () => {
        isGiven = byId('key').value.trim() !== '';
        setKey(byId('key').value.trim(), byId('keep-key').checked);
        byId('key').value = '';
      },
      {signal},
    );
    byId('key-cancel').addEventListener('click', () => dialog.close(), {signal});
    dialog.addEventListener(
      'close',
      () => {
        done.abort();
        asking = null;
        resolve(isGiven);
      },
      {signal},
    );
    dialog.showModal();
  });
  return asking;
}
