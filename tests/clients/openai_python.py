#!/usr/bin/env python3
"""PyPI openai against a server: every feature of the library that the server claims."""
import json
import sys

import openai
import pydantic

from steps import MODEL, arguments, cancels, check, log_lines, raises, run, same, script, step, wait_for_log

WEATHER = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
           "required": ["city"], "additionalProperties": False}
CHAT_TOOL = {"type": "function", "function": {"name": "get_weather", "description": "Weather", "parameters": WEATHER}}
RESPONSES_TOOL = {"type": "function", "name": "get_weather", "description": "Weather", "parameters": WEATHER,
                  "strict": False}
NO_THINKING = {"thinking": {"type": "disabled"}}
WEATHER_SCRIPT = ({"say": "Let me look.", "calls": [["get_weather", {"city": "Rome", "days": 2}]]},
                  {"calls": [["get_weather", {"city": "Oslo"}]]}, {"say": "Sun in Rome, snow in Oslo."})
WEATHERS = {"Rome": "sun", "Oslo": "snow"}


class City(pydantic.BaseModel):
    name: str
    population: int


def user(text):
    return [{"role": "user", "content": text}]


def chat(c, messages, **options):
    options.setdefault("extra_body", NO_THINKING)
    return c.chat.completions.create(model=c.model, messages=messages, max_completion_tokens=c.max_tokens, **options)


@step
def models(c):
    """models: list and retrieve"""
    names = [model.id for model in c.models.list()]
    check(c.model in names, f"{c.model} is not among {names}")
    same(c.models.retrieve(c.model).id, c.model)


@step
def chat_plain(c):
    """chat: one reply, usage adds up"""
    reply = chat(c, user(script({"say": "Hello, world! 🌍"})), temperature=0)
    same(reply.object, "chat.completion")
    same(reply.model, c.model)
    same(len(reply.choices), 1)
    check(reply.choices[0].finish_reason in (["stop"] if c.scripted else ["stop", "length"]), reply)
    same(reply.usage.total_tokens, reply.usage.prompt_tokens + reply.usage.completion_tokens)
    check(reply.system_fingerprint, "no system_fingerprint")
    if c.scripted:
        same(reply.choices[0].message.content, "Hello, world! 🌍")


@step
def chat_stream(c):
    """chat: a stream has the text of the whole reply, and usage when asked for"""
    messages = user(script({"say": "Zwölf Boxkämpfer. 人工智能 🌍🌎"}))
    whole = chat(c, messages, temperature=0).choices[0]
    for options in {}, {"stream_options": {"include_usage": True}}:
        chunks = list(chat(c, messages, temperature=0, stream=True, **options))
        same(len({chunk.id for chunk in chunks}), 1, "ids")
        same(chunks[0].choices[0].delta.role, "assistant")
        text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
        same(text, whole.message.content)
        same([choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason],
             [whole.finish_reason])
        same([bool(chunk.usage) for chunk in chunks], [False] * (len(chunks) - 1) + [bool(options)])
        same(bool(chunks[-1].choices), not options, "choices of the last chunk")


@step
def chat_stream_helper(c):
    """chat: the accumulating stream helper"""
    with c.chat.completions.stream(model=c.model, messages=user(script({"say": "One two three."})),
                                   max_completion_tokens=50, temperature=0, extra_body=NO_THINKING) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    check("content.delta" in kinds and "content.done" in kinds, kinds)
    check(final.choices[0].message.content, "no content")
    if c.scripted:
        same(final.choices[0].message.content, "One two three.")


@step
def chat_roles(c):
    """chat: system, developer, parts of content, fields that change nothing"""
    messages = [{"role": "system", "content": "Be brief."}, {"role": "developer", "content": "Be kind."},
                {"role": "user", "content": [{"type": "text", "text": "Good "}, {"type": "text", "text": "day."}]},
                {"role": "assistant", "content": "Good day."}, *user(script({"say": "Again?"}))]
    reply = chat(c, messages, user="me", metadata={"k": "v"}, store=False, frequency_penalty=0, presence_penalty=0,
                 top_p=0.9, logit_bias={}, temperature=0, seed=1)
    check(reply.choices[0].message.content is not None, "no content")


