// The page: puts its parts together and holds the conversation that is open.

import * as api from '/page/api.js';
import * as tree from '/page/conversation.js';
import {announce, byId, h} from '/page/dom.js';
import {installDrawers} from '/page/drawers.js';
import {askForKey} from '/page/key_dialog.js';
import {LivePanel} from '/page/live_panel.js';
import {preferences} from '/page/preferences.js';
import {ReplyRun} from '/page/reply_run.js';
import {NO_SETTINGS, SettingsForm} from '/page/settings.js';
import {installShortcuts} from '/page/shortcuts.js';
import {Sidebar} from '/page/sidebar.js';
import {openStore} from '/page/store.js';
import {installTheme} from '/page/theme_choice.js';
import {ThreadView} from '/page/thread_view.js';
import {exportAll, importFile} from '/page/transfer.js';

const SAVE_INTERVAL_MS = 1000;

class App {
  #conversation = null;
  #runs = new Map(); // conversation id -> ReplyRun
  #savedAt_ms = 0;

  async start() {
    this.store = await openStore();
    this.otherTabs = new BroadcastChannel('fathom.conversations');
    this.otherTabs.addEventListener('message', (event) => this.#onChangedElsewhere(event.data));
    this.thread = new ThreadView({
      siblings: (id) => tree.siblings(this.#conversation, id),
      choose: (id) => this.choose(id),
      edit: (message, text) => this.ask(text, message.parent),
      retry: (message) => this.retry(message),
      canContinue: (message) => !tree.hasAnswer(this.#conversation, message.id),
      goOn: (message) => this.goOn(message),
    });
    this.sidebar = new Sidebar({
      rename: (id, title) => this.rename(id, title),
      remove: (id) => this.remove(id),
    });
    this.settings = new SettingsForm(byId('settings-form'), (settings) => this.changeSettings(settings));
    this.drawers = installDrawers();
    installTheme();
    this.#listen();
    await this.openFromAddress();
    // Not where it would bring up a keyboard over the page.
    if (matchMedia('(hover: hover)').matches) {
      byId('prompt').focus();
    }
    this.live = new LivePanel(
      (isReachable) => this.#showReachable(isReachable),
      () => byId('model').options.length === 0 && this.loadModels(),
    );
    await this.loadModels();
    if (!this.store.isLasting) {
      this.say('This browser keeps no data for this page: conversations are gone when it is closed.');
    }
  }

  #listen() {
    const prompt = byId('prompt');
    byId('composer').addEventListener('submit', (event) => {
      event.preventDefault();
      this.send();
    });
    prompt.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.send();
      }
    });
    prompt.addEventListener('input', () => this.#fitPrompt());
    byId('stop').addEventListener('click', () => this.stop());
    byId('new-conversation').addEventListener('click', () => this.newConversation());
    byId('search').addEventListener('input', () => this.showList());
    byId('model').addEventListener('change', () => preferences.set('model', byId('model').value));
    byId('export').addEventListener('click', () => exportAll(this.store));
    byId('import').addEventListener('click', () => byId('import-file').click());
    byId('import-file').addEventListener('change', (event) => this.import(event.target));
    byId('shortcuts').addEventListener('click', () => byId('shortcut-dialog').showModal());
    addEventListener('hashchange', () => this.openFromAddress());
    addEventListener('pagehide', () => this.#conversation && this.save(this.#conversation));
    installShortcuts({
      newConversation: () => this.newConversation(),
      search: () => this.drawers.openSidebar(byId('search')),
      settings: () => this.drawers.toggleSettings(),
      retry: () => this.retryLatest(),
      edit: () => this.thread.latestUserView()?.edit(),
      prompt: () => prompt.focus(),
      help: () => byId('shortcut-dialog').showModal(),
      escape: () => this.drawers.closeTop() || this.stop(),
    });
  }

  // Models and the server.

  async loadModels() {
    try {
      const names = await api.models();
      const select = byId('model');
      select.replaceChildren(...names.map((name) => h('option', {value: name}, name)));
      const latest = preferences.get('model');
      if (names.includes(latest)) {
        select.value = latest;
      }
    } catch (error) {
      if (error.needsKey && (await askForKey())) {
        await this.loadModels();
        this.live.ask();
      } else {
        this.say(error.message);
      }
    }
  }

  #showReachable(isReachable) {
    if (!isReachable) {
      this.say('The server cannot be reached. Trying again …', {isLasting: true});
      return;
    }
    this.say('');
    announce('The server can be reached again.');
  }

