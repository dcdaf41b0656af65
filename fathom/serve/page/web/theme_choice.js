// The button that goes through the colours: the system's, light, dark.

import {byId} from '/page/dom.js';

const NEXT = {system: 'light', light: 'dark', dark: 'system'};
const KEY = 'fathom.theme'; // theme.js reads it before the page is drawn

export function installTheme() {
  const button = byId('theme');
  let theme = document.documentElement.dataset.theme ?? 'system';
  const show = () => {
    byId('theme-name').textContent = {system: 'Auto', light: 'Light', dark: 'Dark'}[theme];
  };
  button.addEventListener('click', () => {
    theme = NEXT[theme];
    if (theme === 'system') {
      delete document.documentElement.dataset.theme;
    } else {
      document.documentElement.dataset.theme = theme;
    }
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // It holds until the page is closed.
    }
    show();
  });
  show();
}
