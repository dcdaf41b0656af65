#!/usr/bin/env python3
"""PyPI anthropic against a server: every feature of the library that the server claims."""
import sys

import anthropic
import pydantic

from steps import MODEL, arguments, cancels, check, log_lines, raises, run, same, script, step, wait_for_log

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
          "required": ["city"]}
TOOL = {"name": "get_weather", "description": "Weather", "input_schema": SCHEMA}
WEATHER_SCRIPT = ({"say": "Let me look.", "calls": [["get_weather", {"city": "Rome", "days": 2}]]},
                  {"calls": [["get_weather", {"city": "Oslo"}]]}, {"say": "Sun in Rome, snow in Oslo."})
WEATHERS = {"Rome": "sun", "Oslo": "snow"}


class City(pydantic.BaseModel):
    name: str
    population: int


def user(text):
    return [{"role": "user", "content": text}]


def create(c, messages, **options):
    options.setdefault("max_tokens", c.max_tokens)
    options.setdefault("thinking", {"type": "disabled"})
    return c.messages.create(model=c.model, messages=messages, **options)


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


@step
def models(c):
    """models: list and retrieve"""
    names = [model.id for model in c.models.list()]
    check(c.model in names, f"{c.model} is not among {names}")
    model = c.models.retrieve(c.model)
    same((model.id, model.type), (c.model, "model"))
    check(model.display_name and model.created_at, model)


@step
def plain(c):
    """messages: one reply, all forms of a request's text, fields that change nothing"""
    cached = {"type": "ephemeral"}
    content = [{"type": "text", "text": script({"say": "Hello, world! 🌍"}), "cache_control": cached}]
    reply = create(c, [*user("Good day."), {"role": "assistant", "content": [{"type": "text", "text": "Good day."}]},
                       *user(content)],
                   system=[{"type": "text", "text": "Be brief.", "cache_control": cached}],
                   metadata={"user_id": "me"}, extra_body={"temperature": 0, "top_p": 0.9, "top_k": 5})
    same((reply.type, reply.role, reply.model), ("message", "assistant", c.model))
    check(reply.stop_reason in (["end_turn"] if c.scripted else ["end_turn", "max_tokens"]), reply)
    check(reply.usage.input_tokens + (reply.usage.cache_read_input_tokens or 0) > 0 < reply.usage.output_tokens, reply)
    if c.scripted:
        same(text_of(reply), "Hello, world! 🌍")


@step
def stream(c):
    """messages: a stream has the text of the whole reply; its events are in order"""
    greedy = {"extra_body": {"temperature": 0}}
    messages = user(script({"say": "Zwölf Boxkämpfer. 人工智能 🌍🌎"}))
    whole = create(c, messages, **greedy)
    events = list(create(c, messages, stream=True, **greedy))
    kinds = [event.type for event in events if event.type != "ping"]
    same(kinds[:2] + kinds[-3:], ["message_start", "content_block_start", "content_block_stop", "message_delta",
                                  "message_stop"])
    same(set(kinds[2:-3]), {"content_block_delta"})
    with c.messages.stream(model=c.model, max_tokens=c.max_tokens, messages=messages, thinking={"type": "disabled"},
                           **greedy) as helper:
        text = "".join(helper.text_stream)
        final = helper.get_final_message()
    same((text, text_of(final)), (text_of(whole), text_of(whole)))
    same((final.stop_reason, final.usage.output_tokens), (whole.stop_reason, whole.usage.output_tokens))


@step
def limits(c):
    """messages: max_tokens, stop_sequences"""
    reply = create(c, user(script({"say": "a b c d e f g h i j"})), max_tokens=4)
    same((reply.stop_reason, reply.usage.output_tokens), ("max_tokens", 4))
    if c.scripted:
        reply = create(c, user(script({"say": "one two STOP three"})), stop_sequences=["TOP th", "nothing"])
        same((text_of(reply), reply.stop_reason, reply.stop_sequence), ("one two S", "stop_sequence", "TOP th"))


