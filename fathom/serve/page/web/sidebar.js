// The list of conversations.

import {byId, h, iconButton} from '/page/dom.js';

function periodOf(time_ms) {
  const today = new Date().setHours(0, 0, 0, 0);
  const day_ms = 24 * 3600 * 1000;
  if (time_ms >= today) {
    return 'Today';
  }
  if (time_ms >= today - day_ms) {
    return 'Yesterday';
  }
  return time_ms >= today - 6 * day_ms ? 'The last week' : 'Earlier';
}

export class Sidebar {
  // `actions`: rename(id, title), remove(id).
  constructor(actions) {
    this.actions = actions;
    this.list = byId('conversations');
  }

  // Latest first. `running`: ids of those with a reply in the making.
  show(summaries, activeId, running) {
    const items = [];
    let period = '';
    for (const summary of [...summaries].sort((one, other) => other.updated_ms - one.updated_ms)) {
      const own = periodOf(summary.updated_ms);
      if (own !== period) {
        period = own;
        items.push(h('li', {class: 'period'}, period));
      }
      items.push(this.#item(summary, summary.id === activeId, running.has(summary.id)));
    }
    if (items.length === 0) {
      items.push(h('li', {class: 'period'}, byId('search').value ? 'Nothing found' : 'No conversations yet'));
    }
    this.list.replaceChildren(...items);
  }

  #item(summary, isActive, isRunning) {
    const title = summary.title || 'New conversation';
    const item = h(
      'li',
      {class: isRunning ? 'entry running' : 'entry'},
      h('a', {href: `#${summary.id}`, 'aria-current': isActive ? 'page' : null, title}, title),
      isRunning ? h('span', {class: 'hidden'}, 'Reply in the making') : null,
      h(
        'span',
        {class: 'entry-tools'},
        iconButton('edit', `Rename ${title}`, () => this.#rename(item, summary)),
        iconButton('trash', `Delete ${title}`, () => this.actions.remove(summary.id)),
      ),
    );
    return item;
  }

  #rename(item, summary) {
    const input = h('input', {class: 'rename', 'aria-label': 'New title', maxlength: 200});
    input.value = summary.title;
    let isDone = false;
    const finish = (isKept) => {
      if (!isDone) {
        isDone = true;
        this.actions.rename(summary.id, isKept && input.value.trim() ? input.value.trim() : summary.title);
      }
    };
    input.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' || event.key === 'Escape') {
        event.stopPropagation();
        finish(event.key === 'Enter');
      }
    });
    input.addEventListener('blur', () => finish(true));
    item.replaceChildren(input);
    input.select();
  }
}