@step
def limits(c):
    """chat: max_tokens ends with `length`, stop strings are left out"""
    reply = c.chat.completions.create(model=c.model, messages=user(script({"say": "a b c d e f g h i j k"})),
                                      max_tokens=5, temperature=0, extra_body=NO_THINKING)
    same(reply.usage.completion_tokens, 5)
    same(reply.choices[0].finish_reason, "length")
    messages = user(script({"say": "one two STOP three"}))
    stopped = chat(c, messages, stop=["TOP th", "nothing"]).choices[0]
    if c.scripted:
        same((stopped.message.content, stopped.finish_reason), ("one two S", "stop"))


@step
def choices(c):
    """chat: n choices, whole and streamed"""
    messages = user(script({"say": "choice {choice}"}))
    reply = chat(c, messages, n=3, seed=5, temperature=1)
    same([choice.index for choice in reply.choices], [0, 1, 2])
    texts = ["", "", ""]
    for chunk in chat(c, messages, n=3, seed=5, temperature=1, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    same(texts, [choice.message.content for choice in reply.choices])
    if c.scripted:
        same(texts, ["choice 0", "choice 1", "choice 2"])


@step
def seeds(c):
    """chat: the same seed gives the same text"""
    texts = {chat(c, user("Tell me a story."), seed=7, temperature=1).choices[0].message.content for _ in range(2)}
    same(len(texts), 1)


@step
def chat_logprobs(c):
    """chat: log-probabilities of each token, whose bytes are the text"""
    choice = chat(c, user(script({"say": "Grüße 🌍"})), logprobs=True, top_logprobs=2, temperature=0).choices[0]
    entries = choice.logprobs.content
    text = bytes(byte for entry in entries for byte in entry.bytes or []).decode(errors="ignore")
    same(text, choice.message.content.rstrip("\ufffd"))  # a real model's may end inside a character
    for entry in entries:
        check(entry.logprob <= 0 and len(entry.top_logprobs) <= 2, entry)
        check(entry.top_logprobs[0].logprob >= entry.logprob, entry)
    chunks = chat(c, user(script({"say": "Grüße 🌍"})), logprobs=True, top_logprobs=2, temperature=0, stream=True)
    same([entry.token for chunk in chunks for choice in chunk.choices if choice.logprobs
          for entry in choice.logprobs.content], [entry.token for entry in entries])


@step(scripted=True)
def reasoning(c):
    """chat: reasoning_content beside content, whole and streamed; reasoning_effort"""
    messages = user(script({"think": "First I think.", "say": "Then I speak."}))
    reply = chat(c, messages, reasoning_effort="high", extra_body={})
    same(reply.choices[0].message.reasoning_content, "First I think.")
    same(reply.choices[0].message.content, "Then I speak.")
    check(0 < reply.usage.completion_tokens_details.reasoning_tokens < reply.usage.completion_tokens, reply.usage)
    deltas = [choice.delta for chunk in chat(c, messages, extra_body={}, stream=True) for choice in chunk.choices]
    same("".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas), "First I think.")
    same("".join(delta.content or "" for delta in deltas), "Then I speak.")
    none = chat(c, messages, reasoning_effort="none", extra_body={})
    same(none.choices[0].message.content, "Then I speak.")
    check(not getattr(none.choices[0].message, "reasoning_content", None), none)


