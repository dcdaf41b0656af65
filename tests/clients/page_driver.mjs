// What the tests of the web page share: the options of page_test.mjs, the canned server, and what a
// person sees and does.
import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import {createRequire} from 'node:module';
import path from 'node:path';
import {parseArgs} from 'node:util';

export const {values: options} = parseArgs({
  options: {
    'node-dir': {type: 'string'},
    'dump-page': {type: 'string'},
    python: {type: 'string', default: 'python3'},
    url: {type: 'string'},
    chromium: {type: 'string', default: '/usr/bin/chromium'},
    screenshots: {type: 'string'},
    only: {type: 'string', default: ''},
    seed: {type: 'string'},
  },
});
export const nodeRequire = createRequire(path.resolve(options['node-dir'], 'package.json'));
const cannedServer = path.join(import.meta.dirname, '../support/canned_chat_server.py');
// A real model takes its time.
export const WAIT_MS = options.url ? 90000 : 15000;

// A canned server, which may be stopped and started again at the same address.
export class CannedServer {
  constructor(folder, ...flags) {
    this.flags = ['--page', folder, ...flags];
  }
  async start() {
    const port = this.url ? ['--port', new URL(this.url).port] : [];
    this.process = spawn(options.python, [cannedServer, ...this.flags, ...port], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.url = await new Promise((resolve, reject) => {
      this.process.stdout.once('data', (line) => resolve(String(line).trim()));
      this.process.once('exit', (code) => reject(new Error(`the canned server ended with ${code}`)));
    });
  }
  stop() {
    this.process.removeAllListeners('exit');
    return new Promise((resolve) => {
      this.process.once('exit', resolve);
      this.process.kill();
    });
  }
  async requests() {
    return (await fetch(`${this.url}/canned/requests`)).json();
  }
}

export const tests = [];
export const test = (name, run, {needsCanned = false} = {}) => tests.push({name, run, needsCanned});
export const canned = {needsCanned: true};

// What a person sees and does.
export const prompt = (page) => page.getByLabel('Message', {exact: true});
export const replies = (page) => page.locator('.message.assistant');
export const users = (page) => page.locator('.message.user');
export const entries = (page) => page.locator('.entry');

export async function send(page, text) {
  await prompt(page).fill(text);
  await prompt(page).press('Enter');
}

export async function isDone(page, count) {
  await page.waitForFunction(
    (expected) => {
      const all = document.querySelectorAll('.message.assistant');
      return all.length === expected && [...all].every((one) => one.getAttribute('aria-busy') === 'false');
    },
    count,
    {timeout: WAIT_MS},
  );
}

export async function eventually(what, check) {
  const end = Date.now() + WAIT_MS;
  for (;;) {
    if (await check()) {
      return;
    }
    assert.ok(Date.now() < end, `waited for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