@step(scripted=True)
def thinking(c):
    """messages: thinking blocks, whole, streamed, sent back; adaptive, effort, omitted display"""
    messages = user(script({"think": "First I think.", "say": "Then I speak."}))
    for option in {"type": "enabled", "budget_tokens": 1024}, {"type": "adaptive"}:
        reply = create(c, messages, max_tokens=2000, thinking=option)
        same([block.type for block in reply.content], ["thinking", "text"])
        same((reply.content[0].thinking, reply.content[1].text), ("First I think.", "Then I speak."))
        check(reply.content[0].signature, "no signature")
        with c.messages.stream(model=c.model, max_tokens=2000, messages=messages, thinking=option) as helper:
            kinds = {event.delta.type for event in helper if event.type == "content_block_delta"}
            final = helper.get_final_message()
        same(kinds, {"thinking_delta", "signature_delta", "text_delta"})
        same(final.content[0].thinking, "First I think.")
        again = create(c, [*messages, {"role": "assistant", "content": final.content},
                           *user(script({"say": "Once more."}))], max_tokens=2000, thinking=option,
                       output_config={"effort": "high"})
        same(text_of(again), "Once more.")


@step(scripted=True)
def tool_loop(c):
    """messages: two steps with tools, then the answer; blocks go back as they came"""
    messages = user(script(*WEATHER_SCRIPT))
    for city in "Rome", "Oslo":
        reply = create(c, messages, tools=[TOOL], tool_choice={"type": "auto"})
        same(reply.stop_reason, "tool_use")
        (call,) = [block for block in reply.content if block.type == "tool_use"]
        same((call.name, call.input["city"]), ("get_weather", city))
        results = {"Rome": "sun", "Oslo": [{"type": "text", "text": "snow"}]}
        messages += [{"role": "assistant", "content": reply.content},
                     *user([{"type": "tool_result", "tool_use_id": call.id, "content": results[city]}])]
    reply = create(c, messages, tools=[TOOL])
    same((text_of(reply), reply.stop_reason), ("Sun in Rome, snow in Oslo.", "end_turn"))


@step(scripted=True)
def tool_stream(c):
    """messages: parallel calls, streamed; one call when parallel calls are off; an error as a result"""
    calls = [["get_weather", {"city": "Rome", "days": 2}], ["get_weather", {"city": "São Paulo \"x\"\n"}]]
    messages = user(script({"say": "Both.", "calls": calls}, {"say": "One failed."}))
    with c.messages.stream(model=c.model, max_tokens=400, messages=messages, tools=[TOOL],
                           thinking={"type": "adaptive"}) as helper:
        starts = [event.content_block.type for event in helper if event.type == "content_block_start"]
        final = helper.get_final_message()
    same(starts, ["thinking", "text", "tool_use", "tool_use"])
    uses = [block for block in final.content if block.type == "tool_use"]
    same([use.input for use in uses], [arguments for _, arguments in calls])
    results = [{"type": "tool_result", "tool_use_id": uses[1].id, "content": "no such city", "is_error": True},
               {"type": "tool_result", "tool_use_id": uses[0].id, "content": "sun"}]
    reply = create(c, [*messages, {"role": "assistant", "content": final.content}, *user(results)], tools=[TOOL],
                   thinking={"type": "adaptive"})
    same(text_of(reply), "One failed.")
    one = create(c, messages, tools=[TOOL], tool_choice={"type": "auto", "disable_parallel_tool_use": True})
    same(len([block for block in one.content if block.type == "tool_use"]), 1)


@step(scripted=True)
def tool_choices(c):
    """messages: tool_choice any, by name, none"""
    messages = user(script({"say": "I would rather talk.", "calls": [["get_weather", {"city": "Rome"}]]}))
    for choice in {"type": "any"}, {"type": "tool", "name": "get_weather"}:
        reply = create(c, messages, tools=[TOOL], tool_choice=choice)
        same([block.input for block in reply.content if block.type == "tool_use"], [{"city": "Rome"}])
    reply = create(c, user(script({"say": "I would rather talk."})), tools=[TOOL], tool_choice={"type": "none"})
    same([block.type for block in reply.content], ["text"])