@step(scripted=True)
def tool_loop(c):
    """chat: two steps with tools, then the answer; the library's own objects go back"""
    messages = user(script(*WEATHER_SCRIPT))
    for city, text in ("Rome", "Let me look."), ("Oslo", None):
        choice = chat(c, messages, tools=[CHAT_TOOL], tool_choice="auto", parallel_tool_calls=True).choices[0]
        same(choice.finish_reason, "tool_calls")
        same(choice.message.content, text)
        (call,) = choice.message.tool_calls
        same(call.function.name, "get_weather")
        same(json.loads(call.function.arguments)["city"], city)
        messages += [choice.message,
                     {"role": "tool", "tool_call_id": call.id, "content": WEATHERS[city]}]
    reply = chat(c, messages, tools=[CHAT_TOOL])
    same(reply.choices[0].message.content, "Sun in Rome, snow in Oslo.")
    same(reply.choices[0].finish_reason, "stop")


@step(scripted=True)
def tool_stream(c):
    """chat: a streamed tool call and parallel calls, by the stream helper"""
    calls = [["get_weather", {"city": "Rome", "days": 2}], ["get_weather", {"city": "São Paulo \"x\"\n"}]]
    messages = user(script({"say": "Both.", "calls": calls}))
    with c.chat.completions.stream(model=c.model, messages=messages, tools=[CHAT_TOOL],
                                   extra_body=NO_THINKING) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
        message = stream.get_final_completion().choices[0].message
    same([json.loads(event.arguments) for event in done], [arguments for _, arguments in calls])
    same([json.loads(call.function.arguments) for call in message.tool_calls], [arguments for _, arguments in calls])
    same(len({call.id for call in message.tool_calls}), 2)
    one = chat(c, messages, tools=[CHAT_TOOL], parallel_tool_calls=False)
    same(len(one.choices[0].message.tool_calls), 1)


@step(scripted=True)
def tool_choices(c):
    """chat: tool_choice none, required, by name"""
    messages = user(script({"say": "I would rather talk.", "calls": [["get_weather", {"city": "Rome"}]]}))
    for choice in "required", {"type": "function", "function": {"name": "get_weather"}}:
        (call,) = chat(c, messages, tools=[CHAT_TOOL], tool_choice=choice).choices[0].message.tool_calls
        same((call.function.name, json.loads(call.function.arguments)), ("get_weather", {"city": "Rome"}))
    talk = user(script({"say": "I would rather talk."}))
    message = chat(c, talk, tools=[CHAT_TOOL], tool_choice="none").choices[0].message
    same((message.content, message.tool_calls), ("I would rather talk.", None))


@step
def structured(c):
    """chat: parse() of a pydantic model, json_object"""
    messages = user("Name a big city. " + script({"say": '{"name": "Rome", "population": 2746984}'}))
    reply = c.chat.completions.parse(model=c.model, messages=messages, response_format=City, temperature=0,
                                     max_completion_tokens=200, extra_body=NO_THINKING)
    check(isinstance(reply.choices[0].message.parsed, City), reply)
    if c.scripted:
        same(reply.choices[0].message.parsed, City(name="Rome", population=2746984))
    reply = chat(c, messages, response_format={"type": "json_object"}, temperature=0)
    if reply.choices[0].finish_reason == "stop":
        check(isinstance(json.loads(reply.choices[0].message.content), dict), reply)


@step
def completions(c):
    """completions: echo, logprobs, prompts as text, as a list, as ids, streamed"""
    prompt = script({"say": " and so on"})
    reply = c.completions.create(model=c.model, prompt=prompt, max_tokens=3, logprobs=2, echo=True, temperature=0)
    choice, logprobs = reply.choices[0], reply.choices[0].logprobs
    check(choice.text.startswith(prompt), choice.text)
    if c.scripted:
        same("".join(logprobs.tokens), choice.text)
    same(len({len(logprobs.tokens), len(logprobs.token_logprobs), len(logprobs.top_logprobs),
              len(logprobs.text_offset)}), 1, "lengths")
    same([value is None for value in logprobs.token_logprobs], [True] + [False] * (len(logprobs.tokens) - 1))
    two = c.completions.create(model=c.model, prompt=[prompt, "Two"], max_tokens=2, temperature=0)
    same([choice.index for choice in two.choices], [0, 1])
    ids = c.completions.create(model=c.model, prompt=[[5, 6, 7], [8]], max_tokens=2, temperature=0)
    same(len(ids.choices), 2)
    scored = c.completions.create(model=c.model, prompt=[5, 6, 7], max_tokens=0, logprobs=1, echo=True)
    same(len(scored.choices[0].logprobs.token_logprobs), 3)
    whole = c.completions.create(model=c.model, prompt=prompt, max_tokens=20, temperature=0).choices[0].text
    chunks = c.completions.create(model=c.model, prompt=prompt, max_tokens=20, temperature=0, stream=True)
    same("".join(choice.text for chunk in chunks for choice in chunk.choices), whole)


