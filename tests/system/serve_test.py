#!/usr/bin/env python3
"""`fathom serve` as an operator runs it: start, ask, reload, drain, restart; on a tiny random model.

usage: serve_test.py PATH_OF_FATHOM [--sanitised] [unittest options]
"""
import concurrent.futures
import http.client
import json
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import unittest

from invocation import deadline, program_under_test

FATHOM = ""
DEADLINE_S = deadline(120)  # generous: a busy machine


class Server:
    """A running `fathom serve`; `port` is the one it got."""

    def __init__(self, *arguments, log=None):
        self.log_path = pathlib.Path(log) if log else None
        self.process = subprocess.Popen([FATHOM, "serve", "--listen", "127.0.0.1:0", *map(str, arguments)],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        match = re.search(r"listening on https?://127\.0\.0\.1:(\d+)", line)
        if not match:
            _, error = self.process.communicate(timeout=DEADLINE_S)
            raise AssertionError(f"not started: {line!r} {error}")
        self.port = int(match.group(1))

    def request(self, method, path, body=None, headers=None, timeout=DEADLINE_S):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def json(self, method, path, body=None, headers=None):
        status, text = self.request(method, path, body, headers)
        return status, json.loads(text)

    def stop(self, sign=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(sign)
        out, error = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, out + error


class ServeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="fathom-serve-"))
        cls.model = cls.dir / "tiny.gguf"
        subprocess.run([FATHOM, "synth", "--preset", "tiny", "--out", cls.model], check=True, capture_output=True)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.dir)

    def start(self, *arguments):
        server = Server(self.model, "--ctx", "2048", "--cache-budget", "400MB", *arguments)
        self.addCleanup(server.stop, signal.SIGKILL)
        return server

    def refused(self, code, fragment, *arguments):
        result = subprocess.run([FATHOM, "serve", *map(str, arguments)], capture_output=True, text=True,
                                timeout=DEADLINE_S, check=False)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertIn(fragment, result.stderr)
        self.assertEqual(len(result.stderr.strip().splitlines()), 1, result.stderr)

    COMPLETION = {"prompt": "Once upon a time", "max_tokens": 12, "temperature": 0}

    def test_it_answers_and_says_the_same_again(self):
        server = self.start("--name", "tiny")
        self.assertEqual(server.json("GET", "/health"), (200, {"status": "ok"}))
        status, models = server.json("GET", "/v1/models")
        self.assertEqual((status, models["data"][0]["id"]), (200, "tiny"))
        status, first = server.json("POST", "/v1/completions", self.COMPLETION)
        self.assertEqual(status, 200, first)
        self.assertEqual(first["usage"]["completion_tokens"], 12)
        _, again = server.json("POST", "/v1/completions", self.COMPLETION)
        self.assertEqual(again["choices"], first["choices"])
        self.assertEqual(again["usage"]["prompt_tokens_details"]["cached_tokens"],
                         first["usage"]["prompt_tokens"] - 1)
        status, metrics = server.request("GET", "/metrics")
        self.assertEqual(status, 200)
        self.assertRegex(metrics, r'fathom_reply_tokens_total\{model="tiny"\} 24')
        self.assertRegex(metrics, r'fathom_requests_total\{model="tiny",outcome="served"\} 2')

    def test_many_at_once_get_what_they_get_alone(self):
        server = self.start()
        bodies = [{"prompt": f"Number {i} is", "max_tokens": 16, "temperature": 1, "seed": i} for i in range(12)]
        alone = [server.json("POST", "/v1/completions", body)[1]["choices"] for body in bodies]
        other = self.start()
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            together = list(pool.map(lambda body: other.json("POST", "/v1/completions", body)[1]["choices"], bodies))
        self.assertEqual(together, alone)

    def test_a_stream_is_the_whole_in_pieces(self):
        server = self.start()
        body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10, "seed": 3}
        status, whole = server.json("POST", "/v1/chat/completions", body)
        self.assertEqual(status, 200, whole)
        status, text = server.request("POST", "/v1/chat/completions", {**body, "stream": True})
        self.assertEqual(status, 200)
        events = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
        self.assertEqual(events[-1], "[DONE]")
        deltas = [json.loads(event)["choices"][0]["delta"] for event in events[:-1]]
        message = whole["choices"][0]["message"]
        for field in ("content", "reasoning_content"):
            self.assertEqual("".join(delta.get(field) or "" for delta in deltas), message.get(field) or "")

    def test_the_page_is_there(self):
        status, text = self.start().request("GET", "/")
        self.assertEqual(status, 200)
        self.assertIn("<!doctype html>", text.lower())

    def test_keys_are_asked_for_and_read_again_on_sighup(self):
        keys = self.dir / "keys"
        keys.write_text("alice:first-secret\n")
        keys.chmod(0o600)
        server = self.start("--api-keys", keys)
        self.assertEqual(server.request("GET", "/health")[0], 200)
        status, error = server.json("GET", "/v1/models")
        self.assertEqual(status, 401)
        self.assertIn("message", error["error"])
        first = {"Authorization": "Bearer first-secret"}
        second = {"x-api-key": "second-secret"}
        self.assertEqual(server.request("GET", "/v1/models", headers=first)[0], 200)
        self.assertEqual(server.request("GET", "/v1/models", headers=second)[0], 401)
        keys.write_text("bob:second-secret\n")
        server.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + DEADLINE_S
        while server.request("GET", "/v1/models", headers=second)[0] != 200:
            self.assertLess(time.monotonic(), end)
            time.sleep(0.05)
        self.assertEqual(server.request("GET", "/v1/models", headers=first)[0], 401)
        keys.unlink()  # what cannot be read changes nothing
        server.process.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        self.assertEqual(server.request("GET", "/v1/models", headers=second)[0], 200)

    def test_sighup_reads_all_settings_again_and_names_those_that_need_a_restart(self):
        keys, config, log = self.dir / "keys-again", self.dir / "again.toml", self.dir / "again.jsonl"
        keys.write_text("alice:first-secret\n")
        keys.chmod(0o600)
        settings = f'model = "{self.model}"\nlisten = "127.0.0.1:0"\nctx = 512\ncache-budget = "300MB"\n'
        config.write_text(f'{settings}api-keys = "{keys}"\nlog = "{log}"\n')
        server = Server("--config", config)
        self.addCleanup(server.stop, signal.SIGKILL)
        key = {"x-api-key": "first-secret"}
        self.assertEqual([server.request("GET", "/v1/models", headers=key)[0] for _ in range(3)], [200] * 3)
        moved = self.dir / "moved.jsonl"
        config.write_text(f'{settings}api-keys = "{keys}"\nlog = "{moved}"\nkey-per-minute = 1\nlog-prompts = true\n'
                          'max-running = 3\nstrict-models = true\n')

        def events(path):
            return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

        def reload_until(path, event, fragment):
            server.process.send_signal(signal.SIGHUP)
            end = time.monotonic() + DEADLINE_S
            while not any(line["event"] == event and fragment in line["message"] for line in events(path)):
                self.assertLess(time.monotonic(), end, events(path))
                time.sleep(0.02)

        reload_until(moved, "reload", "need a restart to take effect: max-running, strict-models")
        status, _ = server.json("POST", "/v1/completions", {"prompt": "a rather secret prompt", "max_tokens": 1}, key)
        self.assertEqual(status, 200)
        self.assertEqual(server.request("GET", "/v1/models", headers=key)[0], 429)
        self.assertIn("rather secret", moved.read_text())
        config.write_text("max-running = 0\n")  # what is wrong changes nothing
        reload_until(moved, "problem", "max-running")
        self.assertEqual(server.request("GET", "/v1/models", headers={"x-api-key": "other"})[0], 401)

    def test_another_name_has_to_be_allowed(self):
        server = self.start()
        status, error = server.json("GET", "/v1/models", headers={"Host": "evil.example"})
        self.assertEqual((status, error["error"]["type"]), (403, "invalid_request_error"))
        status, error = server.json("POST", "/v1/messages", {}, headers={"Host": "evil.example"})
        self.assertEqual((status, error["error"]["type"]), (403, "permission_error"))
        server = self.start("--allow-host", "fathom.lan")
        self.assertEqual(server.request("GET", "/v1/models", headers={"Host": "fathom.lan:80"})[0], 200)

    def test_sigterm_lets_running_requests_end(self):
        server = self.start()
        body = {**self.COMPLETION, "max_tokens": 300, "ignore_eos": True}
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            running = pool.submit(server.json, "POST", "/v1/completions", body)
            end = time.monotonic() + DEADLINE_S
            while not re.search(r"^fathom_requests_running\{.*\} 1$", server.request("GET", "/metrics")[1], re.M):
                self.assertLess(time.monotonic(), end)
                if running.done():
                    break
            code, output = server.stop()
            status, answer = running.result(timeout=DEADLINE_S)
        self.assertEqual((status, code), (200, 0), output)
        self.assertEqual(answer["usage"]["completion_tokens"], 300)

    def test_a_restart_goes_on_from_disk(self):
        arguments = ("--snapshots", self.dir / "snapshots", "--snapshot-budget", "100MB")
        body = {**self.COMPLETION, "prompt": "The river was low that year. " * 30}
        server = self.start(*arguments)
        _, first = server.json("POST", "/v1/completions", body)
        server.stop()
        for sign in (signal.SIGKILL, signal.SIGTERM):
            server = self.start(*arguments)
            _, again = server.json("POST", "/v1/completions", body)
            self.assertEqual(again["choices"], first["choices"])
            self.assertGreater(again["usage"]["prompt_tokens_details"]["cached_tokens"], 100)
            self.assertRegex(server.request("GET", "/metrics")[1],
                             r'fathom_cached_tokens_total\{model="tiny",kind="disk"\} [1-9]')
            server.stop(sign)

    def test_the_log_holds_requests_and_no_prompts(self):
        log = self.dir / "log.jsonl"
        server = self.start("--log", log)
        secret = "a rather secret prompt"
        server.request("POST", "/v1/completions", {"prompt": secret, "max_tokens": 1})
        server.stop()
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        requests = [line for line in lines if line["event"] == "request"]
        self.assertEqual([(line["path"], line["status"]) for line in requests], [("/v1/completions", 200)])
        self.assertNotIn("secret", log.read_text())
        server = self.start("--log", log, "--log-prompts")
        server.request("POST", "/v1/completions", {"prompt": secret, "max_tokens": 1})
        server.stop()
        self.assertIn(secret, log.read_text())

    def test_settings_come_from_a_file_and_the_command_line_goes_before(self):
        config = self.dir / "serve.toml"
        config.write_text(f'model = "{self.model}"\nname = "from-file"\nlisten = "127.0.0.1:0"\nctx = 512\n'
                          'max-running = 3\nstrict-models = true\ncache-budget = "300MB"\n')
        server = Server("--config", config, "--name", "from-line")
        self.addCleanup(server.stop, signal.SIGKILL)
        status, models = server.json("GET", "/v1/models")
        self.assertEqual(models["data"][0]["id"], "from-line")
        self.assertEqual(models["data"][0]["max_model_len"], 512)
        status, error = server.json("POST", "/v1/completions", {**self.COMPLETION, "model": "other"})
        self.assertEqual((status, error["error"]["code"]), (404, "model_not_found"))
        config.write_text('modle = "x"\n')
        self.refused(2, 'no setting "modle"', "--config", config)
        config.write_text('model = [\n')
        self.refused(2, "serve.toml", "--config", config)

    def test_check_says_what_would_fit(self):
        result = subprocess.run([FATHOM, "serve", self.model, "--listen", "127.0.0.1:0", "--check", "--json"],
                                capture_output=True, text=True, check=True)
        answer = json.loads(result.stdout)
        self.assertEqual(answer["models"][0]["name"], "tiny")
        self.assertTrue(answer["models"][0]["fits"])
        self.assertGreater(answer["models"][0]["cache_bytes_per_token"], 0)
        result = subprocess.run([FATHOM, "serve", self.model, "--listen", "127.0.0.1:0", "--check"],
                                capture_output=True, text=True, check=True)
        self.assertIn("context", result.stdout)

    def test_two_models_are_told_apart_by_name(self):
        other = self.dir / "other.gguf"
        subprocess.run([FATHOM, "synth", "--preset", "tiny", "--seed", "9", "--out", other], check=True,
                       capture_output=True)
        server = self.start("--name", "one", "--also", f"two={other}")
        texts = {name: server.json("POST", "/v1/completions", {**self.COMPLETION, "model": name})[1]["choices"]
                 for name in ("one", "two", "unknown")}
        self.assertNotEqual(texts["one"], texts["two"])
        self.assertEqual(texts["one"], texts["unknown"])

    def test_what_keeps_it_from_starting_is_one_line(self):
        self.refused(2, "no model", "--listen", "127.0.0.1:0")
        self.refused(3, "/nonexistent", "/nonexistent", "--listen", "127.0.0.1:0")
        self.refused(2, "--no-auth", self.model, "--listen", "0.0.0.0:0")
        self.refused(2, "HOST:PORT", self.model, "--listen", "8080")
        self.refused(3, "/nonexistent/keys", self.model, "--listen", "127.0.0.1:0", "--api-keys", "/nonexistent/keys")
        self.refused(2, "ctx", self.model, "--listen", "127.0.0.1:0", "--cache-budget", "1MB", "--ctx", "100000")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.refused(3, "cannot listen", self.model, "--listen", f"127.0.0.1:{taken.getsockname()[1]}")

    @unittest.skipUnless(shutil.which("openssl"), "needs openssl to make a certificate")
    def test_https(self):
        certificate = self.dir / "tls.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days",
                        "2", "-keyout", certificate, "-out", self.dir / "cert"], check=True, capture_output=True)
        certificate.write_text(certificate.read_text() + (self.dir / "cert").read_text())
        server = self.start("--tls-cert", certificate)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=DEADLINE_S)
        self.addCleanup(connection.close)
        connection.request("GET", "/health")
        self.assertEqual(connection.getresponse().status, 200)


if __name__ == "__main__":
    FATHOM = program_under_test(__doc__)
    unittest.main()