  // A line above the conversation. Empty: none.
  say(text, {isLasting = false, action = null} = {}) {
    clearTimeout(this.bannerTimer);
    byId('banner').replaceChildren(
      ...(text ? [h('p', {}, text)] : []),
      ...(action
        ? [h('button', {type: 'button', class: 'text-button', onclick: action.run}, action.label)]
        : []),
    );
    if (text && !isLasting) {
      this.bannerTimer = setTimeout(() => this.say(''), 12000);
    }
  }

  // Conversations.

  async openFromAddress() {
    const id = location.hash.slice(1);
    if (id && id === this.#conversation?.id) {
      return;
    }
    const running = this.#runs.get(id)?.conversation;
    const stored = running ?? (id ? await this.store.get(id) : null);
    this.open(stored ?? tree.create({...NO_SETTINGS, ...preferences.get('settings')}));
  }

  open(conversation) {
    this.#conversation = conversation;
    for (const message of Object.values(conversation.nodes)) {
      if (message.state === 'running' && !this.#runs.has(conversation.id)) {
        Object.assign(message, {
          state: 'stopped',
          note: 'The page was closed before this reply was complete.',
        });
      }
    }
    this.settings.show(conversation.settings);
    this.drawers.closeSidebarIfOver();
    this.show();
    this.thread.scrollToEnd();
    this.showList();
  }

  newConversation() {
    history.pushState(null, '', location.pathname);
    this.openFromAddress();
    byId('prompt').focus();
  }

