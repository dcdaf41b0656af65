// The web page for everybody: keyboard, screen readers, colours, small screens. Tests of page_test.mjs.
import assert from 'node:assert/strict';
import {readFileSync} from 'node:fs';

import {canned, eventually, isDone, nodeRequire, prompt, replies, send, test, users} from './page_driver.mjs';

test('everything is done with the keyboard alone', async ({page}) => {
  assert.equal(await page.evaluate(() => document.activeElement.id), 'prompt');
  await page.keyboard.type('by keyboard');
  await page.keyboard.press('Enter');
  await isDone(page, 1);
  await page.keyboard.press('Alt+e');
  await page.keyboard.press('Control+a');
  await page.keyboard.type('edited');
  await page.keyboard.press('Enter');
  await eventually(
    'the edit',
    async () => (await users(page).locator('.user-text').textContent()) === 'edited',
  );
  await isDone(page, 1);
  await page.keyboard.press('Alt+r');
  await eventually(
    'a branch',
    async () =>
      (await page.locator('.branch-count').allTextContents()).filter((text) => text === '2/2').length === 2,
  );
  await isDone(page, 1);
  await page.keyboard.press('Alt+f');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'search');
  await page.keyboard.press('Alt+p');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'close-settings');
  await page.keyboard.press('Escape');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'open-settings');
  await page.keyboard.press('Alt+k');
  assert.ok(await page.getByRole('dialog', {name: 'Keys'}).isVisible());
  await page.keyboard.press('Escape');
  await page.keyboard.press('Alt+m');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'prompt');
  // Tab reaches every control of the page, and what has the focus is seen to have it.
  const reached = new Set();
  for (let at = 0; at < 80; ++at) {
    await page.keyboard.press('Tab');
    reached.add(
      await page.evaluate(() => {
        const element = document.activeElement;
        const style = getComputedStyle(element);
        const isSeen = style.outlineStyle !== 'none' || element.id === 'prompt' || element === document.body;
        return (
          (isSeen ? '' : 'unseen ') + (element.id || element.getAttribute('aria-label') || element.tagName)
        );
      }),
    );
  }
  for (const id of [
    'new-conversation',
    'search',
    'export',
    'import',
    'shortcuts',
    'theme',
    'model',
    'open-settings',
    'prompt',
    'send',
    'Reply again',
    'Copy reply',
    'Edit message',
    'Previous branch',
  ]) {
    assert.ok(reached.has(id), `Tab reaches ${id}; it reached ${[...reached].join(', ')}`);
  }
  assert.deepEqual(
    [...reached].filter((id) => id.startsWith('unseen')),
    [],
  );
});

test(
  'replies are read out as they come, each block once',
  async ({page}) => {
    await page.evaluate(() => {
      window.said = [];
      new MutationObserver((records) =>
        records.forEach((record) => record.addedNodes.forEach((node) => window.said.push(node.textContent))),
      ).observe(document.getElementById('announcer'), {childList: true});
    });
    await send(page, 'markdown');
    await isDone(page, 1);
    await eventually(
      'the end',
      async () => (await page.evaluate(() => window.said)).at(-1) === 'The reply is complete.',
    );
    const said = await page.evaluate(() => window.said);
    assert.equal(said.filter((text) => text === 'A sounding').length, 1);
    assert.equal(said.filter((text) => text === 'A block of code.').length, 2);
    assert.equal(await page.locator('#announcer').getAttribute('aria-live'), 'polite');
  },
  canned,
);

test('colours follow the system and the choice', async ({page}) => {
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await page.emulateMedia({colorScheme: 'light'});
  const light = await ground();
  await page.emulateMedia({colorScheme: 'dark'});
  const dark = await ground();
  assert.notEqual(light, dark);
  await page.locator('#theme').click(); // light
  assert.equal(await ground(), light);
  await page.reload();
  assert.equal(await ground(), light);
  await page.locator('#theme').click(); // dark
  await page.emulateMedia({colorScheme: 'light'});
  assert.equal(await ground(), dark);
  await page.locator('#theme').click(); // the system's
  assert.equal(await ground(), light);
});

test('it works 360 pixels wide', async ({page}) => {
  await page.setViewportSize({width: 360, height: 700});
  await send(page, 'markdown');
  await isDone(page, 1);
  const width = await page.evaluate(() =>
    Math.max(document.documentElement.scrollWidth, document.querySelector('.scroller').scrollWidth),
  );
  assert.ok(width <= 360, `${width} pixels`);
  assert.equal(await page.locator('#sidebar').isVisible(), false);
  await page.getByRole('button', {name: 'Conversations', exact: true}).click();
  assert.ok(await page.locator('#sidebar').isVisible());
  await page.keyboard.press('Escape');
  assert.equal(await page.locator('#sidebar').isVisible(), false);
  await page.getByRole('button', {name: 'Parameters', exact: true}).click();
  assert.ok(await page.getByLabel('Temperature').isVisible());
  await page.getByRole('button', {name: 'Close parameters'}).click();
  for (const id of ['open-sidebar', 'open-settings', 'send']) {
    const box = await page.locator(`#${id}`).boundingBox();
    assert.ok(
      box.width >= 24 && box.height >= 24 && box.x >= 0 && box.x + box.width <= 360,
      `${id}: ${JSON.stringify(box)}`,
    );
  }
});

for (const colorScheme of ['light', 'dark']) {
  test(`axe finds nothing wrong, ${colorScheme}`, async ({page}) => {
    await page.emulateMedia({colorScheme, reducedMotion: 'reduce'});
    await send(page, 'think');
    await isDone(page, 1);
    await send(page, 'markdown');
    await isDone(page, 2);
    await send(page, 'fail 500');
    await isDone(page, 3);
    if (await page.locator('.reasoning').first().isVisible()) {
      await page.locator('.reasoning summary').first().click();
    }
    await page.keyboard.press('Alt+p');
    const check = async (where) => {
      await page.evaluate(readFileSync(nodeRequire.resolve('axe-core/axe.min.js'), 'utf8'));
      const result = await page.evaluate(() =>
        axe.run(document, {
          runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
        }),
      );
      assert.ok(result.passes.length > 15, `axe ran: ${where}, ${result.passes.length} rules passed`);
      assert.deepEqual(
        result.violations.map(
          (one) =>
            `${where}: ${one.id}: ${one.nodes.map((node) => node.html + ' ' + node.failureSummary).join('\n')}`,
        ),
        [],
      );
    };
    await check('conversation');
    await page.getByRole('button', {name: 'Keys'}).click();
    await check('keys');
    await page.keyboard.press('Escape');
    await page.setViewportSize({width: 360, height: 740});
    await check('narrow');
  });
}
