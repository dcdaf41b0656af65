// What the web page makes of replies and of failures. Tests of page_test.mjs.
import assert from 'node:assert/strict';

import {
  CannedServer,
  canned,
  entries,
  eventually,
  isDone,
  options,
  replies,
  send,
  test,
} from './page_driver.mjs';

test(
  'Markdown becomes elements, the same at the end as whole',
  async ({page}) => {
    await send(page, 'markdown');
    await isDone(page, 1);
    const prose = replies(page).locator('.prose').last();
    assert.equal(await prose.locator('h3').textContent(), 'A sounding');
    assert.equal(await prose.locator('ol > li').count(), 3);
    assert.equal(await prose.locator('ol ul > li').count(), 2);
    assert.equal(await prose.locator('table td').count(), 6);
    assert.deepEqual(
      await prose
        .locator('a')
        .evaluateAll((links) => links.map((link) => [link.href, link.rel, link.target])),
      [
        ['https://example.org/manual?a=1&b=2', 'noopener noreferrer nofollow', '_blank'],
        ['https://example.org/', 'noopener noreferrer nofollow', '_blank'],
      ],
    );
    assert.match(await prose.locator('blockquote').textContent(), /Deep water & a <b>long<\/b> line\./);
    assert.equal(await prose.locator('input[type=checkbox]').count(), 2);
    assert.ok((await prose.locator('.code-keyword').count()) > 0);
    const streamed = await prose.evaluate((element) => element.textContent);
    await page.reload();
    await isDone(page, 1);
    assert.equal(
      await replies(page)
        .locator('.prose')
        .last()
        .evaluate((element) => element.textContent),
      streamed,
    );
    await replies(page).getByRole('button', {name: 'Copy code'}).first().click();
    assert.match(
      await page.evaluate(() => navigator.clipboard.readText()),
      /^\/\/ Metres of a depth in fathoms\.\nconstexpr/,
    );
  },
  canned,
);

test(
  'reasoning is folded, counted, and opens',
  async ({page}) => {
    await send(page, 'think');
    await eventually('the thinking', async () =>
      /Thinking, about \d+ token/.test(await page.locator('.reasoning summary').textContent()),
    );
    await isDone(page, 1);
    assert.match(
      await page.locator('.reasoning summary').textContent(),
      /^Thought for (\d+\.\d s|\d+ ms), \d+ tokens$/,
    );
    assert.equal(await page.locator('.reasoning-text').isVisible(), false);
    await page.locator('.reasoning summary').press('Enter');
    assert.match(await page.locator('.reasoning-text').innerText(), /A fathom is two yards/);
    assert.equal(await replies(page).locator('strong').textContent(), '9.144 m');
    assert.match(await replies(page).locator('.figures').textContent(), /tokens\/s · first after \d/);
  },
  canned,
);

test(
  'who opens the reasoning at the end stays where its beginning is',
  async ({page}) => {
    await page.setViewportSize({width: 420, height: 420});
    await send(page, 'think');
    await isDone(page, 1);
    const summary = page.locator('.reasoning summary');
    const before = (await summary.boundingBox()).y;
    await summary.click();
    await page.waitForTimeout(300);
    assert.equal((await summary.boundingBox()).y, before);
    assert.ok(
      await page
        .locator('#scroller')
        .evaluate((element) => element.scrollHeight - element.clientHeight > 100),
      'there is what to scroll',
    );
  },
  canned,
);

test(
  'tool calls are shown',
  async ({page}) => {
    await send(page, 'weather');
    await isDone(page, 1);
    assert.equal(await page.locator('.tool-name').textContent(), 'Calls get_weather');
    assert.equal(
      await page.locator('.tool-call code').last().textContent(),
      '{"city": "Bergen <b>", "days": 2}',
    );
  },
  canned,
);

test(
  'whatever a model, a title or a name holds stays text',
  async ({page}) => {
    await send(page, 'hostile <img src=x onerror=window.hacked=20>');
    await isDone(page, 1);
    const isClean = async () => {
      assert.equal(await page.evaluate(() => window.hacked), undefined);
      assert.equal(
        await page
          .locator('main script, main img, main iframe, main svg:not(.icon, .empty-mark), nav img')
          .count(),
        0,
      );
    };
    await isClean();
    const text = await replies(page).textContent();
    for (const part of [
      '<script>window.hacked = 1</script>',
      '<svg onload="window.hacked = 6"></svg>',
      '[image: picture]',
      '<script>window.hacked = 11</script>',
      '<img src=x>',
    ]) {
      assert.ok(text.includes(part), `expected ${part} as text in ${text}`);
    }
    const addresses = await page
      .locator('main a')
      .evaluateAll((links) => links.map((link) => link.getAttribute('href')));
    assert.deepEqual(addresses, ['https://attacker.example/x.png']);
    assert.ok((await entries(page).getByRole('link').textContent()).includes('<img src=x'));
    await page.getByLabel('Model').selectOption({index: 1});
    await send(page, 'hostile');
    await isDone(page, 2);
    assert.ok((await replies(page).last().locator('.figures').textContent()).startsWith('<img src=x'));
    await page.reload();
    await isDone(page, 2);
    await isClean();
  },
  canned,
);