@step
def structured(c):
    """messages: parse() of a pydantic model"""
    messages = user("Name a big city. " + script({"say": '{"name": "Rome", "population": 2746984}'}))
    reply = c.messages.parse(model=c.model, max_tokens=200, messages=messages, output_format=City,
                             thinking={"type": "disabled"}, extra_body={"temperature": 0})
    check(isinstance(reply.parsed_output, City), reply)


@step
def count_tokens(c):
    """messages: count_tokens agrees with usage"""
    messages = user(script({"say": "Hi."}))
    counted = c.messages.count_tokens(model=c.model, messages=messages, system="Be brief.",
                                      thinking={"type": "disabled"})
    usage = create(c, messages, system="Be brief.", max_tokens=1).usage
    same(counted.input_tokens, usage.input_tokens + (usage.cache_read_input_tokens or 0))


@step(scripted=True)
def tool_runner(c):
    """tool runner: state kept by the server (`thread`), and the whole history each time"""
    def get_weather(city: str, days: int = 1) -> str:
        """Weather.

        Args:
            city: the city
            days: how many
        """
        asked.append((city, days))
        return WEATHERS[city]

    tool = anthropic.beta_tool(get_weather)
    for options in {}, {"thread": False}:
        asked = []
        runner = c.beta.messages.tool_runner(model=c.model, max_tokens=400, tools=[tool],
                                             messages=user(script(*WEATHER_SCRIPT)), **options)
        final = runner.until_done()
        same(asked, [("Rome", 2), ("Oslo", 1)])
        same(text_of(final), "Sun in Rome, snow in Oslo.")


@step
def errors(c):
    """errors: 400 with the field, 401, 404 are the library's classes"""
    with raises(anthropic.BadRequestError, 400, "temperature"):
        create(c, user("x"), extra_body={"temperature": "hot"})
    with raises(anthropic.BadRequestError, 400, "role"):
        create(c, [{"role": "nobody", "content": "x"}])
    with raises(anthropic.NotFoundError, 404):
        c.get("/v1/messages/nowhere", cast_to=object)
    with raises(anthropic.AuthenticationError, 401, "authentication_error"):
        c.with_options(api_key="wrong").models.list()


@step(scripted=True)
def errors_of_models(c):
    """errors: unknown model and thread, context too long, overload with its retries, failure in a stream"""
    with raises(anthropic.NotFoundError, 404, "no-such-model"):
        c.messages.create(model="no-such-model", max_tokens=5, messages=user("x"))
    with raises(anthropic.NotFoundError, 404):
        c.beta.messages.create(model=c.model, max_tokens=5, messages=user("x"),
                               extra_body={"thread": {"type": "continue", "previous_message_id": "msg_unknown"}})
    with raises(anthropic.BadRequestError, 400):
        c.messages.create(model="small-model", max_tokens=5, messages=user("word " * 400))
    num_before = len(log_lines(c.options, " 429 "))
    with raises(anthropic.RateLimitError, 429, "rate_limit_error"):
        c.with_options(max_retries=1).messages.create(model="busy-model", max_tokens=5, messages=user("x"))
    wait_for_log(c.options, num_before + 2, " 429 ")
    try:
        list(c.messages.create(model="failing-model", max_tokens=5, messages=user("x"), stream=True))
        raise AssertionError("the stream ended well")
    except anthropic.APIError as error:
        check("this model fails" in str(error), error)


@step(scripted=True)
def cancellation(c):
    """a stream that is closed early ends the request on the server"""
    with cancels(c.options, "/v1/messages"):
        running = c.messages.create(model="slow-model", max_tokens=2000, stream=True,
                                    messages=user(script({"say": "word " * 500})))
        for _ in zip(range(5), running, strict=False):
            pass
        running.close()


def main():
    options = arguments(__doc__)
    client = anthropic.Anthropic(base_url=options.base_url, api_key=options.key, max_retries=0, timeout=120)
    client.options = options
    client.model = options.model or MODEL
    client.scripted = not options.model
    client.max_tokens = 200 if client.scripted else 40
    print("anthropic", anthropic.__version__)
    return run(options, client)


if __name__ == "__main__":
    sys.exit(main())
