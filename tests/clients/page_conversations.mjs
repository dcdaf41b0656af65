// Conversations on the web page: sending, branches, keeping. Tests of page_test.mjs.
import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';
import path from 'node:path';

import {canned, entries, eventually, isDone, prompt, replies, send, test, users} from './page_driver.mjs';

test(
  'a message is sent and its reply streams in',
  async ({page}) => {
    await send(page, 'slow');
    await eventually(
      'a part of the reply',
      async () => (await replies(page).locator('.prose').last().textContent()).length > 20,
    );
    assert.equal(await replies(page).getAttribute('aria-busy'), 'true');
    const early = (await replies(page).locator('.prose').last().textContent()).length;
    await eventually(
      'more of the reply',
      async () => (await replies(page).locator('.prose').last().textContent()).length > early,
    );
    await page.getByRole('button', {name: 'Stop', exact: true}).click();
    await isDone(page, 1);
  },
  canned,
);

test('a reply is shown whole, and the list has the conversation', async ({page}) => {
  await send(page, 'Hello there');
  await isDone(page, 1);
  assert.notEqual((await replies(page).locator('.prose').last().textContent()).trim(), '');
  assert.equal(await users(page).locator('.user-text').textContent(), 'Hello there');
  assert.equal(await page.locator('#title').textContent(), 'Hello there');
  assert.equal(await entries(page).count(), 1);
  assert.equal(await prompt(page).inputValue(), '');
});

test('Shift+Enter makes a line, Enter sends both', async ({page}) => {
  await prompt(page).fill('one');
  await prompt(page).press('Shift+Enter');
  await prompt(page).pressSequentially('two');
  await prompt(page).press('Enter');
  await isDone(page, 1);
  assert.equal(await users(page).locator('.user-text').textContent(), 'one\ntwo');
});

test(
  'Escape stops a reply, what came stays, and the server is told',
  async ({page, server}) => {
    await send(page, 'slow');
    await eventually(
      'a part of the reply',
      async () => (await replies(page).locator('.prose').last().textContent()).length > 20,
    );
    await page.keyboard.press('Escape');
    await isDone(page, 1);
    assert.match(await replies(page).locator('.problem').textContent(), /Stopped/);
    assert.match(await replies(page).locator('.prose').last().textContent(), /^one two/);
    await eventually('the server to have nothing running', async () =>
      /fathom_requests_running 0/.test(await (await fetch(`${server.url}/metrics`)).text()),
    );
  },
  canned,
);

test(
  'a second turn sends the first, with the system prompt and the parameters',
  async ({page, server}) => {
    await page.keyboard.press('Alt+p');
    await page.getByLabel('System prompt').fill('Be brief.');
    await page.getByLabel('Temperature').fill('0.25');
    await page.getByLabel('Top-p').fill('1.5'); // out of range: not sent
    await page.getByLabel('Longest reply').fill('77');
    await page.getByLabel('Seed').fill('9');
    await page.getByLabel('Thinking', {exact: true}).selectOption('enabled');
    await page.getByLabel('Effort of thinking').selectOption('max');
    await send(page, 'first');
    await isDone(page, 1);
    await send(page, 'second');
    await isDone(page, 2);
    const request = (await server.requests()).at(-1);
    const roles = request.messages.map((message) => message.role);
    assert.deepEqual(roles, ['system', 'user', 'assistant', 'user']);
    assert.equal(request.messages[0].content, 'Be brief.');
    assert.equal(
      request.messages[2].content,
      await replies(page).first().locator('.prose').last().textContent(),
    );
    const {messages, ...rest} = request;
    assert.deepEqual(rest, {
      model: 'deepseek-v4-flash',
      temperature: 0.25,
      max_tokens: 77,
      seed: 9,
      thinking: {type: 'enabled'},
      reasoning_effort: 'max',
      stream: true,
      stream_options: {include_usage: true},
    });
  },
  canned,
);