test('Markdown in portions is the same as whole', async ({page}) => {
  const seed = Number(options.seed ?? Date.now() % 1e9);
  const problem = await page.evaluate(async (seed_) => {
    const {MarkdownView} = await import('/page/markdown.js');
    let state = seed_;
    const random = (limit) => {
      // an LCG is random enough to cut texts
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * limit);
    };
    const parts = [
      '# One',
      '### Three',
      'plain text',
      'a *b* **c** `d`',
      '- item',
      '- [ ] task',
      '1. first',
      '2. second',
      '  nested',
      '\tindented',
      '    four',
      '```',
      '```cpp',
      'int x = 1;',
      '~~~',
      '> quote',
      '| a | b |',
      '|---|--:|',
      '| 1 | 2 |',
      '---',
      '***',
      '[x]: https://example.org/',
      '[x]',
      '<b>html',
      '<script>',
      '</script>',
      '&amp; &lt;',
      '\\*',
      '',
      '',
      '',
      '\r',
      'https://example.org',
      '![i](https://e.org/i.png)',
      '===',
      '\u00a0',
      '😀',
    ];
    for (let round = 0; round < 1500; ++round) {
      const text = Array.from({length: 1 + random(14)}, () => parts[random(parts.length)]).join('\n');
      const whole = document.createElement('div');
      new MarkdownView(whole).update(text, true);
      const grown = document.createElement('div');
      const view = new MarkdownView(grown);
      for (let at = 0; at < text.length;) {
        at = Math.min(text.length, at + 1 + random(12));
        view.update(text.slice(0, at), false);
      }
      view.update(text, true);
      if (grown.innerHTML !== whole.innerHTML) {
        return {text, grown: grown.innerHTML, whole: whole.innerHTML};
      }
    }
    return null;
  }, seed);
  assert.equal(problem, null, `seed ${seed}`);
});

test('events are the same however the bytes are cut', async ({page}) => {
  const problem = await page.evaluate(async () => {
    const {EventParser} = await import('/page/event_stream.js');
    const stream =
      ': note\r\n\r\ndata: one\n\ndata:two\ndata: three\n\nevent: x\r\ndata: four\r\ndata: 4\r\n\r\n\r\rid: 5\n\ndata:\n\ndata: five';
    const expected = JSON.stringify(['one', 'two\nthree', 'four\n4', '']);
    for (let first = 0; first <= stream.length; ++first) {
      for (let second = first; second <= stream.length; ++second) {
        const parser = new EventParser();
        const found = [stream.slice(0, first), stream.slice(first, second), stream.slice(second)].flatMap(
          (part) => parser.push(part),
        );
        if (JSON.stringify(found) !== expected) {
          return {first, second, found};
        }
      }
    }
    return null;
  });
  assert.equal(problem, null);
});

test(
  'errors are said in words and the reply can be asked for again',
  async ({page}) => {
    const cases = [
      [400, /refuses this request: canned <i>failure<\/i>/],
      [404, /does not know this/],
      [429, /busy.*asks to wait 7 seconds/],
      [500, /made an error/],
      [503, /not ready, or going down/],
      [418, /status 418/],
    ];
    for (const [status, words] of cases) {
      await page.keyboard.press('Alt+n');
      await send(page, `fail ${status}`);
      await isDone(page, 1);
      assert.match(await replies(page).locator('.problem').textContent(), words);
    }
    await replies(page).getByRole('button', {name: 'Try again'}).click();
    await isDone(page, 1);
    assert.equal(await page.locator('.branch-count').count(), 0, 'an empty failure is replaced');
    await page.keyboard.press('Alt+n');
    await send(page, 'break');
    await isDone(page, 1);
    assert.match(
      await replies(page).locator('.problem').textContent(),
      /connection broke before the reply was complete/,
    );
    assert.equal(await replies(page).locator('.prose').last().textContent(), 'This reply breaks off');
    await page.keyboard.press('Alt+n');
    await send(page, 'an error inside');
    await isDone(page, 1);
    assert.match(
      await replies(page).locator('.problem').textContent(),
      /stopped: canned error in the stream/,
    );
    await page.keyboard.press('Alt+n');
    await send(page, 'cut');
    await isDone(page, 1);
    assert.match(await replies(page).locator('.problem').textContent(), /reached the limit of tokens/);
  },
  canned,
);

