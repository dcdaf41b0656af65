// What the server is doing, asked every two seconds while somebody looks.

import {metricsText} from '/page/api.js';
import {byId, h, svg} from '/page/dom.js';
import {parseMetrics, total} from '/page/metrics.js';

const INTERVAL_MS = 2000;
const TIMEOUT_MS = 8000;
const NUM_SAMPLES = 60;

function bytes(count) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let at = 0;
  while (count >= 1024 && at < units.length - 1) {
    count /= 1024;
    at += 1;
  }
  return `${count < 10 && at > 0 ? count.toFixed(1) : Math.round(count)} ${units[at]}`;
}

export class LivePanel {
  #samples = [];
  #latest = null; // {time_ms, reply_tokens} of the last answer
  #wasReachable = true;

  // `onReachable(isReachable)` is told when that changes, `onFigures()` whenever there are some.
  constructor(onReachable, onFigures) {
    this.onReachable = onReachable;
    this.onFigures = onFigures;
    this.state = byId('live-state');
    this.rate = h('span', {class: 'live-number'}, '–');
    this.line = svg('polyline', {points: '', class: 'spark-line'});
    const chart = svg('svg', {
      class: 'spark',
      viewBox: '0 0 120 32',
      preserveAspectRatio: 'none',
      'aria-hidden': 'true',
    });
    chart.append(svg('line', {x1: 0, y1: 31, x2: 120, y2: 31, class: 'spark-base'}), this.line);
    this.rows = h('dl', {class: 'live-rows'});
    this.meter = h('div', {class: 'meter'}, h('div', {class: 'meter-fill'}));
    byId('live-panel').append(
      h(
        'div',
        {class: 'live-rate'},
        h('p', {}, this.rate, h('span', {class: 'live-unit'}, 'tokens/s')),
        chart,
      ),
      this.rows,
      this.meter,
    );
    document.addEventListener('visibilitychange', () => document.hidden || this.ask());
    this.ask();
  }

  // Asks at once and then every two seconds.
  async ask() {
    clearTimeout(this.timer);
    if (!document.hidden) {
      const asked = (this.asked = Symbol('request'));
      const goesOn = await this.#askOnce();
      if (goesOn && asked === this.asked) {
        this.timer = setTimeout(() => this.ask(), INTERVAL_MS);
      }
    }
  }

  // Whether to ask again: without the key it is of no use.
  async #askOnce() {
    try {
      this.#show(parseMetrics(await metricsText(AbortSignal.timeout(TIMEOUT_MS))));
      this.#setState('ready', true);
      this.onFigures();
      return true;
    } catch (error) {
      const isReachable = error.status > 0;
      this.#setState(
        isReachable ? (error.status === 503 ? 'not ready' : 'no figures') : 'not reachable',
        isReachable,
      );
      return !error.needsKey;
    }
  }

  #setState(text, isReachable) {
    if (this.state.textContent !== text) {
      this.state.textContent = text;
      this.state.dataset.state = text.replace(' ', '-');
    }
    if (isReachable !== this.#wasReachable) {
      this.#wasReachable = isReachable;
      this.onReachable(isReachable);
    }
  }

  // The server's own figure, or what the counter of tokens says.
  #rateOf(values) {
    const own = total(values, 'fathom_decode_tokens_per_second');
    const now = {time_ms: performance.now(), tokens: total(values, 'fathom_reply_tokens_total')};
    const before = this.#latest;
    this.#latest = now;
    if (own !== null || now.tokens === null || before === null || before.tokens === null) {
      return own;
    }
    return Math.max(0, ((now.tokens - before.tokens) / (now.time_ms - before.time_ms)) * 1000);
  }

  #show(values) {
    const rate = this.#rateOf(values);
    this.rate.textContent = rate === null ? '–' : rate.toFixed(rate < 100 ? 1 : 0);
    this.#samples = [...this.#samples, rate ?? 0].slice(-NUM_SAMPLES);
    this.#draw();

    const used = total(values, 'fathom_cache_bytes');
    const budget = total(values, 'fathom_cache_budget_bytes');
    const prompt = total(values, 'fathom_prompt_tokens_total');
    const cached = total(values, 'fathom_cached_tokens_total');
    const rows = [
      ['Running', total(values, 'fathom_requests_running')],
      ['Waiting', total(values, 'fathom_requests_waiting')],
      ['Prompt reused', prompt && cached !== null ? `${((100 * cached) / prompt).toFixed(0)} %` : null],
      ['Cache', used === null ? null : budget ? `${bytes(used)} of ${bytes(budget)}` : bytes(used)],
    ];
    this.rows.replaceChildren(
      ...rows
        .filter(([, value]) => value !== null)
        .map(([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, String(value)))),
    );
    this.meter.hidden = !(budget > 0);
    this.meter.firstChild.style.width = `${budget > 0 ? Math.min(100, (100 * used) / budget) : 0}%`;
  }

  #draw() {
    const most = Math.max(...this.#samples, 1);
    const start = NUM_SAMPLES - this.#samples.length;
    this.line.setAttribute(
      'points',
      this.#samples
        .map(
          (rate, at) =>
            `${(((start + at) * 120) / (NUM_SAMPLES - 1)).toFixed(1)},${(30 - (28 * rate) / most).toFixed(1)}`,
        )
        .join(' '),
    );
  }
}