@step
def responses_plain(c):
    """responses: text, usage, a conversation by previous_response_id"""
    first = c.responses.create(model=c.model, input=script({"say": "First."}), instructions="Be brief.",
                               max_output_tokens=60, temperature=0, reasoning={"effort": "none"})
    same(first.object, "response")
    check(first.output_text is not None and first.usage.total_tokens > 0, first)
    second = c.responses.create(model=c.model, input=script({"say": "Second."}), previous_response_id=first.id,
                                max_output_tokens=60, temperature=0, reasoning={"effort": "none"})
    check(second.usage.input_tokens > first.usage.total_tokens, "the earlier turn is not in the prompt")
    if c.scripted:
        same((first.output_text, second.output_text), ("First.", "Second."))
        same((first.status, second.status), ("completed", "completed"))


@step
def responses_stream(c):
    """responses: events in order, and the stream helper"""
    asked = dict(model=c.model, input=script({"say": "Streamed text."}), max_output_tokens=60, temperature=0,
                 reasoning={"effort": "none"})
    if not c.scripted:  # A reply that ends: the library's helper knows no response.incomplete.
        asked["text"] = {"format": {"type": "json_schema", "name": "answer", "schema": {"enum": ["yes", "no"]}}}
    events = list(c.responses.create(**asked, stream=True))
    same([event.type for event in events[:2]], ["response.created", "response.in_progress"])
    same(events[-1].type, "response.completed")
    numbers = [event.sequence_number for event in events]
    same(numbers, sorted(set(numbers)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    same(text, events[-1].response.output_text)
    with c.responses.stream(**asked) as stream:
        for _ in stream:
            pass
        same(stream.get_final_response().output_text, text)
    if c.scripted:
        same(text, "Streamed text.")


@step
def responses_logprobs(c):
    """responses: log-probabilities of the text, also streamed"""
    asked = dict(model=c.model, input=script({"say": "Grüße 🌍"}), max_output_tokens=40, temperature=0, top_logprobs=2,
                 include=["message.output_text.logprobs"], reasoning={"effort": "none"})
    reply = c.responses.create(**asked)
    (part,) = [part for item in reply.output if item.type == "message" for part in item.content]
    same(b"".join(bytes(entry.bytes) for entry in part.logprobs).decode(errors="replace"), part.text)
    for entry in part.logprobs:
        check(entry.logprob <= 0 and len(entry.top_logprobs) <= 2, entry)
    events = list(c.responses.create(**asked, stream=True))
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    same([entry.token for event in deltas for entry in event.logprobs], [entry.token for entry in part.logprobs])


@step(scripted=True)
def responses_tools(c):
    """responses: two steps with tools, history resent, then by previous_response_id; reasoning items"""
    for is_stored in False, True:
        items = user(script(*WEATHER_SCRIPT))
        previous = None
        for city in "Rome", "Oslo":
            reply = c.responses.create(model=c.model, input=items, tools=[RESPONSES_TOOL], store=is_stored,
                                       previous_response_id=previous, include=["reasoning.encrypted_content"])
            (call,) = [item for item in reply.output if item.type == "function_call"]
            check([item for item in reply.output if item.type == "reasoning"], reply.output)
            same((call.name, json.loads(call.arguments)["city"]), ("get_weather", city))
            result = {"type": "function_call_output", "call_id": call.call_id, "output": WEATHERS[city]}
            if is_stored:
                previous, items = reply.id, [result]
            else:
                items += [*reply.output, result]
        reply = c.responses.create(model=c.model, input=items, tools=[RESPONSES_TOOL], store=is_stored,
                                   previous_response_id=previous)
        same(reply.output_text, "Sun in Rome, snow in Oslo.")


@step(scripted=True)
def responses_stream_tools(c):
    """responses: parallel calls streamed by the helper"""
    calls = [["get_weather", {"city": "Rome", "days": 2}], ["get_weather", {"city": "Oslo"}]]
    with c.responses.stream(model=c.model, input=script({"say": "Both.", "calls": calls}),
                            tools=[RESPONSES_TOOL]) as stream:
        done = [event for event in stream if event.type == "response.function_call_arguments.done"]
        final = stream.get_final_response()
    same([json.loads(event.arguments) for event in done], [arguments for _, arguments in calls])
    same([json.loads(item.arguments) for item in final.output if item.type == "function_call"],
         [arguments for _, arguments in calls])
    same(final.output_text, "Both.")


@step
def responses_parse(c):
    """responses: parse() of a pydantic model"""
    reply = c.responses.parse(model=c.model, text_format=City, max_output_tokens=200, temperature=0,
                              reasoning={"effort": "none"},
                              input="Name a big city. " + script({"say": '{"name": "Oslo", "population": 717710}'}))
    check(isinstance(reply.output_parsed, City), reply)


@step
def errors(c):
    """errors: 400 with the field, 401, 404 are the library's classes"""
    with raises(openai.BadRequestError, 400, "temperature"):
        chat(c, user("x"), temperature="hot")
    with raises(openai.BadRequestError, 400):
        c.chat.completions.create(model=c.model, messages=[{"role": "nobody", "content": "x"}])
    with raises(openai.BadRequestError, 400):
        c.responses.create(model=c.model, input="x", previous_response_id="resp_unknown")
    with raises(openai.NotFoundError, 404):
        c.get("/nowhere", cast_to=object)
    with raises(openai.AuthenticationError, 401):
        c.with_options(api_key="wrong").models.list()
    with raises(openai.BadRequestError, 400) as caught:
        chat(c, user("x"), temperature=-1)
    same((caught.error.param, caught.error.type), ("temperature", "invalid_request_error"))


@step(scripted=True)
def errors_of_models(c):
    """errors: unknown model, context too long, overload with its retries, failure in a stream"""
    with raises(openai.NotFoundError, 404, "no-such-model"):
        c.chat.completions.create(model="no-such-model", messages=user("x"))
    with raises(openai.NotFoundError, 404):
        c.models.retrieve("no-such-model")
    with raises(openai.BadRequestError, 400) as caught:
        c.chat.completions.create(model="small-model", messages=user("word " * 400))
    same(caught.error.code, "context_length_exceeded")
    num_before = len(log_lines(c.options, " 429 "))
    with raises(openai.RateLimitError, 429):
        c.with_options(max_retries=1).chat.completions.create(model="busy-model", messages=user("x"))
    wait_for_log(c.options, num_before + 2, " 429 ")
    with raises(openai.APIError):
        list(c.chat.completions.create(model="failing-model", messages=user("x"), stream=True))


@step(scripted=True)
def cancellation(c):
    """a stream that is closed early ends the request on the server"""
    with cancels(c.options, "/v1/chat/completions"):
        stream = c.chat.completions.create(model="slow-model", messages=user(script({"say": "word " * 500})),
                                           stream=True)
        for _ in zip(range(5), stream, strict=False):
            pass
        stream.close()


def main():
    options = arguments(__doc__)
    client = openai.OpenAI(base_url=options.base_url + "/v1", api_key=options.key, max_retries=0, timeout=120)
    client.options = options
    client.model = options.model or MODEL
    client.scripted = not options.model
    client.max_tokens = 200 if client.scripted else 40
    print("openai", openai.__version__)
    return run(options, client)


if __name__ == "__main__":
    sys.exit(main())
