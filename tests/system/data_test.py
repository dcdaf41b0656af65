#!/usr/bin/env python3
"""fathom data as a user runs it: builds that are killed and go on, reports, errors; tokenizers against PyPI's.

usage: data_test.py PATH_OF_FATHOM [--sanitised] [unittest options]

Needs tools/install_text_data; without it the tests fail. FATHOM_SEED chooses texts and moments.
"""
import gzip
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/support"))

import text_corpus  # noqa: E402

if pathlib.Path(sys.prefix) != text_corpus.VENV_PYTHON.parent.parent:
    if not text_corpus.VENV_PYTHON.exists():
        sys.exit(f"{text_corpus.VENV_PYTHON} is missing: run tools/install_text_data")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.execv(text_corpus.VENV_PYTHON, [str(text_corpus.VENV_PYTHON), *sys.argv])

import tokenizers  # noqa: E402

from invocation import IS_SANITISED, deadline, program_under_test  # noqa: E402

FATHOM = ""
SEED = int(os.environ.get("FATHOM_SEED", "1"))
SCALE = 10 if IS_SANITISED else 1  # what sizes are divided by
BEGIN, END = "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>"


def command(*arguments):
    return [FATHOM, "data", *map(str, arguments)]


def run(*arguments, **options):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=deadline(250), check=False,
                          **options)


def write_lines(path, objects):
    path.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in objects), encoding="utf-8")


def words(rng, count):
    return " ".join(rng.choice("the of river stone walked quiet evening letter garden small under".split())
                    + rng.choice(["", "", "s", str(rng.randrange(900))]) for _ in range(count))


