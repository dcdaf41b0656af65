#!/usr/bin/env python3
"""fathom parse-reply as a user runs it: golden replies, stdin and files, errors.

usage: parse_reply_test.py PATH_OF_FATHOM [unittest options]
"""
import json
import pathlib
import shutil
import subprocess
import tempfile
import unittest

from invocation import deadline, program_under_test

FATHOM = ""
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CASES = ROOT / "tests/data/golden/prompt-encoding/reply-cases.json"
KEYS = ("reasoning", "content", "calls", "finish")


def run(*arguments, reply=b""):
    return subprocess.run([FATHOM, "parse-reply", *map(str, arguments)], input=reply,
                          capture_output=True, timeout=deadline(120), check=False)


class ParseReply(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fathom-reply-"))
        self.addCleanup(shutil.rmtree, self.dir)
        self.golden = json.loads(CASES.read_text())
        self.tools = self.write("tools.json", json.dumps(self.golden["tools"]).encode())

    def write(self, name, data):
        (self.dir / name).write_bytes(data)
        return self.dir / name

    def succeed(self, *arguments, reply=b""):
        result = run(*arguments, reply=reply)
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assertEqual(result.stdout.count(b"\n"), 1)
        self.assertTrue(result.stdout.endswith(b"\n"))
        return json.loads(result.stdout)

    def refuse(self, code, part, *arguments):
        result = run(*arguments)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertEqual(result.stdout, b"")
        message = result.stderr.decode()
        self.assertTrue(message.startswith("fathom: "), message)
        self.assertEqual(message.count("\n"), 1, message)
        self.assertIn(part, message)

    def test_golden_replies_from_stdin_and_from_files(self):
        self.assertEqual(len(self.golden["cases"]), 13)
        for case in self.golden["cases"]:
            reply = case["reply"].encode()
            options = ["--tools", self.tools, "--start", case["start"], "--end", case["end"]]
            expected = {key: case[key] for key in KEYS}
            with self.subTest(case["name"]):
                self.assertEqual(self.succeed(*options, reply=reply), expected)
                self.assertEqual(self.succeed("-", *options, reply=reply), expected)
                self.assertEqual(self.succeed(self.write("reply", reply), *options), expected)

    def test_a_trailing_newline_is_kept_and_content_is_the_default_start(self):
        expected = {"reasoning": "", "content": "Hi\n", "calls": [], "finish": "stop"}
        self.assertEqual(self.succeed(reply=b"Hi\n"), expected)
        self.assertEqual(self.succeed(reply=b""), {**expected, "content": ""})

    def test_a_long_reply_is_cut_by_length(self):
        reply = "<｜DSML｜invoke name=\"write\"><｜DSML｜parameter name=\"text\" string=\"true\">ab".encode()
        found = self.succeed("--tools", self.tools, "--end", "length", reply=reply)
        self.assertEqual(found["finish"], "length")
        self.assertEqual(found["calls"], [{"name": "write", "arguments": "{\"text\": \"ab"}])

    def test_without_tools_no_text_is_a_call(self):
        reply = "<｜DSML｜tool_calls>"
        self.assertEqual(self.succeed(reply=reply.encode())["content"], reply)

    def test_wrapped_tools_are_read(self):
        tools = [{"type": "function", "function": tool} for tool in self.golden["tools"]]
        path = self.write("request.json", json.dumps({"tools": tools}).encode())
        found = self.succeed("--tools", path, reply="<invoke name=\"write\"></invoke>".encode())
        self.assertEqual(found["calls"], [{"name": "write", "arguments": "{}"}])

    def test_broken_utf8_and_long_replies_are_no_trouble(self):
        self.assertEqual(self.succeed(reply=b"a\xff\xe4\xbd")["content"], "a\ufffd\ufffd")
        self.assertEqual(len(self.succeed("--tools", self.tools, reply=b"<" * 10_000_000)["content"]), 10_000_000)

    def test_bad_options_and_files_are_refused(self):
        self.refuse(2, "expected reasoning or content", "--start", "middle")
        self.refuse(2, "expected stop or length", "--end", "")
        self.refuse(3, "no/such/file", "no/such/file")
        self.refuse(3, str(self.dir), self.dir)
        self.refuse(2, "not valid JSON", "--tools", self.write("bad.json", b"[{"))
        self.refuse(2, "tool 0", "--tools", self.write("bad.json", b"[3]"))


if __name__ == "__main__":
    FATHOM = program_under_test(__doc__)
    unittest.main()
