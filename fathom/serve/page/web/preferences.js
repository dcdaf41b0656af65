// Small choices that the browser remembers; where it may not, they hold until the page is closed.

const PREFIX = 'fathom.preference.';
const unsaved = new Map();

export const preferences = {
  get(name) {
    try {
      return JSON.parse(localStorage.getItem(PREFIX + name)) ?? undefined;
    } catch {
      return unsaved.get(name);
    }
  },
  set(name, value) {
    unsaved.set(name, value);
    try {
      localStorage.setItem(PREFIX + name, JSON.stringify(value));
    } catch {
      // Kept above.
    }
  },
};
