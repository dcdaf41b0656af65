#!/usr/bin/env python3
"""64 clients at once on a tiny random model: some leave, some read slowly, some send nonsense; nobody else notices.

usage: serve_soak_test.py PATH_OF_FATHOM [--sanitised] [--seconds S | --minutes M] [unittest options]

Every stream that is read to its end must equal, token by token, what the same request gave alone. The default of 8
seconds is for the gate; `./check --all` runs it for 30 minutes, and says every minute how it stands.
"""
import http.client
import json
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from invocation import IS_SANITISED, program_under_test
from serve_test import Server
import serve_test

SECONDS = 8.0
NUM_CLIENTS = 64
NUM_PROMPTS = 24
DEADLINE_S = 300


def body_of(number):
    rng = random.Random(number)
    prompt = " ".join(rng.choice(["river", "stone", "bridge", "town", "year"]) for _ in range(rng.randint(1, 120)))
    return {"prompt": prompt, "max_tokens": rng.randint(1, 60), "temperature": 1.0, "seed": number, "logprobs": 1,
            "ignore_eos": True}


def tokens_of(choice):
    return list(zip(choice["logprobs"]["tokens"], choice["logprobs"]["token_logprobs"]))


class Client(threading.Thread):
    """Behaves in a random way until `end`; what it sees that should not be is in `errors`."""

    def __init__(self, number, port, expected, end):
        super().__init__(daemon=True)
        self.rng = random.Random(1000 + number)
        self.port, self.expected, self.end = port, expected, end
        self.errors, self.num_whole, self.num_left = [], 0, 0

    def run(self):
        try:
            while time.monotonic() < self.end:
                self.rng.choice([self.read_whole, self.read_whole, self.read_slowly, self.leave, self.leave_at_once,
                                 self.send_nonsense])()
        except Exception as error:  # pylint: disable=broad-except
            self.errors.append(repr(error))

    def open_stream(self, number):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        connection.request("POST", "/v1/completions", json.dumps({**body_of(number), "stream": True}),
                           {"Content-Type": "application/json"})
        return connection, connection.getresponse()

    def read_whole(self, pause_s=0.0):
        number = self.rng.randrange(NUM_PROMPTS)
        connection, answer = self.open_stream(number)
        tokens, is_done = [], False
        for line in answer:
            if line.startswith(b"data: {"):
                event = json.loads(line[6:])
                if "error" in event:
                    self.errors.append(f"prompt {number}: {event}")
                for choice in event.get("choices", []):
                    if choice.get("logprobs"):
                        tokens += tokens_of(choice)
            is_done = is_done or line.startswith(b"data: [DONE]")
            time.sleep(pause_s)
        connection.close()
        if answer.status != 200 or not is_done or tokens != self.expected[number]:
            self.errors.append(f"prompt {number}: status {answer.status}, done {is_done}, {len(tokens)} tokens of "
                               f"{len(self.expected[number])}, or others than alone")
        self.num_whole += 1

    def read_slowly(self):
        self.read_whole(pause_s=0.01)

    def leave(self):
        connection, answer = self.open_stream(self.rng.randrange(NUM_PROMPTS))
        for _ in range(self.rng.randint(0, 20)):
            answer.readline()
        connection.sock.close()
        connection.close()
        self.num_left += 1

    def leave_at_once(self):
        data = json.dumps({**body_of(self.rng.randrange(NUM_PROMPTS)), "stream": self.rng.random() < 0.5}).encode()
        with socket.create_connection(("127.0.0.1", self.port)) as sock:
            request = (b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                       b"Content-Length: %d\r\n\r\n" % len(data)) + data
            sock.sendall(request[:self.rng.randint(1, len(request))] if self.rng.random() < 0.5 else request)
        self.num_left += 1

    def send_nonsense(self):
        data = self.rng.choice([b"{", b"[]", b'{"prompt": 7}', b'{"prompt": "a", "max_tokens": -1}', b"\xff\xfe",
                                b'{"prompt": "a", "temperature": "hot"}', b'{"prompt": "a", "n": 1e9}'])
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)
        connection.request("POST", "/v1/completions", data, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status != 400 or b"error" not in text:
            self.errors.append(f"{data!r}: status {answer.status}: {text[:200]!r}")


class SoakTest(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fathom-soak-"))
        self.addCleanup(shutil.rmtree, self.dir)
        model = self.dir / "tiny.gguf"
        subprocess.run([serve_test.FATHOM, "synth", "--preset", "tiny", "--out", model], check=True, capture_output=True)
        self.server = Server(model, "--ctx", "1024", "--cache-budget", "200MB", "--log", self.dir / "log",
                             "--max-waiting", "1000")
        self.addCleanup(self.server.stop, signal.SIGKILL)

    def resident_bytes(self):
        status = pathlib.Path(f"/proc/{self.server.process.pid}/status").read_text()
        return 1024 * int(re.search(r"VmRSS:\s+(\d+)", status).group(1))

    def gauge(self, name):
        text = self.server.request("GET", "/metrics")[1]
        return float(re.search(rf"^{name}\{{[^}}]*\}} (\S+)$", text, re.M).group(1))

    def tell(self, clients, begin):
        print(f"soak: {time.monotonic() - begin:.0f} s, {sum(client.num_whole for client in clients)} streams read whole, "
              f"{sum(client.num_left for client in clients)} left, "
              f"{sum(len(client.errors) for client in clients)} errors, {self.resident_bytes() / 1e6:.0f} MB",
              file=sys.stderr, flush=True)

    def soak(self, expected, seconds):
        begin = time.monotonic()
        end = begin + seconds
        clients = [Client(number, self.server.port, expected, end) for number in range(NUM_CLIENTS)]
        for client in clients:
            client.start()
        while seconds > 120 and time.monotonic() < end:
            time.sleep(min(60, max(0.1, end - time.monotonic())))
            self.tell(clients, begin)
        for client in clients:
            client.join(timeout=DEADLINE_S)
            self.assertFalse(client.is_alive(), "a client waits for ever")
        self.assertEqual([error for client in clients for error in client.errors], [])
        return sum(client.num_whole for client in clients), sum(client.num_left for client in clients)

    def test_every_stream_is_as_if_it_were_alone(self):
        expected = []
        for number in range(NUM_PROMPTS):
            status, answer = self.server.json("POST", "/v1/completions", body_of(number))
            self.assertEqual(status, 200, answer)
            expected.append(tokens_of(answer["choices"][0]))
        self.soak(expected, min(SECONDS / 4, 60))  # buffers and caches grow to what they need
        before = self.resident_bytes()
        whole, left = self.soak(expected, SECONDS)
        self.assertGreater(whole, 0)
        self.assertGreater(left, 0)
        end = time.monotonic() + DEADLINE_S
        while self.gauge("fathom_requests_running") + self.gauge("fathom_requests_waiting") > 0:
            self.assertLess(time.monotonic(), end, "requests of clients that left are still there")
            time.sleep(0.05)
        if not IS_SANITISED:  # ASan keeps freed memory for a while
            self.assertLess(self.resident_bytes(), 1.1 * before + 50e6)
        print(f"soak: {whole} streams read whole, {left} left", file=sys.stderr)


if __name__ == "__main__":
    serve_test.FATHOM = program_under_test(__doc__)
    for option, unit_s in ("--seconds", 1), ("--minutes", 60):
        if option in sys.argv:
            at = sys.argv.index(option)
            SECONDS = unit_s * float(sys.argv[at + 1])
            del sys.argv[at:at + 2]
    unittest.main()
