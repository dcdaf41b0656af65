// npm @anthropic-ai/sdk against a server: every feature of the library that the server claims.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import { betaTool } from "@anthropic-ai/sdk/helpers/beta/json-schema";
import {
  all, cancels, main, numLogLines, options, rejects, scripted, step, user, waitForLog, weatherSchema, weatherScript,
  weathers,
} from "./steps.mjs";

const client = new Anthropic({ baseURL: options.baseUrl, apiKey: options.key, maxRetries: 0 });
const model = options.model;
const tools = [{ name: "get_weather", description: "Weather", input_schema: weatherSchema }];

const plain = { model, max_tokens: options.maxTokens, thinking: { type: "disabled" }, temperature: 0 };
const create = (messages, more = {}) => client.messages.create({ ...plain, messages, ...more });
const textOf = (message) =>
  message.content.filter((block) => block.type === "text").map((block) => block.text).join("");
const callsOf = (message) => message.content.filter((block) => block.type === "tool_use");

step("models: list and retrieve", async () => {
  assert.ok((await all(client.models.list())).some((each) => each.id === model));
  assert.equal((await client.models.retrieve(model)).id, model);
});

step("messages: whole, streamed, by the stream helper", async () => {
  const messages = user({ say: "Zwölf Boxkämpfer. 人工智能 🌍" });
  const reply = await create(messages);
  const events = await all(await create(messages, { stream: true }));
  assert.equal(events[0].type, "message_start");
  assert.equal(events.at(-1).type, "message_stop");
  const deltas = events.filter((event) => event.type === "content_block_delta").map((event) => event.delta.text);
  assert.equal(deltas.join(""), textOf(reply));
  const final = await client.messages.stream({ ...plain, messages }).finalMessage();
  assert.equal(textOf(final), textOf(reply));
  assert.equal(final.usage.output_tokens, reply.usage.output_tokens);
  if (options.isScripted) {
    assert.equal(textOf(reply), "Zwölf Boxkämpfer. 人工智能 🌍");
    assert.equal(reply.stop_reason, "end_turn");
  }
});

step("messages: limits, count_tokens", async () => {
  const messages = user({ say: "a b c d e f g h" });
  const cut = await create(messages, { max_tokens: 3 });
  assert.deepEqual([cut.stop_reason, cut.usage.output_tokens], ["max_tokens", 3]);
  const counted = await client.messages.countTokens({ model, messages, thinking: { type: "disabled" } });
  assert.equal(counted.input_tokens, cut.usage.input_tokens + (cut.usage.cache_read_input_tokens ?? 0));
});

scripted("messages: thinking, streamed and sent back; stop sequences", async () => {
  const messages = user({ think: "First I think.", say: "Then I STOP and go." });
  const thinking = { type: "enabled", budget_tokens: 1024 };
  const stream = client.messages.stream({
    model, max_tokens: 2000, messages, thinking, stop_sequences: ["STOP"],
  });
  const seen = { thinking: "", signature: 0 };
  stream.on("thinking", (delta) => { seen.thinking += delta; });
  stream.on("signature", () => { seen.signature += 1; });
  const final = await stream.finalMessage();
  assert.deepEqual(seen, { thinking: "First I think.", signature: 1 });
  assert.deepEqual([textOf(final), final.stop_reason, final.stop_sequence], ["Then I ", "stop_sequence", "STOP"]);
  const again = await create(
    [...messages, { role: "assistant", content: final.content }, ...user({ say: "Once more." })],
    { thinking, max_tokens: 2000, temperature: undefined });
  assert.equal(textOf(again), "Once more.");
});

scripted("messages: two steps with tools, streamed; parallel calls", async () => {
  let messages = user(...weatherScript);
  for (const city of ["Rome", "Oslo"]) {
    const reply = await client.messages.stream({ ...plain, messages, tools }).finalMessage();
    assert.equal(reply.stop_reason, "tool_use");
    const [call] = callsOf(reply);
    assert.equal(call.input.city, city);
    messages = [...messages, { role: "assistant", content: reply.content },
      { role: "user", content: [{ type: "tool_result", tool_use_id: call.id, content: weathers[city] }] }];
  }
  assert.equal(textOf(await create(messages, { tools })), "Sun in Rome, snow in Oslo.");
  const calls = [["get_weather", { city: "Rome" }], ["get_weather", { city: 'São Paulo "x"\n' }]];
  const both = await client.messages.stream({ ...plain, messages: user({ calls }), tools }).finalMessage();
  assert.deepEqual(callsOf(both).map((call) => call.input), calls.map((call) => call[1]));
});

scripted("tool runner: state kept by the server (thread), and the whole history each time", async () => {
  for (const more of [{}, { thread: false }]) {
    const asked = [];
    const tool = betaTool({
      name: "get_weather", description: "Weather", inputSchema: weatherSchema,
      run: ({ city }) => { asked.push(city); return weathers[city]; },
    });
    const final = await client.beta.messages.toolRunner({
      model, max_tokens: 400, messages: user(...weatherScript), tools: [tool], ...more,
    });
    assert.deepEqual(asked, ["Rome", "Oslo"]);
    assert.equal(textOf(final), "Sun in Rome, snow in Oslo.");
  }
});

step("errors: 400 and 401 are the library's classes", async () => {
  await rejects(create(user({ say: "x" }), { temperature: "hot" }), Anthropic.BadRequestError, 400);
  const stranger = client.withOptions({ apiKey: "wrong" });
  await rejects(stranger.models.list(), Anthropic.AuthenticationError, 401);
});

scripted("errors: unknown model, overload with its retries, failure in a stream", async () => {
  const messages = user({ say: "x" });
  await rejects(create(messages, { model: "no-such-model" }), Anthropic.NotFoundError, 404);
  const numBefore = numLogLines(" 429 ");
  const retrying = client.withOptions({ maxRetries: 1 });
  const refused = retrying.messages.create({ model: "busy-model", max_tokens: 5, messages });
  await rejects(refused, Anthropic.RateLimitError, 429);
  await waitForLog(numBefore + 2, " 429 ");
  await assert.rejects(all(await create(messages, { model: "failing-model", stream: true })), Anthropic.APIError);
});

scripted("a stream that is aborted ends the request on the server", () => cancels("/v1/messages", async () => {
  const stream = await create(user({ say: "word ".repeat(500) }), {
    model: "slow-model", stream: true, max_tokens: 2000,
  });
  let num = 0;
  for await (const _ of stream) {
    if (++num === 5) {
      stream.controller.abort();
    }
  }
}));

await main();
