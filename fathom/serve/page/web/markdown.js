// Markdown as elements. marked takes the text apart; elements are made here, one kind at a time, so
// that whatever a model writes stays text: HTML is shown as it is written, links go to http, https
// and mailto only, and images become links (this page loads nothing from elsewhere).

import {copyButton, h} from '/page/dom.js';
import {highlighted} from '/page/highlight.js';

const ENTITIES = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  nbsp: '\u00a0',
  copy: '©',
  reg: '®',
  trade: '™',
  hellip: '…',
  mdash: '—',
  ndash: '–',
  times: '×',
  middot: '·',
  bull: '•',
  rarr: '→',
  larr: '←',
  deg: '°',
  le: '≤',
  ge: '≥',
  ne: '≠',
  plusmn: '±',
  euro: '€',
  sect: '§',
  laquo: '«',
  raquo: '»',
};

// marked escapes text for HTML; this takes it back, and reads the entities of the writer.
function plain(text) {
  return text.replace(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|(\w+));/gi, (whole, decimal, hex, name) => {
    if (name) {
      return Object.hasOwn(ENTITIES, name) ? ENTITIES[name] : whole;
    }
    const code = decimal ? Number(decimal) : parseInt(hex, 16);
    return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : '\ufffd';
  });
}

// The address if it may be followed, else null.
export function safeAddress(text) {
  try {
    const url = new URL(text);
    return ['http:', 'https:', 'mailto:'].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

function link(token, children) {
  const address = safeAddress(plain(token.href));
  return address === null
    ? h('span', {}, ...children)
    : h(
        'a',
        {
          href: address,
          target: '_blank',
          rel: 'noopener noreferrer nofollow',
          title: token.title && plain(token.title),
        },
        ...children,
      );
}

const INLINE = {
  text: (token) => (token.tokens ? inline(token.tokens) : [plain(token.text)]),
  escape: (token) => [plain(token.text)],
  html: (token) => [token.raw],
  strong: (token) => [h('strong', {}, ...inline(token.tokens))],
  em: (token) => [h('em', {}, ...inline(token.tokens))],
  del: (token) => [h('del', {}, ...inline(token.tokens))],
  codespan: (token) => [h('code', {}, plain(token.text))],
  br: () => [h('br')],
  link: (token) => [link(token, inline(token.tokens))],
  image: (token) => [link(token, [`[image: ${plain(token.text) || 'without a description'}]`])],
};

function inline(tokens) {
  return tokens.flatMap((token) => (INLINE[token.type] ?? ((other) => [other.raw]))(token));
}

export function codeBlock(code, language, isColoured = true) {
  const inner = h('code', {}, ...(isColoured ? highlighted(code, language) : [code]));
  return h(
    'div',
    {class: 'code-block'},
    h(
      'div',
      {class: 'code-head'},
      h('span', {}, language || 'text'),
      copyButton('Copy code', () => inner.textContent),
    ),
    h('pre', {tabindex: '0', role: 'region', 'aria-label': `Code, ${language || 'text'}`}, inner),
  );
}

function list(token) {
  const items = token.items.map((item) => {
    const box = item.task
      ? [
          h('input', {
            type: 'checkbox',
            disabled: true,
            checked: item.checked,
            'aria-label': item.checked ? 'done' : 'to do',
          }),
          ' ',
        ]
      : [];
    return h('li', {class: item.task ? 'task' : null}, ...box, ...blocks(item.tokens));
  });
  return h(
    token.ordered ? 'ol' : 'ul',
    {start: token.ordered && token.start !== 1 ? token.start : null},
    ...items,
  );
}

function table(token) {
  const cell = (tag, scope) => (content, column) =>
    h(
      tag,
      {scope, class: token.align[column] ? `align-${token.align[column]}` : null},
      ...inline(content.tokens),
    );
  return h(
    'div',
    {class: 'table-frame', tabindex: '0', role: 'region', 'aria-label': 'Table'},
    h(
      'table',
      {},
      h('thead', {}, h('tr', {}, ...token.header.map(cell('th', 'col')))),
      h('tbody', {}, ...token.rows.map((row) => h('tr', {}, ...row.map(cell('td', null))))),
    ),
  );
}

const BLOCK = {
  space: () => [],
  hr: () => [h('hr')],
  heading: (token, outline) => [h(`h${outline.levelOf(token.depth)}`, {}, ...inline(token.tokens))],
  paragraph: (token) => [h('p', {}, ...inline(token.tokens))],
  text: (token) => inline([token]),
  html: (token) => [h('p', {class: 'literal'}, token.raw.trimEnd())],
  blockquote: (token) => [h('blockquote', {}, ...blocks(token.tokens))],
  code: (token) => [codeBlock(token.text, (token.lang ?? '').trim().split(/\s/, 1)[0])],
  list: (token) => [list(token)],
  table: (token) => [table(token)],
};

// Levels of headings: the page has its own h1 and h2, so a text begins with h3 whatever its first
// depth is, and goes down one level at a time, as readers who go from heading to heading need it.
class Outline {
  constructor(first = null, latest = 2) {
    this.first = first;
    this.latest = latest;
  }
  copy() {
    return new Outline(this.first, this.latest);
  }
  levelOf(depth) {
    this.first ??= depth;
    this.latest = Math.min(Math.max(depth - this.first + 3, 3), this.latest + 1, 6);
    return this.latest;
  }
}

function blocks(tokens, outline = new Outline()) {
  return tokens.flatMap((token) =>
    (BLOCK[token.type] ?? ((other) => [h('p', {}, other.raw)]))(token, outline),
  );
}

// As marked does before it reads; done before as well, its tokens' `raw` are pieces of the text.
function normalised(text) {
  return text
    .replace(/\r\n|\r/g, '\n')
    .replace(/^( *)(\t+)/gm, (_, spaces, tabs) => spaces + '    '.repeat(tabs.length));
}

// The blocks of a text, each with the place where it ends in `end`; null from the first one on whose
// `raw` is not what stands there (marked leaves out white space, and definitions of links). Null for what marked cannot
// read, such as ten thousand quotes in one another.
function tokensOf(text) {
  let tokens;
  try {
    tokens = new window.marked.Lexer({...window.marked.defaults, mangle: false}).lex(text);
  } catch {
    return null;
  }
  let at = 0;
  for (const token of tokens) {
    while (at !== null && !text.startsWith(token.raw, at)) {
      at = /\s/.test(text.charAt(at)) ? at + 1 : null;
    }
    at = at === null ? null : at + token.raw.length;
    token.end = at;
  }
  return tokens;
}

const lastSolid = (tokens, before) => {
  let at = before - 1;
  while (at >= 0 && tokens[at].type === 'space') {
    --at;
  }
  return at;
};

// How many blocks at the beginning of an unfinished text cannot change any more.
function numThatStay(tokens) {
  const most = Math.max(0, lastSolid(tokens, lastSolid(tokens, tokens.length)));
  const unplaced = tokens.findIndex((token) => token.end === null);
  return unplaced < 0 ? most : Math.min(most, unplaced);
}

// A text that grows. Blocks that cannot change any more are made once and then left alone; only the
// last two are made again when text comes.
export class MarkdownView {
  #text = ''; // all of it
  #start = 0; // of the tail: what is before it is settled
  #settled = []; // `raw` of the settled blocks
  #tail = []; // elements that are made again
  #openCode = null; // the code block that the tail consists of
  #isComplete = false;
  #outline = new Outline(); // of the settled blocks

  // `onSettled(element)` is told of every block that is complete.
  constructor(target, onSettled = () => {}) {
    this.target = target;
    this.onSettled = onSettled;
  }

  // `text` continues what was given before; with `isComplete` it is all there is.
  update(text, isComplete) {
    const whole = normalised(text);
    if (whole === this.#text && isComplete === this.#isComplete) {
      return;
    }
    this.#text = whole;
    this.#isComplete = isComplete;
    const isAtOnce = this.#start === 0;
    const tokens = tokensOf(whole.slice(this.#start));
    if (tokens === null) {
      this.#replaceTail([h('p', {class: 'literal'}, whole.slice(this.#start))]);
      return;
    }
    const numSettled = isComplete ? tokens.length : numThatStay(tokens);
    this.#settle(tokens.slice(0, numSettled));
    this.#showTail(tokens.slice(numSettled));
    if (isComplete) {
      this.#start = whole.length;
      if (!isAtOnce) {
        this.#checkWhole();
      }
    }
  }

  #settle(tokens) {
    if (tokens.length === 0) {
      return;
    }
    this.#replaceTail([]);
    this.#start += tokens.at(-1).end ?? 0;
    for (const token of tokens) {
      this.#settled.push(token.raw);
      const elements = blocks([token], this.#outline);
      this.target.append(...elements);
      elements.forEach((element) => this.onSettled(element));
    }
  }

  #showTail(tokens) {
    const solid = tokens.filter((token) => token.type !== 'space');
    if (solid.length === 1 && solid[0].type === 'code') {
      this.#showOpenCode(solid[0]);
    } else {
      this.#replaceTail(blocks(solid, this.#outline.copy()));
    }
  }

  // A long program is written line by line: only what is new is added, colours come at its end.
  #showOpenCode(token) {
    const open = this.#openCode;
    if (open && token.text.startsWith(open.text) && open.lang === token.lang) {
      open.code.append(token.text.slice(open.text.length));
      open.text = token.text;
      return;
    }
    const block = codeBlock(token.text, token.lang ?? '', false);
    this.#replaceTail([block]);
    this.#openCode = {code: block.querySelector('code'), text: token.text, lang: token.lang};
  }

  #replaceTail(nodes) {
    this.#tail.forEach((node) => node.remove());
    // Strings become nodes here, so that they can be removed.
    this.#tail = nodes.map((node) => (typeof node === 'string' ? document.createTextNode(node) : node));
    this.#openCode = null;
    this.target.append(...this.#tail);
  }

  // The end result is what the whole text gives: a definition of links or a list may have joined
  // what was settled apart.
  #checkWhole() {
    const tokens = tokensOf(this.#text);
    const hasDefinition = tokens && Object.keys(tokens.links).length > 0;
    if (
      tokens &&
      (hasDefinition ||
        tokens.length !== this.#settled.length ||
        tokens.some((token, at) => token.raw !== this.#settled[at]))
    ) {
      this.target.replaceChildren(...blocks(tokens));
    }
  }
}
