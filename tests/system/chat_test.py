#!/usr/bin/env python3
"""run, chat and perplexity as a person uses them, on a small random model; the chat in a terminal.

usage: chat_test.py PATH_OF_FATHOM [--sanitised] [unittest options]
"""
import json
import math
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import unittest

from invocation import IS_SANITISED, deadline, program_under_test

FATHOM = ""


def run(*arguments, **options):
    options.setdefault("timeout", deadline(120))
    text = options.pop("text", True)
    return subprocess.run([FATHOM, *map(str, arguments)], capture_output=True, text=text, check=False, **options)


class ModelTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="fathom-chat-"))
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        cls.model = cls.dir / "tiny.gguf"
        made = run("synth", "--preset", "tiny", "--out", cls.model)
        assert made.returncode == 0, made.stderr

    def refused(self, code, *fragments, arguments, **options):
        result = run(*arguments, **options)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        for fragment in fragments:
            self.assertIn(fragment, result.stderr)
        self.assertEqual(result.stdout, "")


class RunTest(ModelTest):
    def report(self, *arguments, **options):
        result = run("run", self.model, *arguments, "--json", **options)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout.count("\n"), 1)
        return json.loads(result.stdout)

    def test_the_same_seed_gives_the_same_text_on_any_number_of_threads(self):
        texts = {self.report("hello", "--seed", "5", "--max-tokens", "30", "--threads", n)["content"]
                 for n in ("1", "2", "3")}
        self.assertEqual(len(texts), 1)
        self.assertNotIn(self.report("hello", "--seed", "6", "--max-tokens", "30")["content"], texts)

    def test_a_run_without_seed_reports_the_one_it_drew(self):
        first = self.report("hello", "--max-tokens", "12")
        again = self.report("hello", "--max-tokens", "12", "--seed", first["seed"])
        self.assertEqual(first["tokens"], again["tokens"])

    def test_log_probabilities_are_of_every_token_and_the_best_come_first(self):
        report = self.report("hello", "--max-tokens", "6", "--seed", "2", "--logprobs", "3")
        self.assertEqual(len(report["logprobs"]), len(report["tokens"]))
        for token, logprob, top in zip(report["tokens"], report["logprobs"], report["top_logprobs"], strict=True):
            values = [entry["logprob"] for entry in top]
            self.assertEqual(values, sorted(values, reverse=True))
            self.assertLessEqual(sum(map(math.exp, values)), 1.0001)
            self.assertLessEqual(logprob, values[0])
            for entry in top:
                self.assertTrue(entry["id"] != token or entry["logprob"] == logprob)

    def test_stdout_is_the_reply_and_a_newline(self):
        arguments = ("run", self.model, "hello", "--seed", "5", "--max-tokens", "9")
        result = run(*arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout, self.report(*arguments[2:])["content"] + "\n")
        self.assertEqual(run(*arguments[:2], *arguments[3:], input="hello").stdout, result.stdout)

    def test_a_constraint_holds(self):
        for seed in range(5):
            content = self.report("hello", "--chat", "--thinking", "off", "--seed", seed, "--regex", "(ab|cd){3}")["content"]
            self.assertRegex(content, "^(ab|cd){3}$")

    def test_a_json_schema_holds(self):
        schema = self.dir / "schema.json"
        schema.write_text('{"type":"object","properties":{"n":{"type":"integer"},"b":{"type":"boolean"}},'
                          '"required":["n","b"],"additionalProperties":false}')
        reply = json.loads(self.report("hello", "--json-schema", schema, "--seed", "3")["content"])
        self.assertIsInstance(reply["n"], int)
        self.assertIsInstance(reply["b"], bool)

    def test_a_schema_that_nothing_satisfies_is_refused(self):
        schema = self.dir / "schema.json"
        schema.write_text('{"enum":[]}')
        self.refused(2, "enum", arguments=("run", self.model, "hello", "--json-schema", schema))

    def test_a_stop_string_ends_the_text_before_it(self):
        whole = self.report("hello", "--seed", "5", "--max-tokens", "30")["content"]
        stop = whole[len(whole) // 2:len(whole) // 2 + 3]
        cut = self.report("hello", "--seed", "5", "--max-tokens", "30", "--stop", stop)
        self.assertEqual(cut["content"], whole[:whole.index(stop)])
        self.assertEqual(cut["finish"], "stop")

    def test_a_prompt_longer_than_the_context_is_refused_not_cut(self):
        self.refused(2, "12 tokens, expected at most 3",
                     arguments=("run", self.model, "hello hello hello", "--ctx", "4"))

    def test_a_reply_ends_where_the_context_does(self):
        report = self.report("hello", "--ctx", "20", "--seed", "1", "--regex", "[a-z]{50000}")
        self.assertEqual(report["prompt_tokens"] + report["reply_tokens"], 20)
        self.assertEqual(report["finish"], "length")

    def test_an_empty_prompt(self):
        self.refused(2, "expected at least one token", arguments=("run", self.model, ""))
        self.assertGreater(self.report("", "--chat", "--max-tokens", "2")["reply_tokens"], 0)

    def test_broken_utf8_is_repaired_and_said_once(self):
        result = run("run", self.model, "--max-tokens", "2", "--seed", "1", input=b"a\xff\xfeb", text=False)
        self.assertEqual(result.returncode, 0)
        self.assertEqual(result.stderr.count(b"UTF-8"), 1)

    def test_a_cache_budget_that_is_too_small_is_refused(self):
        self.refused(2, "cache", "1000", arguments=("run", self.model, "hello", "--cache-budget", "1kb"))
        self.report("hello", "--max-tokens", "2", "--ctx", "100", "--cache-budget", "1GB")

    def test_bad_options_are_refused(self):
        for option, value, field in (("--temperature", "nan", "temperature"), ("--top-p", "2", "top_p"),
                                     ("--logit-bias", "x", "--logit-bias"), ("--effort", "huge", "huge"),
                                     ("--dialect", "v9", "v9")):
            self.refused(2, field, arguments=("run", self.model, "--chat", "hello", option, value))

    def test_a_model_without_tokenizer_is_refused(self):
        folder = self.dir / "folder"
        run("synth", "--preset", "tiny", "--out", folder)
        self.refused(2, "tokenizer", arguments=("run", folder, "hello"))


class PerplexityTest(ModelTest):
    def test_chunks_and_tail_are_counted_and_the_backends_agree(self):
        text = self.dir / "text.txt"
        text.write_text("the quick brown fox jumps over the lazy dog " * 40)
        reports = []
        for backend in ("cpu", "reference"):
            result = run("perplexity", self.model, text, "--chunk", "64", "--json", "--backend", backend)
            self.assertEqual(result.returncode, 0, result.stderr)
            reports.append(json.loads(result.stdout))
        report = reports[0]
        self.assertEqual(report["scored_tokens"], report["chunks"] * 31)
        self.assertLess(report["unscored_tail_tokens"], 64)
        self.assertAlmostEqual(report["perplexity"], math.exp(report["mean_nll"]), places=6)
        self.assertAlmostEqual(report["mean_nll"], reports[1]["mean_nll"], places=5)
        self.assertGreater(report["standard_error"], 0)
        bytes_per_token = 44 * 40 / (report["chunks"] * 64 + report["unscored_tail_tokens"])
        self.assertAlmostEqual(report["bits_per_byte"] * bytes_per_token * math.log(2) / report["mean_nll"], 1, delta=0.05)
        self.assertGreater(report["bits_per_byte_standard_error"], 0)

    def test_a_text_shorter_than_a_chunk_is_refused(self):
        self.refused(2, "--chunk", arguments=("perplexity", self.model, "-"), input="short")


class PipeTest(ModelTest):
    def chat(self, *lines, arguments=()):
        result = run("chat", self.model, "--max-tokens", "8", "--seed", "1", "--thinking", "off", *arguments,
                     input="".join(line + "\n" for line in lines), env={**os.environ, "HOME": str(self.dir)})
        self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def test_undo_brings_back_the_same_prompt_out_of_the_cache(self):
        result = self.chat("hello", "more", "/undo", "more", "/stats")
        stats = re.findall(r"prompt (\d+) tokens, (\d+) of them known", result.stderr)
        self.assertEqual(stats[1][0], stats[2][0])
        self.assertEqual(int(stats[2][1]), int(stats[2][0]) - 1)
        self.assertNotIn("\x1b", result.stdout + result.stderr)

    def test_a_saved_conversation_is_loaded(self):
        file = self.dir / "conversation.json"
        self.chat("/system Be brief.", "hello", f"/save {file}")
        saved = json.loads(file.read_text())["messages"]
        self.assertEqual([message["role"] for message in saved], ["system", "user", "assistant"])
        result = self.chat(f"/load {file}", "/retry", f"/save {file}")
        again = json.loads(file.read_text())["messages"]
        self.assertEqual(again[:2], saved[:2])
        self.assertIn("3 messages", result.stderr)

    def test_errors_do_not_end_the_chat(self):
        result = self.chat("/nope", "/load /nonexistent", "/think perhaps", "/effort huge", "hello", "/effort", "hello")
        for fragment in ('no command "/nope"', "/nonexistent", "expected on or off", "huge"):
            self.assertIn(fragment, result.stderr)
        self.assertEqual(len(re.findall(r"tokens/s; prompt", result.stderr)), 1)

    def test_a_prompt_beyond_the_context_is_an_error_and_taken_back(self):
        result = self.chat("hello " * 400, "hi", arguments=("--ctx", "400"))
        self.assertIn("expected at most 399", result.stderr)
        self.assertEqual(len(re.findall(r"tokens/s; prompt", result.stderr)), 1)


@unittest.skipIf(IS_SANITISED, "a terminal waits for no sanitiser")
class TerminalTest(ModelTest):
    def setUp(self):
        self.socket = f"fathom-{os.getpid()}-{id(self)}"
        self.home = self.dir / self.id()
        self.home.mkdir()

    def tearDown(self):
        self.tmux("kill-server", check=False)

    def tmux(self, *arguments, check=True):
        return subprocess.run(["tmux", "-L", self.socket, "-f", "/dev/null", *arguments], capture_output=True,
                              text=True, check=check, timeout=20).stdout

    def start(self, *arguments):
        command = (f"env HOME={self.home} XDG_STATE_HOME= LC_ALL=C.UTF-8 {FATHOM} chat {self.model} --seed 1 "
                   f"--thinking off {' '.join(arguments)}; echo left $?; sleep 60")
        self.tmux("new-session", "-d", "-x", "80", "-y", "40", command)
        self.wait_for("> ")

    def keys(self, *keys):
        self.tmux("send-keys", *keys)

    def paste(self, text):
        self.tmux("set-buffer", text)
        self.tmux("paste-buffer", "-p")

    def screen(self):
        return self.tmux("capture-pane", "-p", "-J", "-S", "-1000")

    def wait_for(self, fragment, count=1, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.screen().count(fragment) >= count:
                return self.screen()
            time.sleep(0.05)
        self.fail(f"no {fragment!r} (times {count}) within {seconds} s on:\n{self.screen()}")

    def test_a_reply_streams_and_says_its_speed(self):
        self.start("--max-tokens", "8")
        self.keys("hello", "Enter")
        self.wait_for("tokens/s; prompt")
        self.keys("C-d")
        self.wait_for("left 0")

    def test_ctrl_c_stops_the_reply_and_not_the_program(self):
        self.start("--regex", "'[a-z]{50000}'")  # a reply that does not end by itself
        self.keys("hello", "Enter")
        self.wait_for("> hello\n")
        time.sleep(0.5)
        self.keys("C-c")
        self.wait_for("; stopped]")
        self.keys("/stats", "Enter")
        self.wait_for("in the cache")

    def test_ctrl_c_at_the_prompt_drops_the_line(self):
        self.start("--max-tokens", "4")
        self.keys("to be dropped", "C-c")
        self.wait_for("leaves)")
        self.keys("/quit", "Enter")
        self.wait_for("left 0")

    def test_undo_is_served_from_the_cache(self):
        self.start("--max-tokens", "8")
        self.keys("hello", "Enter")
        self.wait_for("tokens/s; prompt")
        self.keys("/undo", "Enter")
        self.wait_for("taken back: hello")
        self.keys("hello", "Enter")
        screen = self.wait_for("tokens/s; prompt", 2)
        prompt, known = re.findall(r"prompt (\d+) tokens, (\d+) of them known", screen)[-1]
        self.assertEqual(int(known), int(prompt) - 1)

    def test_history_outlives_the_program(self):
        self.start("--max-tokens", "4")
        self.keys("/help", "Enter")
        self.wait_for("this list")
        self.keys("C-d")
        self.wait_for("left 0")
        self.tmux("kill-server")
        self.assertIn("/help", (self.home / ".local/state/fathom/chat_history").read_text())
        time.sleep(0.2)
        self.start("--max-tokens", "4")
        self.keys("Up", "Enter")
        self.wait_for("this list")

    def test_a_paste_of_many_lines_is_one_message(self):
        self.start("--max-tokens", "4")
        self.paste("\n".join(f"line {number}" for number in range(12)))
        self.wait_for("[paste 1: 12 lines")
        self.keys("Enter")
        self.wait_for("tokens/s; prompt")
        file = self.home / "saved.json"
        self.keys(f"/save {file}", "Enter")
        self.wait_for("2 messages")
        content = json.loads(file.read_text())["messages"][0]["content"]
        self.assertEqual(content.splitlines(), [f"line {number}" for number in range(12)])

    def test_a_narrower_window_keeps_the_line(self):
        self.start("--max-tokens", "4")
        line = "/system " + "word " * 20 + "end"
        self.keys(line)
        self.tmux("resize-window", "-x", "40", "-y", "40")
        time.sleep(0.3)
        self.keys("Enter")
        self.wait_for("system message set")
        file = self.home / "saved.json"
        self.keys(f"/save {file}", "Enter")
        self.wait_for("1 messages")
        self.assertEqual(json.loads(file.read_text())["messages"][0]["content"], line[len("/system "):])

    def test_sigterm_restores_the_terminal(self):
        self.start("--max-tokens", "4")
        pid = subprocess.run(["pgrep", "-f", f"^{FATHOM} chat {self.model}"], capture_output=True, text=True,
                             check=True).stdout.split()[-1]
        subprocess.run(["kill", "-TERM", pid], check=True)
        self.wait_for("left 130")


if __name__ == "__main__":
    FATHOM = program_under_test(__doc__)
    unittest.main(verbosity=2)
