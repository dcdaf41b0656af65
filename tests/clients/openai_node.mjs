// npm openai against a server: every feature of the library that the server claims.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import {
  all, cancels, main, numLogLines, options, rejects, script, scripted, step, user, waitForLog, weatherSchema,
  weatherScript, weathers,
} from "./steps.mjs";

const client = new OpenAI({ baseURL: options.baseUrl + "/v1", apiKey: options.key, maxRetries: 0 });
const model = options.model;
const City = z.object({ name: z.string(), population: z.int() });
const chatTool = { type: "function", function: { name: "get_weather", parameters: weatherSchema } };
const responsesTool = { type: "function", name: "get_weather", parameters: weatherSchema, strict: false };

const chat = (messages, more = {}) =>
  client.chat.completions.create({
    model, messages, max_completion_tokens: options.maxTokens, temperature: 0, thinking: { type: "disabled" }, ...more,
  });
const respond = (input, more = {}) =>
  client.responses.create({
    model, input, max_output_tokens: options.maxTokens, temperature: 0, reasoning: { effort: "none" }, ...more,
  });

step("models: list and retrieve", async () => {
  assert.ok((await all(client.models.list())).some((each) => each.id === model));
  assert.equal((await client.models.retrieve(model)).id, model);
});

step("chat: whole, streamed, by the stream helper", async () => {
  const messages = user({ say: "Zwölf Boxkämpfer. 人工智能 🌍" });
  const reply = await chat(messages);
  const text = reply.choices[0].message.content;
  assert.equal(reply.usage.total_tokens, reply.usage.prompt_tokens + reply.usage.completion_tokens);
  const chunks = await all(await chat(messages, { stream: true, stream_options: { include_usage: true } }));
  assert.equal(chunks.flatMap((chunk) => chunk.choices).map((choice) => choice.delta.content ?? "").join(""), text);
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.equal(chunks.at(-1).usage.total_tokens, reply.usage.total_tokens);
  const stream = client.chat.completions.stream({
    model, messages, max_completion_tokens: options.maxTokens, temperature: 0, thinking: { type: "disabled" },
  });
  assert.equal((await stream.finalChatCompletion()).choices[0].message.content, text);
  if (options.isScripted) {
    assert.equal(text, "Zwölf Boxkämpfer. 人工智能 🌍");
  }
});

step("chat: choices, log-probabilities, a limit", async () => {
  const reply = await chat(user({ say: "choice {choice}" }), { n: 2, seed: 3, logprobs: true, top_logprobs: 1 });
  assert.deepEqual(reply.choices.map((choice) => choice.index), [0, 1]);
  for (const choice of reply.choices) {
    const bytes = choice.logprobs.content.flatMap((entry) => entry.bytes ?? []);
    const end = /\ufffd+$/; // a real model's may end inside a character
    assert.equal(Buffer.from(bytes).toString().replace(end, ""), choice.message.content.replace(end, ""));
  }
  const cut = await chat(user({ say: "a b c d e f g h" }), { max_completion_tokens: 3 });
  assert.equal(cut.choices[0].finish_reason, "length");
  assert.equal(cut.usage.completion_tokens, 3);
});

scripted("chat: reasoning and stop strings", async () => {
  const messages = user({ think: "First I think.", say: "Then I STOP and go." });
  const { message } = (await chat(messages, { thinking: { type: "enabled" }, stop: "STOP" })).choices[0];
  assert.equal(message.reasoning_content, "First I think.");
  assert.equal(message.content, "Then I ");
});

scripted("chat: runTools() through two steps, whole and streamed", async () => {
  for (const stream of [false, true]) {
    const asked = [];
    const runner = client.chat.completions.runTools({
      model, stream, messages: user(...weatherScript),
      tools: [{
        type: "function",
        function: {
          name: "get_weather", description: "Weather", parameters: weatherSchema, parse: JSON.parse,
          function: ({ city }) => { asked.push(city); return weathers[city]; },
        },
      }],
    });
    assert.equal(await runner.finalContent(), "Sun in Rome, snow in Oslo.");
    assert.deepEqual(asked, ["Rome", "Oslo"]);
  }
});

scripted("chat: parallel calls, streamed", async () => {
  const calls = [["get_weather", { city: "Rome" }], ["get_weather", { city: 'São Paulo "x"\n' }]];
  const stream = client.chat.completions.stream({ model, messages: user({ say: "Both.", calls }), tools: [chatTool] });
  const { message } = (await stream.finalChatCompletion()).choices[0];
  assert.deepEqual(message.tool_calls.map((call) => JSON.parse(call.function.arguments)), calls.map((call) => call[1]));
  assert.equal(message.content, "Both.");
});

