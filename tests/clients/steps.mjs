// What the Node drivers of API clients share: named steps, one line of output each, an exit code.
import assert from "node:assert/strict";
import fs from "node:fs";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    "base-url": { type: "string" },
    key: { type: "string" },
    model: { type: "string" }, // a real model; without, the replay server's are expected
    log: { type: "string" }, // where the replay server logs its requests
  },
});
export const options = {
  baseUrl: values["base-url"],
  key: values.key,
  model: values.model ?? "test-model",
  isScripted: values.model === undefined,
  maxTokens: values.model === undefined ? 200 : 40,
};

const steps = [];

// A scripted step needs the replay server's models.
export function step(name, run) {
  steps.push({ name, run, needsScript: false });
}
export function scripted(name, run) {
  steps.push({ name, run, needsScript: true });
}

export async function main() {
  assert.ok(options.baseUrl, "--base-url is missing");
  const chosen = steps.filter((each) => options.isScripted || !each.needsScript);
  let failed = 0;
  for (const { name, run } of chosen) {
    try {
      await run();
      console.log("ok    ", name);
    } catch (error) {
      failed += 1;
      console.log("FAILED", name);
      console.error(error);
    }
  }
  console.log(`${chosen.length - failed} passed, ${failed} failed`);
  process.exit(failed > 0 || chosen.length === 0 ? 1 : 0);
}

// A user message that tells the replay server's models what to answer, one turn after another.
export function script(...turns) {
  return "Do as told: " + turns.map((turn) => `«${JSON.stringify(turn)}»`).join(" ");
}

export function user(...turns) {
  return [{ role: "user", content: script(...turns) }];
}

export const weatherSchema = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer" } },
  required: ["city"],
};
export const weathers = { Rome: "sun", Oslo: "snow" };
export const weatherScript = [
  { say: "Let me look.", calls: [["get_weather", { city: "Rome", days: 2 }]] },
  { calls: [["get_weather", { city: "Oslo" }]] },
  { say: "Sun in Rome, snow in Oslo." },
];

export async function all(iterable) {
  const items = [];
  for await (const item of iterable) {
    items.push(item);
  }
  return items;
}

// What is rejected must be of this class of the client library, with this status.
export async function rejects(promise, kind, status) {
  await assert.rejects(promise, (error) => {
    assert.equal(error?.constructor?.name, kind.name, String(error));
    assert.equal(error.status, status, String(error));
    return true;
  });
}

export function numLogLines(fragment) {
  return fs.readFileSync(values.log, "utf8").split("\n").filter((line) => line.includes(fragment)).length;
}

// Waits until the server's log has that many lines with the fragment: they come after the answers.
export async function waitForLog(numLines, fragment) {
  for (let i = 0; i < 100 && numLogLines(fragment) < numLines; ++i) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.equal(numLogLines(fragment), numLines, `lines with ${fragment} in the server's log`);
}

// What runs must leave a request of this path that the server does not serve to its end.
export async function cancels(path, run) {
  const broken = path + " 200 the "; // and why it was not
  const numBefore = numLogLines(broken);
  await run();
  await waitForLog(numBefore + 1, broken);
}
