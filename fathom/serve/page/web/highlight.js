// Code in colours: Prism finds the tokens, elements are made here.

import {h} from '/page/dom.js';

const MAX_LENGTH = 100000; // beyond, plain: colouring would hold up the page

const NAMES = {
  'c++': 'cpp',
  h: 'c',
  hpp: 'cpp',
  cc: 'cpp',
  js: 'javascript',
  mjs: 'javascript',
  sh: 'bash',
  shell: 'bash',
  console: 'bash',
  zsh: 'bash',
  py: 'python',
  rs: 'rust',
  golang: 'go',
  ts: 'typescript',
  yml: 'yaml',
  html: 'markup',
  xml: 'markup',
  svg: 'markup',
  dockerfile: 'docker',
  make: 'makefile',
  tex: 'latex',
  kt: 'kotlin',
  jl: 'julia',
  pl: 'perl',
  hs: 'haskell',
  patch: 'diff',
  'c#': 'csharp',
  cs: 'csharp',
  rb: 'ruby',
  md: 'markdown',
};

function nodesOf(token) {
  if (typeof token === 'string') {
    return [document.createTextNode(token)];
  }
  if (Array.isArray(token)) {
    return token.flatMap(nodesOf);
  }
  return [h('span', {class: `code-${token.type}`}, ...nodesOf(token.content))];
}

// The nodes of `code`; plain text for a language that is not known.
export function highlighted(code, language) {
  const name = language.toLowerCase();
  const grammars = window.Prism?.languages ?? {};
  const known = NAMES[name] ?? name;
  const grammar = Object.hasOwn(grammars, known) ? grammars[known] : null;
  if (grammar === null || typeof grammar !== 'object' || code.length > MAX_LENGTH) {
    return [document.createTextNode(code)];
  }
  return nodesOf(window.Prism.tokenize(code, grammar));
}