step("chat: parse() of a zod schema", async () => {
  const messages = user({ say: '{"name": "Rome", "population": 2746984}' });
  const reply = await client.chat.completions.parse({
    model, messages, max_completion_tokens: 200, temperature: 0, thinking: { type: "disabled" },
    response_format: zodResponseFormat(City, "city"),
  });
  assert.ok(City.safeParse(reply.choices[0].message.parsed).success, JSON.stringify(reply));
});

step("completions: text, streamed, several prompts, echo", async () => {
  const prompt = script({ say: " and so on" });
  const create = (more) => client.completions.create({ model, prompt, max_tokens: 8, temperature: 0, ...more });
  const { text } = (await create({})).choices[0];
  const chunks = await all(await create({ stream: true }));
  assert.equal(chunks.flatMap((chunk) => chunk.choices).map((choice) => choice.text).join(""), text);
  const { choices } = await create({ prompt: [prompt, prompt], echo: true, logprobs: 1 });
  assert.deepEqual(choices.map((choice) => choice.text), [prompt + text, prompt + text]);
  assert.equal(choices[0].logprobs.token_logprobs[0], null);
});

step("responses: whole, streamed, previous_response_id, parse()", async () => {
  const input = script({ say: "First." });
  const first = await respond(input);
  const events = await all(await respond(input, { stream: true }));
  assert.equal(events[0].type, "response.created");
  assert.equal(events.at(-1).response.output_text ?? events
    .filter((event) => event.type === "response.output_text.delta").map((event) => event.delta).join(""),
  first.output_text);
  const second = await respond(script({ say: "Second." }), { previous_response_id: first.id });
  assert.ok(second.usage.input_tokens > first.usage.total_tokens);
  const parsed = await client.responses.parse({
    model, input: script({ say: '{"name": "Oslo", "population": 717710}' }), max_output_tokens: 200, temperature: 0,
    reasoning: { effort: "none" }, text: { format: zodTextFormat(City, "city") },
  });
  assert.ok(City.safeParse(parsed.output_parsed).success, JSON.stringify(parsed));
});

scripted("responses: two steps with tools by the stream helper", async () => {
  let input = user(...weatherScript);
  for (const city of ["Rome", "Oslo"]) {
    const stream = client.responses.stream({ model, input, tools: [responsesTool] });
    const reply = await stream.finalResponse();
    const [call] = reply.output.filter((item) => item.type === "function_call");
    assert.equal(JSON.parse(call.arguments).city, city);
    const result = { type: "function_call_output", call_id: call.call_id, output: weathers[city] };
    input = [...input, ...reply.output, result];
  }
  assert.equal((await respond(input, { tools: [responsesTool] })).output_text, "Sun in Rome, snow in Oslo.");
});

step("errors: 400 and 401 are the library's classes", async () => {
  await rejects(chat(user({ say: "x" }), { temperature: "hot" }), OpenAI.BadRequestError, 400);
  await rejects(client.get("/nowhere"), OpenAI.NotFoundError, 404);
  await rejects(client.withOptions({ apiKey: "wrong" }).models.list(), OpenAI.AuthenticationError, 401);
});

scripted("errors: unknown model, overload with its retries, failure in a stream", async () => {
  const messages = user({ say: "x" });
  await rejects(chat(messages, { model: "no-such-model" }), OpenAI.NotFoundError, 404);
  const numBefore = numLogLines(" 429 ");
  const retrying = client.withOptions({ maxRetries: 1 });
  await rejects(retrying.chat.completions.create({ model: "busy-model", messages }), OpenAI.RateLimitError, 429);
  await waitForLog(numBefore + 2, " 429 ");
  const failing = await chat(messages, { model: "failing-model", stream: true });
  await assert.rejects(all(failing), OpenAI.APIError);
});

scripted("a stream that is aborted ends the request on the server", () => cancels("/v1/chat/completions", async () => {
  const stream = await chat(user({ say: "word ".repeat(500) }), {
    model: "slow-model", stream: true, max_completion_tokens: 2000,
  });
  let num = 0;
  for await (const _ of stream) {
    if (++num === 5) {
      stream.controller.abort();
    }
  }
}));

await main();
