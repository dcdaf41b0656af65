// Making elements. Text is always set as text: nothing on this page parses a string as HTML.

const SVG = 'http://www.w3.org/2000/svg';

// h('button', {class: 'x', onclick: f, 'aria-label': 'y'}, 'text', child, ...). Properties that are
// null, undefined or false are left out; true stands for an empty attribute.
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === 'function') {
      element.addEventListener(name.slice(2), value);
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? '' : value);
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `#icon-${name}`); // index.html has them
  svg.append(use);
  return svg;
}

export function svg(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, value);
  }
  return element;
}

export const byId = (id) => document.getElementById(id);

export function iconButton(name, label, onclick, properties = {}) {
  return h(
    'button',
    {type: 'button', class: 'icon-button', 'aria-label': label, title: label, onclick, ...properties},
    icon(name),
  );
}

// A button that copies `text()` and says for a moment that it has.
export function copyButton(label, text) {
  const button = iconButton('copy', label, async () => {
    const done = await copyText(text());
    button.replaceChildren(icon(done ? 'check' : 'warning'));
    announce(done ? 'Copied' : 'The browser did not allow copying');
    setTimeout(() => button.replaceChildren(icon('copy')), 1500);
  });
  return button;
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // The clipboard needs https or localhost; the old way works on plain http too.
    const area = h('textarea', {class: 'hidden', 'aria-hidden': 'true'});
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}

// Says it to screen readers, after what they are saying.
export function announce(text) {
  const line = h('p', {}, text);
  byId('announcer').append(line);
  setTimeout(() => line.remove(), 10000);
}