  show() {
    const title = this.#conversation.title || 'New conversation';
    byId('title').textContent = title;
    document.title = this.#conversation.title ? `${title} – Fathom` : 'Fathom';
    this.thread.show(tree.path(this.#conversation));
    const isRunning = this.#runs.has(this.#conversation.id);
    const hadFocus = [byId('send'), byId('stop')].includes(document.activeElement);
    byId('send').hidden = isRunning;
    byId('stop').hidden = !isRunning;
    if (hadFocus) {
      byId('prompt').focus();
    }
  }

  async showList() {
    const asked = (this.listAsked = Symbol('list'));
    const query = byId('search').value.trim();
    const summaries = query ? await this.store.search(query) : await this.store.summaries();
    if (asked === this.listAsked) {
      this.sidebar.show(summaries, this.#conversation?.id, this.#runs);
    }
  }

  async save(conversation) {
    if (!tree.isEmpty(conversation)) {
      this.#savedAt_ms = performance.now();
      try {
        await this.store.put(conversation);
        this.otherTabs.postMessage(conversation.id);
      } catch (error) {
        this.say(`This browser could not keep the conversation: ${error.message}`);
      }
    }
  }

  // Another tab has changed a conversation: if it is open here and at rest, it is read again, so that
  // this tab does not write its older one over it.
  async #onChangedElsewhere(id) {
    if (id === this.#conversation.id && !this.#runs.has(id)) {
      const stored = await this.store.get(id);
      if (stored) {
        this.#conversation = stored;
        this.settings.show(stored.settings);
        this.show();
      }
    }
    this.showList();
  }

  async rename(id, title) {
    const isOpen = id === this.#conversation.id;
    const conversation = isOpen
      ? this.#conversation
      : (this.#runs.get(id)?.conversation ?? (await this.store.get(id)));
    conversation.title = title;
    await this.save(conversation);
    if (isOpen) {
      this.show();
    }
    this.showList();
  }

  async remove(id) {
    this.#runs.get(id)?.stop();
    const conversation = id === this.#conversation.id ? this.#conversation : await this.store.get(id);
    await this.store.remove(id);
    this.otherTabs.postMessage(id);
    if (id === this.#conversation.id) {
      this.newConversation();
    }
    this.showList();
    this.say(`Deleted “${conversation.title}”.`, {
      action: {
        label: 'Undo',
        run: async () => {
          await this.save(conversation);
          this.say('');
          location.hash = id;
          this.showList();
        },
      },
    });
  }

  async import(input) {
    try {
      const count = await importFile(input.files[0], this.store);
      this.say(`Imported ${count} conversation${count === 1 ? '' : 's'}.`);
    } catch (error) {
      this.say(`Nothing was imported: ${error.message}`);
    }
    input.value = '';
    this.showList();
  }

  changeSettings(settings) {
    this.#conversation.settings = settings;
    // The system prompt belongs to the conversation; the rest is how this person likes it.
    preferences.set('settings', {...settings, system: ''});
    this.save(this.#conversation);
  }

  // Messages.

  send() {
    const text = byId('prompt').value.trim();
    if (!text || this.#runs.has(this.#conversation.id)) {
      return;
    }
    byId('prompt').value = '';
    this.#fitPrompt();
    this.ask(text, tree.path(this.#conversation).at(-1)?.id ?? tree.ROOT);
  }

  // A message of the user below `parentId`, and its reply. The reply in the making ends.
  ask(text, parentId) {
    this.stop();
    const conversation = this.#conversation;
    conversation.title ||= tree.titleOf(text);
    this.reply(tree.add(conversation, parentId, {role: 'user', content: text, state: 'done'}).id);
    if (location.hash !== `#${conversation.id}`) {
      history.pushState(null, '', `#${conversation.id}`);
    }
    byId('prompt').focus();
  }

  // Another reply to what `message` answers. One that failed before it said anything is replaced.
  retry(message) {
    this.stop();
    if (message.state === 'failed' && !message.content && !message.reasoning) {
      tree.removeLeaf(this.#conversation, message.id);
    }
    this.reply(message.parent);
    byId('prompt').focus();
  }

  retryLatest() {
    const latest = tree.path(this.#conversation).at(-1);
    if (latest?.role === 'assistant') {
      this.retry(latest);
    }
  }

  choose(id) {
    const label = document.activeElement.getAttribute('aria-label');
    tree.choose(this.#conversation, id);
    this.save(this.#conversation);
    this.show();
    const element = this.thread.element(id);
    element.scrollIntoView({block: 'nearest'});
    // The button that was pressed went with its message: its likeness in the other gets the focus.
    const buttons = [...element.querySelectorAll('.branches button:not([disabled])')];
    (buttons.find((button) => button.getAttribute('aria-label') === label) ?? buttons[0])?.focus();
  }

  stop() {
    this.#runs.get(this.#conversation.id)?.stop();
  }

  reply(parentId) {
    return this.#run(tree.add(this.#conversation, parentId, {role: 'assistant', model: byId('model').value}));
  }

  // The reply goes on where it was cut.
  goOn(message) {
    this.stop();
    byId('prompt').focus();
    return this.#run(message);
  }

  async #run(message) {
    const conversation = this.#conversation;
    const run = new ReplyRun(conversation, message, () => this.#onPiece(conversation, message));
    this.#runs.set(conversation.id, run);
    this.show();
    this.thread.scrollToEnd();
    await this.save(conversation);
    this.showList();
    const error = await run.run();
    if (this.#runs.get(conversation.id) === run) {
      this.#runs.delete(conversation.id);
    }
    await this.#onEnd(conversation, message, error);
  }

  #onPiece(conversation, message) {
    if (conversation === this.#conversation) {
      this.thread.changed(message);
    }
    if (performance.now() - this.#savedAt_ms > SAVE_INTERVAL_MS) {
      this.save(conversation);
    }
  }

  async #onEnd(conversation, message, error) {
    conversation.updated_ms = Date.now();
    if (conversation === this.#conversation) {
      this.show();
    }
    await this.save(conversation);
    this.showList();
    this.live.ask();
    announce(error ? error.message : message.note || 'The reply is complete.');
    if (error?.needsKey && (await askForKey()) && conversation === this.#conversation) {
      this.retry(message);
    }
  }

  #fitPrompt() {
    const prompt = byId('prompt');
    prompt.style.height = 'auto';
    prompt.style.height = `${prompt.scrollHeight}px`;
  }
}

new App().start();
