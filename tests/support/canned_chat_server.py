#!/usr/bin/env python3
"""Stands in for `fathom serve` in the tests of the web page: the program's own page, canned replies.

usage: canned_chat_server.py --page FOLDER [--port PORT] [--key KEY]

FOLDER: what dump_page wrote. Prints its address on one line once it listens. What a reply is like is
said by words in the user's last message: see REPLIES and `fail STATUS`. GET /canned/requests gives the
bodies of all chat requests so far.
"""
import argparse
import http.server
import json
import pathlib
import threading
import time

MARKDOWN = """## A sounding

The lead goes down until the line is slack; each **mark** on it is a *fathom*, and `depth` is what you read.
See [the manual](https://example.org/manual?a=1&b=2) or <https://example.org/>.

1. Heave the lead
2. Let it run
   - a nested point
   - another
3. Read the mark

| mark | fathoms | note |
|:-----|--------:|------|
| two strips | 2 | leather |
| white rag | 5 | `cotton` |

```cpp
// Metres of a depth in fathoms.
constexpr double kMetresPerFathom = 1.8288;
double metres(double fathoms) { return fathoms * kMetresPerFathom; }
```

```python
def metres(fathoms: float) -> float:
    return fathoms * 1.8288  # by definition
```

> Deep water & a <b>long</b> line.

- [x] done
- [ ] to do
"""

HOSTILE = """<script>window.hacked = 1</script> <img src=x onerror="window.hacked = 2">

[click](javascript:window.hacked=3) [data](data:text/html,<script>window.hacked=4</script>) \
![picture](https://attacker.example/x.png) <a href="javascript:window.hacked=5">anchor</a>

<svg onload="window.hacked = 6"></svg>

```html"><img src=x onerror=window.hacked=7>
<script>window.hacked = 8</script>
```

| <img src=x onerror=window.hacked=9> | b |
|---|---|
| `<script>` | [x](vbscript:window.hacked=10) |

&lt;script&gt;window.hacked = 11&lt;/script&gt; &#60;img src=x&#62;
"""

REASONING = "The user asks for a depth. A fathom is two yards, so I multiply by 1.8288. " * 3


def pieces(text, size=5):
    return [text[at:at + size] for at in range(0, len(text), size)]


def content(text):
    return [{"content": piece} for piece in pieces(text)]