def words_of(rng, letters, count):
    return " ".join("".join(rng.choice(letters) for _ in range(rng.randrange(1, 7))) for _ in range(count))


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class BuildCase(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fathom-data-"))
        self.addCleanup(shutil.rmtree, self.dir)
        self.out = self.dir / "out"

    def build(self, *arguments, **options):
        result = run("build", *arguments, "--out", self.out, "--json", **options)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def refuses(self, code, part, *arguments, **options):
        result = run("build", *arguments, "--out", self.out, **options)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertIn(part, result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        self.assertFalse((self.out / "data.json").exists())


class DataTest(BuildCase):
    def corpus(self, count):
        rng = random.Random(SEED)
        texts = [words(rng, rng.randrange(20, 300)) for _ in range(count)]
        texts += texts[::7] + [text + " and more" for text in texts[3::11]]
        write_lines(self.dir / "a.jsonl", [{"text": text} for text in texts])
        write_lines(self.dir / "talk.jsonl", [
            {"messages": [{"role": "user", "content": f"{words(rng, 5)}?"},
                          {"role": "assistant", "content": f"{words(rng, 9)}."}]} for _ in range(count // 10)])
        with gzip.open(self.dir / "b.txt.gz", "wt") as file:
            file.write("\n\n".join(words(rng, 40) for _ in range(count // 10)))
        write_lines(self.dir / "exam.jsonl", [{"question": texts[5]}, {"question": "too short"}])
        return [self.dir / "a.jsonl", self.dir / "talk.jsonl", self.dir / "b.txt.gz", "--split", "blank-lines",
                "--train-tokenizer", "700", "--chat-tokens", "--near-duplicates", "0.8", "--validation", "0.1",
                "--decontaminate", self.dir / "exam.jsonl", "--shard-tokens", "20000"]

    def test_report_and_inspection_agree(self):
        arguments = self.corpus(700)
        report = self.build(*arguments)
        manifest = json.loads((self.out / "data.json").read_text())
        self.assertEqual(report["documents"], manifest["documents"])
        self.assertEqual(manifest["report"]["refused"]["exact_duplicate"], 100)
        self.assertGreaterEqual(manifest["report"]["refused"]["near_duplicate"], 55)
        self.assertEqual(manifest["report"]["refused"]["contaminated"], 1)
        self.assertEqual(manifest["report"]["short_evaluation_items"], 1)
        hits = [json.loads(line) for line in (self.out / "contamination.jsonl").read_text().splitlines()]
        self.assertEqual(hits, [{"document": f"{self.dir / 'a.jsonl'}: line 6",
                                 "items": [{"file": str(self.dir / "exam.jsonl"), "line": 1}]}])
        found = json.loads(run("inspect", self.out, "--verify", "--json").stdout)
        self.assertEqual((found["documents"], found["tokens"]), (manifest["documents"], manifest["tokens"]))
        self.assertLess(found["targets"], found["tokens"] - found["documents"])  # prompts do not count
        first = json.loads((self.dir / "a.jsonl").read_text().splitlines()[0])["text"]
        self.assertEqual(run("inspect", self.out, "--document", "0").stdout, f"{BEGIN}{first}{END}\n")

    def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(self):
        arguments = self.corpus(2000 // SCALE)
        start = time.monotonic()
        self.build(*arguments)
        seconds = time.monotonic() - start
        expected = files_of(self.out)
        rng = random.Random(SEED)
        for _ in range(2):
            shutil.rmtree(self.out)
            for _ in range(6):
                process = subprocess.Popen(command("build", *arguments, "--out", self.out),
                                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                time.sleep(rng.uniform(0, 0.7 * seconds))
                process.kill()
                _, errors = process.communicate()
                if process.returncode == 0 or b"finished data set" in errors:
                    break
                self.assertEqual((process.returncode, errors), (-signal.SIGKILL, b""))
            if not (self.out / "data.json").exists():
                self.build(*arguments)
            self.assertEqual(sorted(files_of(self.out)), sorted(expected))
            self.assertEqual(files_of(self.out), expected, f"seed {SEED}")

    def test_ctrl_c_ends_it_and_the_same_command_goes_on(self):
        arguments = self.corpus(2000 // SCALE)
        process = subprocess.Popen(command("build", *arguments, "--out", self.out),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while not (self.out / ".build").exists():
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=deadline(60))
        self.assertEqual(process.returncode, 130, errors)
        self.assertIn(b"the same command goes on from there", errors)
        self.assertEqual([path for path in self.out.iterdir() if ".partial" in path.name], [])
        self.build(*arguments)

    def test_a_full_disk_leaves_no_half_file_and_it_goes_on(self):
        arguments = self.corpus(1500)

        def limit():  # stands for a disk that fills up
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))
        self.refuses(3, "File too large", *arguments, preexec_fn=limit)
        names = sorted(path.name for path in self.out.iterdir())
        self.assertEqual([name for name in names if name != ".build" and name != "tokenizer.json"], [])
        self.build(*arguments)

    def test_what_is_wrong_is_said_in_one_line(self):
        (self.dir / "a.txt").write_text("some text")
        (self.dir / "p.parquet").write_bytes(b"PAR1")
        (self.dir / "bad.jsonl").write_text('{"text":"a"}\n{"texts":"b"}\n')
        train = ["--train-tokenizer", "300"]
        self.refuses(2, "pyarrow.parquet", self.dir / "p.parquet", *train)
        self.refuses(2, "bad.jsonl: line 2: expected a string \"text\"", self.dir / "bad.jsonl", *train)
        self.refuses(2, "expected --tokenizer MODEL or --train-tokenizer SIZE", self.dir / "a.txt")
        self.refuses(3, "found no such file", self.dir / "none.txt", *train)
        shutil.rmtree(self.out)
        self.build(self.dir / "a.txt", *train)
        again = run("build", self.dir / "a.txt", *train, "--out", self.out)
        self.assertEqual(again.returncode, 2)
        self.assertIn("found a finished data set", again.stderr)
        self.build(self.dir / "a.txt", *train, "--overwrite")
        shard = self.out / "shard-00000"
        data = bytearray(shard.read_bytes())
        data[130] ^= 1
        shard.write_bytes(data)
        damaged = run("inspect", self.out, "--verify")
        self.assertEqual(damaged.returncode, 2)
        self.assertIn(f"{shard}: block 0", damaged.stderr)


class TokenizerOracle(BuildCase):
    """The trained tokenizer.json in PyPI's tokenizers, and their trainer on the same texts."""

    def train(self, texts, size, *options):
        write_lines(self.dir / "texts.jsonl", [{"text": text} for text in texts])
        self.build(self.dir / "texts.jsonl", "--keep-duplicates", "--train-tokenizer", size, *options)
        path = self.out / "tokenizer.json"
        return path, json.loads(path.read_text()), tokenizers.Tokenizer.from_file(str(path))

    def test_merges_are_those_of_their_trainer(self):
        rng = random.Random(SEED)
        corpora = {
            "real texts": (text_corpus.texts(2_000_000 // SCALE), 4000 // SCALE),
            # Few letters: many pairs are as frequent as others.
            "few letters": ([words_of(rng, "eeettaoin", 40) for _ in range(400 // SCALE)], 500),
        }
        for name, (texts, size) in corpora.items():
            with self.subTest(name):
                shutil.rmtree(self.out, ignore_errors=True)
                _, ours, loaded = self.train(texts, size)
                oracle = tokenizers.Tokenizer(tokenizers.models.BPE())
                oracle.pre_tokenizer = loaded.pre_tokenizer
                oracle.train_from_iterator(texts, tokenizers.trainers.BpeTrainer(
                    vocab_size=size, min_frequency=2, special_tokens=[BEGIN, END], show_progress=False,
                    initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet()))
                theirs = json.loads(oracle.to_str())
                self.assertEqual([merge.split(" ") for merge in ours["model"]["merges"]], theirs["model"]["merges"])
                self.assertEqual(ours["model"]["vocab"], theirs["model"]["vocab"])

    def test_ids_are_theirs(self):
        rng = random.Random(SEED)
        path, _, oracle = self.train(text_corpus.texts(500_000), 2000, "--chat-tokens")
        pieces = ["the ", " of", "12345", "\u4e2d\u6587", "\u30ab\u30bf", "\r\n", "  ", "'s", "{x: 1}", BEGIN, END, "<think>",
                  "<\uff5cUser\uff5c>", "\U0001f642", "\u0939\u093f", "na\u00efve", "\x00", "\t"]
        texts = ["".join(rng.choice(pieces) if rng.random() < 0.7 else chr(rng.choice([*range(1, 0xd7ff), *range(0xe000, 0x2ffff)]))
                         for _ in range(rng.randrange(20))) for _ in range(3000)]
        lines = self.dir / "strings.jsonl"
        lines.write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="utf-8")
        result = subprocess.run([FATHOM, "tokenize", path, lines, "--jsonl"], capture_output=True, text=True, check=True)
        found = [json.loads(line) for line in result.stdout.splitlines()]
        expected = [each.ids for each in oracle.encode_batch(texts, add_special_tokens=False)]
        self.assertEqual(found, expected, f"seed {SEED}")
        for text, ids in zip(texts, expected):
            self.assertEqual(oracle.decode(ids, skip_special_tokens=False), text)


if __name__ == "__main__":
    FATHOM = program_under_test(__doc__)
    unittest.main()
