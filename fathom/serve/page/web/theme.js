// The colours that were chosen, before anything is drawn. Without a choice the system's hold.
(() => {
  try {
    const theme = localStorage.getItem('fathom.theme');
    if (theme === 'light' || theme === 'dark') {
      document.documentElement.dataset.theme = theme;
    }
  } catch {
    // Storage may be forbidden; the system's colours do.
  }
})();