# Word in the user's last message -> (deltas, seconds between them, finish_reason or None for a break).
REPLIES = {
    "markdown": (content(MARKDOWN), 0.002, "stop"),
    "hostile": (content(HOSTILE), 0.001, "stop"),
    "think": ([{"reasoning_content": piece} for piece in pieces(REASONING)] +
              content("Five fathoms are **9.144 m**."), 0.01, "stop"),
    "slow": (content("one two three four " * 500), 0.02, "stop"),
    "continued": (content(" and goes **on**."), 0.01, "stop"),
    "cut": (content("This reply is cut"), 0.001, "length"),
    "break": (content("This reply breaks off"), 0.01, None),
    "long": (content("A paragraph of a long reply, with `code` in it.\n\n" * 400), 0, "stop"),
    "weather": ([{"tool_calls": [{"index": 0, "id": "call_1", "type": "function",
                                  "function": {"name": "get_weather", "arguments": ""}}]}] +
                [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
                 for piece in pieces('{"city": "Bergen <b>", "days": 2}')], 0.01, "tool_calls"),
}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (BrokenPipeError, ConnectionResetError):  # the page has gone away
            self.close_connection = True

    def answer(self, status, body, headers=()):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in dict({"Content-Type": "application/json"}, **dict(headers)).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def is_allowed(self):
        state = self.server.state
        if state.key and self.headers.get("Authorization") != f"Bearer {state.key}":
            self.fail(401, "no such API key")
            return False
        return True

    def fail(self, status, message):
        headers = {"Retry-After": "7"} if status == 429 else {}
        self.answer(status, {"error": {"message": message, "type": "canned", "param": None, "code": None}}, headers)

    def do_GET(self):
        state = self.server.state
        if self.path in state.page:
            headers, body = state.page[self.path]
            self.answer(200, body, headers)
        elif self.path == "/canned/requests":
            self.answer(200, state.requests)
        elif not self.is_allowed():
            return
        elif self.path == "/v1/models":
            names = ["deepseek-v4-flash", "<img src=x onerror=window.hacked=12>"]
            self.answer(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in names]})
        elif self.path == "/metrics":
            self.answer(200, state.metrics().encode(), {"Content-Type": "text/plain; version=0.0.4"})
        else:
            self.fail(404, f"{self.path}: no such path")

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.is_allowed():
            return
        state = self.server.state
        state.requests.append(body)
        text = body["messages"][-1]["content"]
        words = text.split()
        if words[:1] == ["fail"]:
            self.fail(int(words[1]), "canned <i>failure</i>")
            return
        if body["messages"][-1].get("prefix"):
            text, words = "", ["continued"]
        deltas, pause_s, finish = next((reply for word, reply in REPLIES.items() if word in words),
                                       (content(f"Reply {len(state.requests)} to: {text}"), 0.005, "stop"))
        state.running += 1
        try:
            self.stream(body, deltas, pause_s, finish, "error" in words)
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            state.running -= 1
            self.close_connection = True

    def stream(self, body, deltas, pause_s, finish, has_error):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.chunk({"role": "assistant", "content": ""})
        self.wfile.write(b": keep-alive\n\n")
        for delta in deltas:
            self.chunk(delta)
            self.server.state.tokens += 1
            if pause_s:
                time.sleep(pause_s)
        if has_error:
            self.event({"error": {"message": "canned error in the stream"}})
            return
        if finish is None:
            return
        self.chunk({}, finish)
        num_reasoning = sum("reasoning_content" in delta for delta in deltas)
        num_prompt = sum(len(message["content"]) // 4 + 4 for message in body["messages"])
        self.event({"choices": [], "usage": {
            "prompt_tokens": num_prompt, "completion_tokens": len(deltas), "total_tokens": num_prompt + len(deltas),
            "prompt_tokens_details": {"cached_tokens": num_prompt // 2},
            "completion_tokens_details": {"reasoning_tokens": num_reasoning}}})
        self.wfile.write(b"data: [DONE]\n\n")

    def chunk(self, delta, finish=None):
        self.event({"id": "chatcmpl-canned", "object": "chat.completion.chunk",
                    "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    def event(self, value):
        self.wfile.write(f"data: {json.dumps(value, ensure_ascii=False)}\n\n".encode())


class State:
    def __init__(self, page, key):
        self.page = page
        self.key = key
        self.requests = []
        self.running = 0
        self.tokens = 0
        self.asked = 0

    def metrics(self):
        self.asked += 1
        rate = (31.5 + 6 * ((self.asked * 7) % 5)) if self.running else 0
        return "\n".join([
            "# HELP fathom_requests_running Sequences that are computed.", "# TYPE fathom_requests_running gauge",
            f"fathom_requests_running {self.running}",
            'fathom_requests_waiting{model="flash"} 1', 'fathom_requests_waiting{model="a } \\" 5"} 1',
            "fathom_cache_bytes 1503238553", "fathom_cache_budget_bytes 8589934592",
            f"fathom_decode_tokens_per_second {rate}", "fathom_prompt_tokens_total 4000",
            'fathom_cached_tokens_total{model="flash",kind="memory"} 2000',
            'fathom_cached_tokens_total{model="flash",kind="disk"} 500',
            f"fathom_reply_tokens_total {self.tokens}", 'fathom_ttft_seconds_bucket{le="+Inf"} NaN', ""])


def read_page(folder):
    """Path -> (headers, body)."""
    page = {}
    for file in pathlib.Path(folder).glob("*.http"):
        head, _, body = file.read_bytes().partition(b"\n\n")
        path, *lines = head.decode().split("\n")
        page[path] = (dict(line.split(": ", 1) for line in lines), body)
    return page


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--page", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", default="")
    arguments = parser.parse_args()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", arguments.port), Handler)
    server.daemon_threads = True
    server.state = State(read_page(arguments.page), arguments.key)
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