test('a reply that is asked for again is a branch, and both can be read', async ({page}) => {
  await send(page, 'Tell me');
  await isDone(page, 1);
  const first = await replies(page).locator('.prose').last().textContent();
  await replies(page).getByRole('button', {name: 'Reply again'}).click();
  await eventually('a second branch', async () =>
    (await page.locator('.branch-count').allTextContents()).includes('2/2'),
  );
  await isDone(page, 1);
  await page.getByRole('button', {name: 'Previous branch'}).click();
  assert.equal(await page.locator('.branch-count').textContent(), '1/2');
  assert.equal(await replies(page).locator('.prose').last().textContent(), first);
  assert.ok(
    await page
      .getByRole('button', {name: 'Next branch'})
      .evaluate((button) => button === document.activeElement),
  );
  await page.keyboard.press('Enter');
  assert.equal(await page.locator('.branch-count').textContent(), '2/2');
});

test('an edited message is a branch with what followed the earlier one kept', async ({page}) => {
  await send(page, 'alpha');
  await isDone(page, 1);
  await send(page, 'beta');
  await isDone(page, 2);
  await users(page).first().hover();
  await users(page).first().getByRole('button', {name: 'Edit message'}).click();
  await page.getByRole('textbox', {name: 'Edit message'}).fill('gamma');
  await page.getByRole('textbox', {name: 'Edit message'}).press('Enter');
  await isDone(page, 1);
  assert.deepEqual(await users(page).locator('.user-text').allTextContents(), ['gamma']);
  await users(page).first().getByRole('button', {name: 'Previous branch'}).click();
  assert.deepEqual(await users(page).locator('.user-text').allTextContents(), ['alpha', 'beta']);
  assert.equal(await replies(page).count(), 2);
});

test('conversations outlive a reload, with their branches', async ({page}) => {
  await send(page, 'keep me');
  await isDone(page, 1);
  await replies(page).getByRole('button', {name: 'Reply again'}).click();
  await eventually('a second branch', async () =>
    (await page.locator('.branch-count').allTextContents()).includes('2/2'),
  );
  await isDone(page, 1);
  const text = await replies(page).locator('.prose').last().textContent();
  await eventually('the end to be saved', async () =>
    (
      await page.evaluate(
        () =>
          new Promise((resolve) => {
            const request = indexedDB.open('fathom');
            request.onsuccess = () => {
              const all = request.result.transaction('conversations').objectStore('conversations').getAll();
              all.onsuccess = () =>
                resolve(all.result.flatMap((one) => Object.values(one.nodes).map((node) => node.state)));
            };
          }),
      )
    ).every((state) => state === 'done'),
  );
  await page.reload();
  await isDone(page, 1);
  assert.equal(await replies(page).locator('.prose').last().textContent(), text);
  assert.equal(await page.locator('.branch-count').textContent(), '2/2');
  await page.keyboard.press('Alt+n');
  await eventually('an empty page', async () => (await replies(page).count()) === 0);
  await entries(page).getByRole('link').click();
  await isDone(page, 1);
});

test(
  'a reply goes on while another conversation is read',
  async ({page}) => {
    await send(page, 'slow');
    await eventually(
      'a part of the reply',
      async () => (await replies(page).locator('.prose').last().textContent()).length > 20,
    );
    await page.keyboard.press('Alt+n');
    await send(page, 'another');
    await isDone(page, 1);
    await eventually(
      'only the slow one to run',
      async () => (await page.locator('.entry.running').count()) === 1,
    );
    await page.locator('.entry.running a').click();
    await eventually('the slow reply', async () =>
      /^one two/.test(await replies(page).locator('.prose').last().textContent()),
    );
    const length = (await replies(page).locator('.prose').last().textContent()).length;
    await eventually(
      'more of it',
      async () => (await replies(page).locator('.prose').last().textContent()).length > length,
    );
    await page.keyboard.press('Escape');
    await isDone(page, 1);
  },
  canned,
);