test(
  'the page says when the server is gone, and goes on when it is back',
  async ({page, server}) => {
    await send(page, 'before');
    await isDone(page, 1);
    await server.stop();
    await send(page, 'while it is gone');
    await isDone(page, 2);
    assert.match(await replies(page).last().locator('.problem').textContent(), /cannot be reached/);
    await eventually('the banner', async () =>
      /cannot be reached/.test(await page.locator('#banner').textContent()),
    );
    assert.equal(await page.locator('#live-state').textContent(), 'not reachable');
    await server.start();
    await eventually('the banner to go', async () => (await page.locator('#banner').textContent()) === '');
    await replies(page).last().getByRole('button', {name: 'Try again'}).click();
    await eventually('the reply', async () =>
      /while it is gone/.test(await replies(page).last().locator('.prose').last().textContent()),
    );
  },
  canned,
);

test('a server that is still loading is asked again', async ({page}) => {
  let numRefused = 0;
  await page.route('**/v1/models', (route) => {
    numRefused += 1;
    return numRefused > 2
      ? route.continue()
      : route.fulfill({status: 503, json: {error: {message: 'the model is loading'}}});
  });
  await page.reload();
  await eventually('the reason', async () =>
    /not ready, or going down: the model is loading/.test(await page.locator('#banner').textContent()),
  );
  await eventually('the models', async () => (await page.locator('#model option').count()) > 0);
});

test(
  'a server with keys is asked again with the key, which is kept only if asked',
  async ({folder, open, pageFolder}) => {
    const server = new CannedServer(pageFolder, '--key', 'sk-right');
    await server.start();
    try {
      const page = await open(server.url);
      const dialog = page.getByRole('dialog', {name: 'API key'});
      await dialog.waitFor();
      await dialog.getByLabel('Key', {exact: true}).fill('sk-right');
      await page.keyboard.press('Enter');
      await eventually(
        'the models',
        async () => (await page.getByLabel('Model').locator('option').count()) === 2,
      );
      await send(page, 'with a key');
      await isDone(page, 1);
      assert.match(await replies(page).textContent(), /with a key/);
      assert.equal(await page.evaluate(() => localStorage.getItem('fathom.key')), null);
      assert.equal(await page.evaluate(() => sessionStorage.getItem('fathom.key')), 'sk-right');
    } finally {
      await server.stop();
    }
  },
  canned,
);

test(
  'the live panel shows what the server says',
  async ({page}) => {
    await eventually('figures', async () =>
      /Waiting\s*2/.test(await page.locator('#live-panel').innerText()),
    );
    const text = await page.locator('#live-panel').innerText();
    assert.match(text, /Prompt reused\s*63 %/);
    assert.match(text, /Cache\s*1\.4 GiB of 8\.0 GiB/);
    await send(page, 'slow');
    await eventually('a rate', async () => Number(await page.locator('.live-number').textContent()) > 30);
    assert.match(await page.locator('#live-panel').innerText(), /Running\s*1/);
    await page.keyboard.press('Escape');
    await isDone(page, 1);
  },
  canned,
);

test(
  'a long reply touches only its end',
  async ({page}) => {
    await send(page, 'long');
    await eventually('a first paragraph', async () => (await page.locator('.prose > p').count()) > 4);
    await page.evaluate(() => document.querySelector('.prose > p').setAttribute('data-kept', ''));
    await isDone(page, 1);
    assert.equal(await page.locator('.prose > p').count(), 400);
    assert.equal(await page.locator('.prose > p[data-kept]').count(), 1);
    // The reader who scrolls up is left there, and finds the way back.
    await page.locator('#scroller').evaluate((element) => {
      element.scrollTop = 0;
    });
    await page.getByRole('button', {name: 'Latest'}).click();
    await eventually('the end', async () =>
      page
        .locator('#scroller')
        .evaluate((element) => element.scrollHeight - element.scrollTop - element.clientHeight < 5),
    );
  },
  canned,
);

test('a conversation of a thousand messages opens at its end', async ({page}) => {
  const nodes = {};
  let parent = 'root';
  for (let at = 0; at < 1000; ++at) {
    const isUser = at % 2 === 0;
    nodes[`n${at}`] = {
      id: `n${at}`,
      parent,
      role: isUser ? 'user' : 'assistant',
      content: isUser
        ? `Question ${at}`
        : `Answer **${at}**\n\n- one\n- two\n\n\`\`\`cpp\nint answer = ${at};\n\`\`\`\n\nThe end of ${at}.`,
    };
    parent = `n${at}`;
  }
  const file = {conversations: [{version: 1, title: 'A thousand', nodes, children: {}, chosen: {}}]};
  await page.locator('#import-file').setInputFiles({
    name: 'long.json',
    mimeType: 'application/json',
    buffer: Buffer.from(JSON.stringify(file)),
  });
  await page.getByRole('link', {name: 'A thousand'}).click();
  await isDone(page, 500);
  await eventually('the last message to be seen', async () =>
    page.evaluate(() => {
      const last = [...document.querySelectorAll('.message')].at(-1).getBoundingClientRect();
      const frame = document.getElementById('scroller').getBoundingClientRect();
      return last.bottom <= frame.bottom + 1 && last.bottom > frame.top;
    }),
  );
  await send(page, 'one more');
  await isDone(page, 501);
});
