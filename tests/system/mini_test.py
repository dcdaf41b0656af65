#!/usr/bin/env python3
"""models/fathom-mini as a user meets it: the quality that its card states, answers, and files that fit together.

usage: mini_test.py PATH_OF_FATHOM [--sanitised] [unittest options]
"""
import json
import pathlib
import re
import subprocess
import unittest

from invocation import deadline, program_under_test

FATHOM = ""
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MODEL = ROOT / "models/fathom-mini"
# Pages of Jane Austen that it did not learn from, out of the held-out text that the card has a figure of.
HELD_OUT = ROOT / "tests/data/mini/held-out.txt"
BITS_PER_BYTE = 1.376
MOST_BYTES = 40_000_000


def run(*arguments):
    return subprocess.run([FATHOM, *map(str, arguments)], capture_output=True, text=True,
                          timeout=deadline(280), check=False)


class MiniTest(unittest.TestCase):
    def report(self, *arguments):
        result = run(*arguments, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def test_it_is_as_good_as_when_it_was_made(self):
        for numerics in ("high", "official", "fast"):
            found = self.report("perplexity", MODEL, HELD_OUT, "--numerics", numerics)["bits_per_byte"]
            self.assertAlmostEqual(found, BITS_PER_BYTE, delta=0.005 * BITS_PER_BYTE, msg=numerics)

    def test_it_answers_the_same_by_any_number_of_threads(self):
        replies = {self.report("run", MODEL, "What is the moon?", "--chat", "--thinking", "off", "--seed", 1,
                               "--max-tokens", 40, "--threads", threads)["content"] for threads in (1, 2)}
        self.assertEqual(len(replies), 1)
        self.assertRegex(replies.pop(), r"[a-z]{2,} [a-z]{2,}")

    def test_its_folder_is_complete_and_small(self):
        names = {path.name for path in MODEL.iterdir()}
        self.assertLessEqual({"README.md", "NOTICE", "config.json", "loss.svg", "tokenizer.json", "training.toml"}, names)
        self.assertLess(sum(path.stat().st_size for path in MODEL.iterdir()), MOST_BYTES)
        card = (MODEL / "README.md").read_text()
        for link in re.findall(r"\]\(([^)#:]+)\)", card):
            self.assertTrue((MODEL / link).exists(), link)


if __name__ == "__main__":
    FATHOM = program_under_test(__doc__)
    unittest.main()
