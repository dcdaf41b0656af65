#!/usr/bin/env python3
"""Loads a running `fathom serve` with streams and says how it held: tokens/s, time to first token, time between tokens.

usage: serve_load.py URL [--streams 16] [--tokens 128] [--prompt-words 32] [--rounds 3] [--arrivals S:LOW:HIGH]
                     [--model NAME] [--key KEY] [--json]

Every stream asks /v1/completions for exactly --tokens tokens (ignore_eos) of another prompt, all streams at once,
--rounds times one after another; medians over rounds. --arrivals 2:200:1000 sends, beside the streams, every 2 s a
new prompt of 200 to 1,000 words, which asks for 16 tokens: what a new arrival does to those that run.
"""
import argparse
import asyncio
import json
import random
import statistics
import sys
import time
import urllib.parse

WORDS = "the river was low that year and nobody in town could remember who had built a bridge of stone".split()


def prompt_of(seed, num_words):
    rng = random.Random(str(seed))
    return " ".join(rng.choice(WORDS) for _ in range(num_words))


class Answer(asyncio.Protocol):
    """Keeps what comes and when. It is read when all of it is there: a client of the same machine takes its time
    from the server."""

    def __init__(self):
        self.chunks = []
        self.is_over = asyncio.get_running_loop().create_future()

    def data_received(self, data):
        self.chunks.append((time.perf_counter(), data))

    def connection_lost(self, exc):
        if not self.is_over.done():  # cancelled
            self.is_over.set_result(exc)

    def lines(self):
        """Each line, and when its end came."""
        rest = b""
        for when, data in self.chunks:
            *whole, rest = (rest + data).split(b"\n")
            yield from ((when, line) for line in whole)


async def stream(args, prompt, num_tokens):
    """Its start, and the seconds after which events came: the first is the first token's."""
    url = urllib.parse.urlsplit(args.url)
    body = json.dumps({"model": args.model, "prompt": prompt, "max_tokens": num_tokens, "stream": True,
                       "temperature": 0, "ignore_eos": True, "stream_options": {"include_usage": True}}).encode()
    transport, answer = await asyncio.get_running_loop().create_connection(Answer, url.hostname, url.port or 80)
    key = f"Authorization: Bearer {args.key}\r\n" if args.key else ""
    start = time.perf_counter()
    transport.write(f"POST /v1/completions HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/json\r\n{key}"
                    f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    await answer.is_over
    times, status, usage, error = [], None, None, ""
    for when, line in answer.lines():
        if status is None:
            status = int(line.split()[1])
        if not line.startswith(b"data: {"):
            continue
        event = json.loads(line[6:])
        if event.get("error"):
            error = event["error"]["message"]
        usage = event.get("usage") or usage
        if event.get("choices"):
            times.append(when - start)
    if status != 200 or error or usage is None or usage["completion_tokens"] != num_tokens:
        raise SystemExit(f"serve_load: a stream ended early: status {status} {error} {usage}")
    return start, times


async def arrivals(args, results):
    seconds, low, high = (float(part) for part in args.arrivals.split(":"))
    pending = set()
    for number in range(10**9):
        await asyncio.sleep(seconds)
        words = random.Random(str(number)).randint(int(low), int(high))
        task = asyncio.create_task(stream(args, prompt_of(("arrival", number, time.time()), words), 16))
        task.add_done_callback(lambda done: results.append(done.result()[1][0]) if not done.cancelled() else None)
        pending.add(task)


async def one_round(args, number):
    start = time.perf_counter()
    first_tokens = []
    others = asyncio.create_task(arrivals(args, first_tokens)) if args.arrivals else None
    results = await asyncio.gather(*(stream(args, prompt_of((number, i), args.prompt_words), args.tokens)
                                     for i in range(args.streams)))
    if others:
        others.cancel()
    begin = max(begin_s + times[0] for begin_s, times in results)  # all are decoding
    end = min(begin_s + times[-1] for begin_s, times in results)
    together = sum(1 for begin_s, times in results for t in times if begin <= begin_s + t <= end)
    gaps = sorted(b - a for _, times in results for a, b in zip(times, times[1:]))
    return {"tokens_per_s": args.streams * args.tokens / (time.perf_counter() - start),
            "decode_tokens_per_s": together / (end - begin) if end > begin else None,
            "first_token_s": statistics.median(times[0] for _, times in results),
            "gap_p50_ms": 1e3 * statistics.median(gaps), "gap_p99_ms": 1e3 * gaps[int(0.99 * (len(gaps) - 1))],
            "gap_max_ms": 1e3 * gaps[-1], "arrival_first_token_s": statistics.median(first_tokens) if first_tokens else None}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--prompt-words", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--arrivals", default="")
    parser.add_argument("--model", default="")
    parser.add_argument("--key", default="")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rounds = [asyncio.run(one_round(args, number)) for number in range(args.rounds)]
    medians = {name: statistics.median(values) if all(v is not None for v in values) else None
               for name in rounds[0] for values in [[each[name] for each in rounds]]}
    if args.json:
        print(json.dumps({"streams": args.streams, "tokens": args.tokens, "rounds": rounds, **medians}))
        return
    for name, value in medians.items():
        if value is not None:
            print(f"{name:24} {value:10.2f}   ({', '.join(f'{each[name]:.2f}' for each in rounds)})")


if __name__ == "__main__":
    sys.exit(main())
