// The panels at the sides: beside the conversation where there is room, over it where there is not.

import {byId} from '/page/dom.js';
import {preferences} from '/page/preferences.js';

const narrow = matchMedia('(max-width: 900px)');

export function installDrawers() {
  const body = document.body;
  const stage = document.querySelector('.stage');
  const sidebar = byId('sidebar');
  const settings = byId('settings');

  // What lies under an open panel is out of reach.
  const update = () => {
    const isSidebarOpen = body.dataset.sidebar === 'open';
    const isSettingsOpen = !settings.hidden;
    const isOver = narrow.matches && (isSidebarOpen || isSettingsOpen);
    stage.inert = isOver;
    byId('scrim').hidden = !isOver;
    sidebar.inert = !isSidebarOpen || (narrow.matches && isSettingsOpen);
    byId('open-sidebar').setAttribute('aria-expanded', String(isSidebarOpen));
    byId('open-settings').setAttribute('aria-expanded', String(isSettingsOpen));
  };

  const setSidebar = (isOpen) => {
    body.dataset.sidebar = isOpen ? 'open' : 'closed';
    update();
    if (!narrow.matches) {
      preferences.set('sidebar', isOpen);
    }
  };
  const openSidebar = (target) => {
    setSidebar(true);
    target.focus();
  };
  const closeSidebar = () => {
    setSidebar(false);
    byId('open-sidebar').focus();
  };
  const setSettings = (isOpen) => {
    settings.hidden = !isOpen;
    update();
    (isOpen ? byId('close-settings') : byId('open-settings')).focus();
  };

  byId('open-sidebar').addEventListener('click', () =>
    body.dataset.sidebar === 'open' ? closeSidebar() : openSidebar(byId('close-sidebar')),
  );
  byId('close-sidebar').addEventListener('click', closeSidebar);
  byId('open-settings').addEventListener('click', () => setSettings(settings.hidden));
  byId('close-settings').addEventListener('click', () => setSettings(false));

  // Closes what Escape should close; whether there was anything.
  const closeTop = () => {
    if (!settings.hidden && (narrow.matches || settings.contains(document.activeElement))) {
      setSettings(false);
      return true;
    }
    if (narrow.matches && body.dataset.sidebar === 'open') {
      closeSidebar();
      return true;
    }
    return false;
  };
  byId('scrim').addEventListener('click', closeTop);
  narrow.addEventListener('change', () => setSidebar(!narrow.matches));
  body.dataset.sidebar = !narrow.matches && preferences.get('sidebar') !== false ? 'open' : 'closed';
  update();

  return {
    openSidebar,
    toggleSettings: () => setSettings(settings.hidden),
    closeTop,
    closeSidebarIfOver: () => narrow.matches && body.dataset.sidebar === 'open' && setSidebar(false),
  };
}
