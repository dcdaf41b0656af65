// Pictures of the web page, for people to look at.
import {mkdirSync} from 'node:fs';
import path from 'node:path';

import {isDone, options, send} from './page_driver.mjs';

export async function takeScreenshots(open, url, folder) {
  mkdirSync(folder, {recursive: true});
  const shots = [
    ['desktop', 1440, 900],
    ['laptop', 1180, 760],
    ['mobile', 390, 844],
  ];
  for (const colorScheme of ['light', 'dark']) {
    for (const [name, width, height] of shots) {
      const page = await open(url, {colorScheme, viewport: {width, height}});
      const shoot = (what) =>
        page.screenshot({path: path.join(folder, `${name}-${colorScheme}-${what}.png`)});
      await page.waitForTimeout(300);
      await shoot('empty');
      await send(page, 'How deep is five fathoms? think');
      await isDone(page, 1);
      await send(page, 'Show me how a sounding is taken, in markdown');
      await isDone(page, 2);
      await page.keyboard.press('Alt+n');
      await send(page, 'Tide tables for Bergen, slow');
      await page.waitForTimeout(2600);
      await shoot('streaming');
      await page.keyboard.press('Escape');
      await page.evaluate(() => history.go(-2));
      await isDone(page, 2);
      await page.waitForTimeout(500);
      await shoot('reply');
      await page.locator('#scroller').evaluate((element) => {
        element.scrollTop = 0;
      });
      const reasoning = page.locator('.reasoning summary').first();
      if (await reasoning.isVisible()) { // not every model reasons
        await reasoning.click();
      }
      await shoot('top');
      if (name === 'mobile') {
        await page.getByRole('button', {name: 'Conversations', exact: true}).click();
        await page.waitForTimeout(300);
        await shoot('conversations');
        await page.keyboard.press('Escape');
      }
      await page.getByRole('button', {name: 'Parameters', exact: true}).click();
      await shoot('parameters');
      await page.keyboard.press('Escape');
      if (!options.url) {
        await send(page, 'fail 503');
        await isDone(page, 3);
      }
      await page.keyboard.press('Alt+k');
      await shoot('keys');
      await page.context().close();
    }
  }
}