test('conversations are renamed, searched, deleted and brought back', async ({page}) => {
  await send(page, 'whale song');
  await isDone(page, 1);
  await page.keyboard.press('Alt+n');
  await send(page, 'tide tables');
  await isDone(page, 1);
  await page.getByRole('button', {name: 'Rename whale song'}).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('textbox', {name: 'New title'}).fill('Humpbacks');
  await page.keyboard.press('Enter');
  await eventually('the new title', async () =>
    (await entries(page).allTextContents()).some((text) => text.startsWith('Humpbacks')),
  );
  await page.getByLabel('Search conversations').fill('SONG whale'); // in a message
  await eventually('one to be found', async () => (await entries(page).count()) === 1);
  assert.equal(await entries(page).getByRole('link').textContent(), 'Humpbacks');
  await page.getByRole('button', {name: 'Delete Humpbacks'}).focus();
  await page.keyboard.press('Enter');
  await eventually('it to be gone', async () => (await entries(page).count()) === 0);
  await page.getByRole('button', {name: 'Undo'}).click();
  await eventually('it to be back', async () => (await entries(page).count()) === 1);
  await page.getByLabel('Search conversations').fill('');
  await eventually('both', async () => (await entries(page).count()) === 2);
});

test('conversations go into a file and come back from it', async ({page, folder}) => {
  await send(page, 'export me');
  await isDone(page, 1);
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', {name: 'Export', exact: true}).click(),
  ]);
  const file = path.join(folder, 'export.json');
  await download.saveAs(file);
  assert.equal(JSON.parse(readFileSync(file)).conversations.length, 1);
  await page.locator('#import-file').setInputFiles(file);
  await eventually('the copy', async () => (await entries(page).count()) === 2);
  await page.locator('#import-file').setInputFiles({
    name: 'bad.json',
    mimeType: 'application/json',
    buffer: Buffer.from(
      '{"conversations": [{"version": 1, "nodes": {"a": {"id": "a", "parent": "z", "role": "user", "content": "x"}}}]}',
    ),
  });
  await eventually('the reason', async () =>
    /conversations\[0\]: expected every message to hang on another/.test(
      await page.locator('#banner').textContent(),
    ),
  );
  assert.equal(await entries(page).count(), 2);
});

test(
  'a reply that the page was closed on is kept as far as it came',
  async ({page}) => {
    await send(page, 'slow');
    await eventually('a saved part', async () =>
      page.evaluate(
        () =>
          new Promise((resolve) => {
            const request = indexedDB.open('fathom');
            request.onsuccess = () => {
              const all = request.result.transaction('conversations').objectStore('conversations').getAll();
              all.onsuccess = () =>
                resolve(
                  all.result.some((one) =>
                    Object.values(one.nodes).some(
                      (node) => node.role === 'assistant' && node.content.length > 20,
                    ),
                  ),
                );
            };
          }),
      ),
    );
    await page.reload();
    await isDone(page, 1);
    assert.match(
      await replies(page).locator('.problem').textContent(),
      /closed before this reply was complete/,
    );
    assert.match(await replies(page).locator('.prose').last().textContent(), /^one two/);
  },
  canned,
);

test('two tabs show the same conversation', async ({page}) => {
  await send(page, 'from the first');
  await isDone(page, 1);
  const other = await page.context().newPage();
  await other.goto(page.url());
  await isDone(other, 1);
  await send(other, 'from the second');
  await isDone(other, 2);
  await isDone(page, 2);
  assert.deepEqual(await users(page).locator('.user-text').allTextContents(), [
    'from the first',
    'from the second',
  ]);
});

// Random documents out of pieces that meet badly, in random portions: the elements at the end are
// those of the text as a whole.

test(
  'a reply that was cut goes on in the same place',
  async ({page, server}) => {
    await send(page, 'cut');
    await isDone(page, 1);
    await replies(page).getByRole('button', {name: 'Continue'}).click();
    await eventually(
      'the rest',
      async () =>
        (await replies(page).locator('.prose').last().textContent()) === 'This reply is cut and goes on.',
    );
    await isDone(page, 1);
    assert.equal(await replies(page).locator('.prose > p').count(), 1);
    assert.equal(await replies(page).locator('.problem').isVisible(), false);
    assert.deepEqual((await server.requests()).at(-1).messages, [
      {role: 'user', content: 'cut'},
      {role: 'assistant', content: 'This reply is cut', prefix: true},
    ]);
    await page.reload();
    await isDone(page, 1);
    assert.equal(
      await replies(page).locator('.prose').last().textContent(),
      'This reply is cut and goes on.',
    );
  },
  canned,
);
