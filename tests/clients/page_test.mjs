// The web page in a real Chromium.
//
// usage: node page_test.mjs --node-dir DIR (--dump-page PROGRAM [--python PYTHON] | --url URL)
//                           [--chromium PROGRAM] [--screenshots FOLDER] [--only TEXT] [--seed NUMBER]
//
// DIR holds node_modules with playwright-core and axe-core. Without --url the page talks to
// tests/support/canned_chat_server.py. With it, to that server: then tests that need canned replies
// or a server that goes away are left out, and said to be.
import assert from 'node:assert/strict';
import {execFileSync} from 'node:child_process';
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';

import {CannedServer, WAIT_MS, nodeRequire, options, tests} from './page_driver.mjs';
import {takeScreenshots} from './page_screenshots.mjs';
import './page_conversations.mjs';
import './page_replies.mjs';
import './page_access.mjs';

const {chromium} = nodeRequire('playwright-core');

async function main() {
  const folder = mkdtempSync(path.join(tmpdir(), 'fathom-page-'));
  const browser = await chromium.launch({executablePath: options.chromium, args: ['--no-sandbox']});
  let server = {url: options.url};
  if (!options.url) {
    const program = path.resolve(options['dump-page']);
    execFileSync(program, [folder]);
    server = new CannedServer(folder);
    await server.start();
  }
  // A browser of its own for every test; anything that it would load from elsewhere, an error of the
  // page's scripts or of its policy fails the test.
  const troubles = [];
  const open = async (url, contextOptions = {}) => {
    const context = await browser.newContext({
      permissions: ['clipboard-read', 'clipboard-write'],
      viewport: {width: 1280, height: 800},
      ...contextOptions,
    });
    context.on('request', (request) => {
      if (!request.url().startsWith(url) && !request.url().startsWith('blob:')) {
        troubles.push(`asked for ${request.url()}`);
      }
    });
    const page = await context.newPage();
    page.on('pageerror', (error) => troubles.push(`page error: ${error.stack}`));
    page.on('console', (message) => {
      const isExpected = /Failed to load resource/.test(message.text());
      if (['error', 'warning'].includes(message.type()) && !isExpected) {
        troubles.push(`console: ${message.text()}`);
      }
    });
    page.setDefaultTimeout(WAIT_MS);
    await page.goto(url);
    await page.waitForFunction(
      () => document.getElementById('model').options.length > 0 || document.querySelector('dialog[open]'),
    );
    return page;
  };
  let numFailed = 0;
  let numPassed = 0;
  try {
    if (options.screenshots) {
      await takeScreenshots(open, server.url, options.screenshots);
    }
    for (const {name, run, needsCanned} of tests.filter((one) => one.name.includes(options.only))) {
      if (needsCanned && options.url) {
        console.log(`left out, it needs canned replies: ${name}`);
        continue;
      }
      troubles.length = 0;
      const start = Date.now();
      try {
        const page = await open(server.url);
        await run({page, server, folder, open, pageFolder: folder});
        assert.deepEqual(troubles, []);
        numPassed += 1;
        console.log(`ok      ${name} (${Date.now() - start} ms)`);
      } catch (error) {
        numFailed += 1;
        console.log(`FAILED  ${name}\n${error.stack}\n${troubles.join('\n')}`);
      }
      await Promise.all(browser.contexts().map((context) => context.close()));
    }
  } finally {
    await browser.close();
    await server.stop?.();
    rmSync(folder, {recursive: true, force: true});
  }
  console.log(`${numPassed} passed, ${numFailed} failed`);
  process.exitCode = numFailed > 0 || numPassed === 0 ? 1 : 0;
}

await main();
