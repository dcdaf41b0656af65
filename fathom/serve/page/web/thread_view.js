// The messages of the conversation, and where the reader is in them.

import {byId} from '/page/dom.js';
import {messageView} from '/page/message_view.js';

const NEAR_END_PX = 80;

export class ThreadView {
  #views = [];
  #changed = new Set();
  #isScheduled = false;
  #followsEnd = true;

  constructor(actions) {
    this.actions = actions;
    this.thread = byId('thread');
    this.scroller = byId('scroller');
    this.toEnd = byId('to-end');
    this.scroller.addEventListener('scroll', () => this.#noteScroll(), {passive: true});
    // Messages get their true height when they come into view.
    new ResizeObserver(() => this.#keepEnd()).observe(this.thread);
    // Who opens a part wants to read it from its beginning.
    this.thread.addEventListener('click', (event) => {
      if (event.target.closest('summary')) {
        this.#followsEnd = false;
      }
    });
    this.toEnd.addEventListener('click', () => this.scrollToEnd());
  }

  // Shows these messages; those that were shown already keep their elements.
  show(messages) {
    let numKept = 0;
    while (numKept < messages.length && this.#views[numKept]?.message === messages[numKept]) {
      this.#views[numKept].update();
      numKept += 1;
    }
    this.#views.splice(numKept).forEach((view) => view.element.remove());
    const added = messages.slice(numKept).map((message) => messageView(message, this.actions));
    this.#views.push(...added);
    this.thread.append(...added.map((view) => view.element));
    byId('empty').hidden = messages.length > 0;
    this.#keepEnd();
  }

  // The message has changed. Many changes are drawn together, once per frame.
  changed(message) {
    this.#changed.add(message);
    if (!this.#isScheduled) {
      this.#isScheduled = true;
      // Pages that are not seen get no frames.
      (document.hidden ? (draw) => setTimeout(draw, 200) : requestAnimationFrame)(() => this.#draw());
    }
  }

  #draw() {
    this.#isScheduled = false;
    for (const view of this.#views) {
      if (this.#changed.has(view.message)) {
        view.update();
      }
    }
    this.#changed.clear();
    this.#keepEnd();
  }

  scrollToEnd() {
    this.#followsEnd = true;
    this.#keepEnd();
  }

  element(id) {
    return this.#views.find((view) => view.message.id === id)?.element;
  }

  latestUserView() {
    return this.#views.findLast((view) => view.message.role === 'user');
  }

  #keepEnd() {
    if (this.#followsEnd) {
      this.scroller.scrollTop = this.scroller.scrollHeight;
    }
    this.#noteEnd();
  }

  #distanceToEnd() {
    return this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight;
  }

  // Who scrolls up reads; who comes back to the end follows again.
  #noteScroll() {
    this.#followsEnd = this.#distanceToEnd() < NEAR_END_PX;
    this.#noteEnd();
  }

  #noteEnd() {
    this.toEnd.hidden = this.#followsEnd || this.#distanceToEnd() < NEAR_END_PX;
  }
}
