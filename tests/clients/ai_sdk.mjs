// npm ai with the providers @ai-sdk/openai-compatible and @ai-sdk/deepseek against a server.
import assert from "node:assert/strict";
import { createDeepSeek } from "@ai-sdk/deepseek";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, Output, generateText, isStepCount, streamText, tool } from "ai";
import { z } from "zod";
import { cancels, main, options, script, scripted, step, weatherScript, weathers } from "./steps.mjs";

const baseURL = options.baseUrl + "/v1";
const compatible = createOpenAICompatible({
  name: "fathom", baseURL, apiKey: options.key, includeUsage: true, supportsStructuredOutputs: true,
});
const deepseek = createDeepSeek({ baseURL, apiKey: options.key });
const providers = { "openai-compatible": compatible, deepseek };
const noRetries = { maxRetries: 0 };

function weatherTools(asked) {
  return {
    get_weather: tool({
      description: "Weather",
      inputSchema: z.object({ city: z.string(), days: z.int().optional() }),
      execute: ({ city }) => { asked.push(city); return weathers[city]; },
    }),
  };
}

for (const [name, provider] of Object.entries(providers)) {
  const common = { model: provider(options.model), maxOutputTokens: options.maxTokens, temperature: 0, ...noRetries };
  const thinking = { reasoning: "none", providerOptions: { deepseek: { thinking: { type: "disabled" } } } };

  step(`${name}: text, whole and streamed, with usage`, async () => {
    const prompt = script({ say: "Zwölf Boxkämpfer. 人工智能 🌍" });
    const whole = await generateText({ ...common, ...thinking, prompt, system: "Be brief." });
    const stream = streamText({ ...common, ...thinking, prompt, system: "Be brief." });
    let text = "";
    for await (const delta of stream.textStream) {
      text += delta;
    }
    assert.equal(text, whole.text);
    assert.ok((await stream.usage).totalTokens > 0);
    assert.ok(["stop", "length"].includes(await stream.finishReason));
    if (options.isScripted) {
      assert.equal(text, "Zwölf Boxkämpfer. 人工智能 🌍");
    }
  });

  scripted(`${name}: reasoning`, async () => {
    const stream = streamText({ ...common, prompt: script({ think: "First I think.", say: "Then I speak." }) });
    assert.equal(await stream.text, "Then I speak.");
    assert.equal(await stream.reasoningText, "First I think.");
  });

  scripted(`${name}: two steps with tools, whole and streamed`, async () => {
    for (const run of [generateText, streamText]) {
      const asked = [];
      const result = await run({
        ...common, prompt: script(...weatherScript), tools: weatherTools(asked), stopWhen: isStepCount(5),
      });
      assert.equal(await result.text, "Sun in Rome, snow in Oslo.");
      assert.deepEqual(asked, ["Rome", "Oslo"]);
      assert.equal((await result.steps).length, 3);
    }
  });

  scripted(`${name}: parallel calls`, async () => {
    const asked = [];
    const calls = [["get_weather", { city: "Rome" }], ["get_weather", { city: "Oslo" }]];
    const result = streamText({
      ...common, prompt: script({ say: "Both.", calls }, { say: "Done." }), tools: weatherTools(asked),
      stopWhen: isStepCount(5),
    });
    assert.equal(await result.text, "Done.");
    assert.deepEqual(asked.sort(), ["Oslo", "Rome"]);
  });

  step(`${name}: an object of a schema`, async () => {
    const schema = z.object({ name: z.string(), population: z.int() });
    const prompt = "Name a city as JSON. " + script({ say: '{"name": "Rome", "population": 2746984}' });
    // DeepSeek's API has no schemas: the provider asks for JSON and checks it itself, which a small model fails.
    if (options.isScripted || provider === compatible) {
      const { output } = await generateText({
        ...common, ...thinking, prompt, maxOutputTokens: 200, output: Output.object({ schema }),
      });
      assert.ok(schema.safeParse(output).success, JSON.stringify(output));
    }
  });

  scripted(`${name}: errors have the server's status`, async () => {
    for (const [model, status] of [["no-such-model", 404], ["busy-model", 429]]) {
      await assert.rejects(generateText({ ...common, model: provider(model), prompt: "x" }), (error) => {
        assert.ok(APICallError.isInstance(error), String(error));
        assert.equal(error.statusCode, status);
        return true;
      });
    }
  });
}

step("openai-compatible: completions", async () => {
  const model = compatible.completionModel(options.model);
  const prompt = script({ say: " and so on" });
  const { text } = await generateText({ model, prompt, maxOutputTokens: 10, temperature: 0, ...noRetries });
  const stream = streamText({ model, prompt, maxOutputTokens: 10, temperature: 0, ...noRetries });
  assert.equal(await stream.text, text);
});

scripted("a stream that is aborted ends the request on the server", () => cancels("/v1/chat/completions", async () => {
  const abort = new AbortController();
  const stream = streamText({
    model: compatible("slow-model"), prompt: script({ say: "word ".repeat(500) }), abortSignal: abort.signal,
    onError: () => {}, ...noRetries,
  });
  let num = 0;
  for await (const _ of stream.textStream) {
    if (++num === 5) {
      abort.abort();
    }
  }
}));

await main();
