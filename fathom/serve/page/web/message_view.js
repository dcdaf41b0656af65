// One message on the page. It reads the message each time it is told of a change, and touches only
// what differs.

import {announce, copyButton, h, iconButton} from '/page/dom.js';
import {MarkdownView, codeBlock} from '/page/markdown.js';
import {tokensPerSecond} from '/page/reply_run.js';

const number = new Intl.NumberFormat('en');
const seconds = (ms) => (ms < 950 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(ms < 10000 ? 1 : 0)} s`);
const plural = (count, word) => `${number.format(count)} ${word}${count === 1 ? '' : 's'}`;

// "2 / 3" with buttons, where a message has siblings.
function branchSwitch(actions, id) {
  const ids = actions.siblings(id);
  if (ids.length < 2) {
    return null;
  }
  const at = ids.indexOf(id);
  const step = (name, label, to) =>
    iconButton(name, label, () => actions.choose(ids[to]), {disabled: ids[to] === undefined});
  return h(
    'span',
    {class: 'branches', role: 'group', 'aria-label': 'Branches'},
    step('previous', 'Previous branch', at - 1),
    h('span', {class: 'branch-count'}, `${at + 1}/${ids.length}`),
    step('next', 'Next branch', at + 1),
  );
}

// What the row of buttons below a message depends on.
function stateOfTools(actions, message, figures) {
  const ids = actions.siblings(message.id);
  return [ids.indexOf(message.id), ids.length, message.state, figures].join(' ');
}

class UserView {
  #toolState = null;

  constructor(message, actions) {
    this.message = message;
    this.actions = actions;
    this.text = h('div', {class: 'user-text'}, message.content);
    this.tools = h('div', {class: 'message-tools'});
    this.element = h(
      'article',
      {class: 'message user', 'aria-label': 'You', 'data-id': message.id},
      h('h2', {class: 'hidden'}, 'You'),
      this.text,
      this.tools,
    );
    this.update();
  }

  update() {
    const state = stateOfTools(this.actions, this.message, '');
    if (state === this.#toolState) {
      return;
    }
    this.#toolState = state;
    this.tools.replaceChildren(
      ...[
        branchSwitch(this.actions, this.message.id),
        copyButton('Copy message', () => this.message.content),
        iconButton('edit', 'Edit message', () => this.edit()),
      ].filter(Boolean),
    );
  }

  edit() {
    const area = h('textarea', {class: 'edit-area', 'aria-label': 'Edit message', rows: 3});
    area.value = this.message.content;
    const close = () => {
      form.replaceWith(this.text);
      this.tools.hidden = false;
      this.tools.querySelector('[aria-label="Edit message"]').focus();
    };
    const save = () => {
      const text = area.value.trim();
      if (text) {
        this.actions.edit(this.message, text);
      }
    };
    const form = h(
      'form',
      {
        class: 'edit',
        onsubmit: (event) => {
          event.preventDefault();
          save();
        },
      },
      area,
      h(
        'div',
        {class: 'edit-buttons'},
        h('span', {class: 'hint'}, 'The earlier text stays as another branch.'),
        h('button', {type: 'button', class: 'button', onclick: close}, 'Cancel'),
        h('button', {class: 'button primary'}, 'Send'),
      ),
    );
    area.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        save();
      } else if (event.key === 'Escape') {
        event.stopPropagation();
        close();
      }
    });
    this.text.replaceWith(form);
    this.tools.hidden = true;
    area.focus();
  }
}

class AssistantView {
  #shownState = null;
  #toolState = null;

  constructor(message, actions) {
    this.message = message;
    this.actions = actions;
    this.summary = h('summary', {});
    this.reasoningText = h('div', {class: 'reasoning-text prose'});
    this.reasoning = h('details', {class: 'reasoning', hidden: true}, this.summary, this.reasoningText);
    this.content = h('div', {class: 'prose'});
    this.toolCalls = h('div', {class: 'tool-calls'});
    this.problem = h('div', {class: 'problem', hidden: true});
    this.waiting = h(
      'p',
      {class: 'waiting', hidden: true},
      h('span', {class: 'waiting-mark'}),
      'Waiting for the first token',
    );
    this.tools = h('div', {class: 'message-tools'});
    this.depth = h('span', {
      class: 'depth',
      title: 'Tokens of context after this reply',
      'aria-hidden': 'true',
      hidden: true,
    });
    this.element = h(
      'article',
      {
        class: 'message assistant',
        'aria-label': `Reply of ${message.model || 'the model'}`,
        'data-id': message.id,
      },
      h('h2', {class: 'hidden'}, 'Reply'),
      this.depth,
      this.reasoning,
      this.waiting,
      this.content,
      this.toolCalls,
      this.problem,
      this.tools,
    );
    this.#begin();
    this.update();
  }

  // What there is already is shown without being read out.
  #begin() {
    this.isQuiet = true;
    this.reasoningText.replaceChildren();
    this.content.replaceChildren();
    this.reasoningView = new MarkdownView(this.reasoningText);
    this.contentView = new MarkdownView(this.content, (element) => this.#sayBlock(element));
    this.contentView.update(this.message.content, false);
    this.isQuiet = false;
  }

  update() {
    const {message} = this;
    const isRunning = message.state === 'running';
    if (isRunning && this.#shownState !== null && this.#shownState !== 'running') {
      this.#begin(); // it goes on
    }
    this.#showReasoning(isRunning);
    this.contentView.update(message.content, !isRunning);
    this.#showToolCalls(isRunning);
    this.waiting.hidden = !isRunning || message.first_ms !== undefined;
    if (message.state !== this.#shownState || !isRunning) {
      this.#shownState = message.state;
      this.element.setAttribute('aria-busy', String(isRunning));
      this.#showProblem();
    }
    this.#showTools(isRunning);
  }

  #sayBlock(element) {
    if (!this.isQuiet && (this.message.state === 'running' || this.#shownState === 'running')) {
      announce(
        element.classList?.contains('code-block') ? 'A block of code.' : (element.textContent ?? element),
      );
    }
  }

  #showReasoning(isRunning) {
    const {message} = this;
    if (!message.reasoning) {
      return;
    }
    this.reasoning.hidden = false;
    this.reasoningView.update(message.reasoning, !isRunning || message.content !== '');
    const count = message.usage?.reasoning || message.pieces?.reasoning;
    const isThinking = isRunning && message.content === '';
    this.reasoning.classList.toggle('thinking', isThinking);
    const tokens = count ? `, ${message.usage?.reasoning ? '' : 'about '}${plural(count, 'token')}` : '';
    const time = !isThinking && message.reasoning_ms ? ` for ${seconds(message.reasoning_ms)}` : '';
    this.summary.textContent = `${isThinking ? 'Thinking' : 'Thought'}${time}${tokens}`;
  }

  #showToolCalls(isRunning) {
    const calls = this.message.toolCalls?.filter(Boolean) ?? [];
    if (calls.length > 0) {
      this.toolCalls.replaceChildren(
        ...calls.map((call) =>
          h(
            'section',
            {class: 'tool-call', 'aria-label': 'Tool call'},
            h('p', {class: 'tool-name'}, 'Calls ', h('code', {}, call.name)),
            codeBlock(call.arguments, 'json', !isRunning),
          ),
        ),
      );
    }
  }

  #showProblem() {
    const {message} = this;
    const text = message.state === 'failed' ? message.error : message.note;
    this.problem.hidden = !text;
    this.problem.classList.toggle('failed', message.state === 'failed');
    const wait = message.retryAfter_s ? ` It asks to wait ${plural(message.retryAfter_s, 'second')}.` : '';
    const button = (label, onclick) => h('button', {type: 'button', class: 'button', onclick}, label);
    const isCut = text && message.state !== 'running' && (message.content || message.reasoning);
    this.problem.replaceChildren(
      h('p', {}, (text ?? '') + wait),
      ...(isCut && this.actions.canContinue(message)
        ? [button('Continue', () => this.actions.goOn(message))]
        : []),
      ...(message.state === 'failed' ? [button('Try again', () => this.actions.retry(message))] : []),
    );
  }

  #showTools(isRunning) {
    const figures = this.#figures();
    const state = stateOfTools(this.actions, this.message, figures);
    if (state === this.#toolState) {
      return;
    }
    this.#toolState = state;
    this.#showDepth();
    if (isRunning) {
      this.tools.replaceChildren(h('span', {class: 'figures'}, figures));
      return;
    }
    const {message} = this;
    this.tools.replaceChildren(
      ...[
        branchSwitch(this.actions, message.id),
        message.content && copyButton('Copy reply', () => message.content),
        iconButton('retry', 'Reply again', () => this.actions.retry(message)),
        h('span', {class: 'figures'}, figures),
      ].filter(Boolean),
    );
  }

  // How deep in the context the conversation is after this reply, at the margin.
  #showDepth() {
    const {usage} = this.message;
    this.depth.hidden = !usage;
    this.depth.textContent = usage ? number.format(usage.prompt + usage.reply) : '';
  }

  #figures() {
    const {message} = this;
    const rate = tokensPerSecond(message);
    const parts = [message.model];
    if (message.usage) {
      parts.push(plural(message.usage.reply, 'token'));
    }
    if (rate !== null) {
      parts.push(`${rate.toFixed(1)} tokens/s`);
    }
    if (message.first_ms !== undefined && message.state !== 'running') {
      parts.push(`first after ${seconds(message.first_ms)}`);
    }
    if (message.usage?.cached) {
      parts.push(
        `${number.format(message.usage.cached)} of ${number.format(message.usage.prompt)} prompt tokens reused`,
      );
    }
    return parts.filter(Boolean).join(' · ');
  }
}

// `actions`: siblings(id), choose(id), edit(message, text), retry(message), canContinue(message),
// goOn(message).
export function messageView(message, actions) {
  return message.role === 'user' ? new UserView(message, actions) : new AssistantView(message, actions);
}
