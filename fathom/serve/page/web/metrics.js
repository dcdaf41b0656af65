// Prometheus' text format, as far as the live panel needs it.

const LINE = /^([A-Za-z_:][\w:]*)(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})?\s+(\S+)/;

// Map of `name` or `name{kind="x"}` (as written) to number. Comments and lines that are something
// else are skipped.
export function parseMetrics(text) {
  const values = new Map();
  for (const line of text.split('\n')) {
    const match = LINE.exec(line);
    const value = match ? Number(match[3]) : NaN;
    if (Number.isFinite(value)) {
      values.set(match[2] ? `${match[1]}{${match[2]}}` : match[1], value);
    }
  }
  return values;
}

// The sum over all label sets of a name; null when there is none.
export function total(values, name) {
  let sum = null;
  for (const [key, value] of values) {
    if (key === name || key.startsWith(name + '{')) {
      sum = (sum ?? 0) + value;
    }
  }
  return sum;
}
