#!/usr/bin/env python3
"""Token ids against PyPI's tokenizers, text by text: random strings, real texts, other pre-tokenizers.

usage: tokenizer_oracle_test.py PATH_OF_FATHOM [--sanitised] [unittest options]

Needs tools/install_text_data; without it the tests fail. FATHOM_SEED chooses the random strings.
"""
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/support"))

import text_corpus  # noqa: E402

if pathlib.Path(sys.prefix) != text_corpus.VENV_PYTHON.parent.parent:
    if not text_corpus.VENV_PYTHON.exists():
        sys.exit(f"{text_corpus.VENV_PYTHON} is missing: run tools/install_text_data")
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    os.execv(text_corpus.VENV_PYTHON, [str(text_corpus.VENV_PYTHON), *sys.argv])

import tokenizers  # noqa: E402

from invocation import IS_SANITISED, program_under_test  # noqa: E402

FATHOM = ""
TOKENIZER = ROOT / "tests/data/golden/tokenizer/tokenizer.json"
SEED = int(os.environ.get("FATHOM_SEED", "1"))
SCALE = 10 if IS_SANITISED else 1  # what sizes are divided by

CODE = ["int ", "main", "(", ")", "{", "}", ";", "\n", "\n\n", "    ", "\t", "->", "::", "//", "/*", "#include <",
        "std", "::vector<", ">", "def ", "self", ".", "return ", "0x1f", "3.14", "==", "!=", "\"", "'s", "'LL", "'",
        "\\n", "http://", "www.", "@", "$x", "`", "<b>", "</b>", "&amp;", "%d", "_", "__init__", "\r\n", "\r"]
WORDS = ["the", "The", " the", "Hello", " world", "don't", "DON'T", "it's", "we'll", "they\u2019re", "na\u00efve",
         "stra\u00dfe", " \u041f\u0440\u0438\u0432\u0435\u0442", "\u4e2d\u6587", "\u306e\u308a", "\u30ab\u30bf\u30ab\u30ca",
         "\ud55c\uad6d\uc5b4", " \u0627\u0644\u0639\u0631\u0628\u064a\u0629", "\u0939\u093f\u0928\u094d\u0926\u0940",
         "\u0e44\u0e17\u0e22", "1234567890", " 42", "\u0664\u0662", "\u2167", "\u00bd", "\u00b2", "\uff0c\u3002",
         "\u3001", "\u2026", "\u2014", "e\u0301", "'\u017f", "\u212a", "\u3000", "\u00a0", "\u200b", "\ufeff",
         "\u200d", "\u2028", "\u0085", "\x00", "\x1c", "\x7f"]
EMOJI = ["\U0001f642", "\U0001f469\u200d\U0001f467", "\U0001f1ee\U0001f1f9", "\U0001f44d\U0001f3fd", "\u2764\ufe0f", "1\ufe0f\u20e3"]
CONTROLS = ["<\uff5cUser\uff5c>", "<think>", "</think>", "\uff5cDSML\uff5c", "<\uff5cbegin\u2581of\u2581sentence\uff5c>",
            "<|EOT|>", "<dsml:", "<\uff5c/table>\uff5c", "<\uff5c", "\uff5c>", "<\uff5cend\u2581of\u2581", "<thin",
            "<\uff5cplace\u2581holder\u2581no\u25811", "<\uff5cplace\u2581holder\u2581no\u258112\uff5c>"]


def code_points():
    return [code for code in range(0x110000) if not 0xd800 <= code <= 0xdfff]


def random_text(rng, pool):
    """Words, code, emoji, control tokens, runs and single code points, mixed."""
    parts = []
    for _ in range(rng.randint(1, 12)):
        kind = rng.random()
        if kind < 0.3:
            parts.append(rng.choice(WORDS))
        elif kind < 0.55:
            parts.append(rng.choice(CODE))
        elif kind < 0.6:
            parts.append(rng.choice(EMOJI))
        elif kind < 0.65:
            parts.append(rng.choice(CONTROLS))
        elif kind < 0.72:
            parts.append(rng.choice([" ", "\n", "\t", "\r\n", "\u3000", "a", "-", "1", "\u4e00", "\u0301"]) *
                         rng.randint(1, 70))
        elif kind < 0.85:
            parts.append(chr(rng.choice(pool)))
        else:
            parts.append("".join(chr(rng.randint(0x20, 0x7e)) for _ in range(rng.randint(1, 10))))
    return "".join(parts)


def random_texts(count, seed):
    """`count` strings, among them every code point that a string can hold."""
    rng = random.Random(seed)
    codes = code_points()
    letters = [code for code in codes if code < 0x3000 or 0xa000 <= code < 0xac00 or 0x1f000 <= code < 0x20000]
    rng.shuffle(codes)
    texts = [random_text(rng, letters) for _ in range(count - len(codes) // 20)]
    # Twenty code points a string: alone, between letters, digits and blanks.
    for begin in range(0, len(codes), 20):
        texts.append("".join(rng.choice(["", " ", "a", "1", "\n", "."]) + chr(code)
                             for code in codes[begin:begin + 20]))
    return texts


class OracleTest(unittest.TestCase):
    def ids(self, tokenizer, texts, *options):
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            file.writelines(json.dumps(text) + "\n" for text in texts)
            file.flush()
            result = subprocess.run([FATHOM, "tokenize", tokenizer, file.name, "--jsonl", *options],
                                    capture_output=True, text=True, check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        return [json.loads(line) for line in result.stdout.splitlines()]

    def compare(self, tokenizer, oracle, texts, *options):
        found = self.ids(tokenizer, texts, *options)
        self.assertEqual(len(found), len(texts))
        differences = 0
        for begin in range(0, len(texts), 5000):
            batch = texts[begin:begin + 5000]
            expected = oracle.encode_batch(batch, add_special_tokens=False)
            for text, ours, theirs in zip(batch, found[begin:], expected):
                if ours != theirs.ids:
                    differences += 1
                    if differences <= 5:
                        print(f"seed {SEED}: {text[:300]!r}\n  found    {ours[:60]}\n  expected {theirs.ids[:60]}")
        self.assertEqual(differences, 0, f"{differences} of {len(texts)} texts differ")

    def variant(self, change):
        """A tokenizer.json like the V4 one but for what `change` does to it, and its oracle."""
        document = json.loads(TOKENIZER.read_text())
        change(document)
        file = tempfile.NamedTemporaryFile("w", suffix=".json")
        self.addCleanup(file.close)
        json.dump(document, file)
        file.flush()
        return file.name, tokenizers.Tokenizer.from_file(file.name)


class Published(OracleTest):
    def setUp(self):
        self.oracle = tokenizers.Tokenizer.from_file(str(TOKENIZER))

    def test_random_strings(self):
        self.compare(TOKENIZER, self.oracle, random_texts(120_000, SEED))

    def test_random_strings_with_control_tokens_off(self):
        _, oracle = self.variant(lambda document: document.update(added_tokens=[]))
        rng = random.Random(SEED + 1)
        texts = [random_text(rng, range(0x3000)) for _ in range(20_000 // SCALE)]
        self.compare(TOKENIZER, oracle, texts, "--plain")

    def test_real_texts(self):
        texts = text_corpus.texts(20_000_000 // SCALE)
        for begin in range(0, len(texts), 400):
            self.compare(TOKENIZER, self.oracle, texts[begin:begin + 400])

    def test_long_runs(self):
        rng = random.Random(SEED + 2)
        texts = [unit * (200_000 // len(unit))
                 for unit in (" ", "a", "ab", "\n", " \n", "1", "\u4e2d", "\u0301", "-", "\u3000", "aA", "<\uff5c")]
        texts.append("".join(rng.choice("abcdefghij") for _ in range(200_000)))
        self.compare(TOKENIZER, self.oracle, texts)

    def test_ids_become_the_bytes_of_the_text_again(self):
        texts = [text for text in random_texts(60_000, SEED + 3)[:2000]] + text_corpus.texts(200_000)
        for text in ["\n".join(texts)]:
            ids = self.oracle.encode(text, add_special_tokens=False).ids
            with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
                json.dump(ids, file)
                file.flush()
                result = subprocess.run([FATHOM, "detokenize", TOKENIZER, file.name], capture_output=True, check=True)
            self.assertEqual(result.stdout, text.encode())


def split(regex, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert}


def literal(text, behavior):
    return {"type": "Split", "pattern": {"String": text}, "behavior": behavior, "invert": False}


def byte_level(use_regex=False, add_prefix_space=False):
    return {"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": True, "use_regex": use_regex}


TAIL = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*" + TAIL
QWEN = LLAMA.replace("{1,3}", "")
QWEN_MARKS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*" + TAIL)
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
PUNCTUATION = r"\s?[!-/:-~" + "\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"
IDEOGRAPHS = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
VARIANTS = {
    "gpt2": [byte_level(use_regex=True)],
    "gpt2 with a blank in front": [byte_level(use_regex=True, add_prefix_space=True)],
    "gpt2 as a split": [split(GPT2, "Removed", True), byte_level()],
    "smollm": [{"type": "Digits", "individual_digits": True}, byte_level(use_regex=True)],
    "digits": [{"type": "Digits", "individual_digits": False}, byte_level()],
    "llama3": [split(LLAMA), byte_level()],
    "llama3 removed": [split(LLAMA, "Removed", True), byte_level()],
    "qwen2": [split(QWEN), byte_level()],
    "qwen with marks": [split(QWEN_MARKS), byte_level()],
    "deepseek llm without letters": [split("[\r\n]"), split(PUNCTUATION), split(r"\s+$"), split(IDEOGRAPHS),
                                     {"type": "Digits", "individual_digits": True}, byte_level()],
    "deepseek coder": [split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split(IDEOGRAPHS),
                       {"type": "Digits", "individual_digits": True}, byte_level()],
    "trailing spaces": [split(r"\s+$"), byte_level()],
    "falcon": [split(r"[\p{P}\$\+<=>\^~\|`]+", "Contiguous"), byte_level(use_regex=True)],
    "default": [split(r"[\p{P}\$\+<=>\^~\|]+"), split(GPT2), split(r"\p{N}+"), split("[0-9][0-9][0-9]"), byte_level()],
    "removed": [split(r"\p{N}{1,3}", "Removed"), byte_level()],
    "removed between": [split(r"\p{N}{1,3}", "Removed", True), byte_level()],
    "merged with previous": [split(r"\p{N}", "MergedWithPrevious"), byte_level()],
    "merged with previous, inverted": [split(r"\p{N}", "MergedWithPrevious", True), byte_level()],
    "merged with next": [split(r"\p{N}", "MergedWithNext"), byte_level()],
    "contiguous": [split(r"\p{N}", "Contiguous"), byte_level()],
    "literal": [literal("a", "MergedWithNext"), literal("->", "Isolated"), byte_level()],
}


class OtherPreTokenizers(OracleTest):
    def test_all(self):
        rng = random.Random(SEED + 4)
        codes = code_points()
        texts = [random_text(rng, codes[:0x3000]) for _ in range(3000 // SCALE)]
        texts += ["".join(chr(code) for code in rng.sample(codes, 10)) for _ in range(300)]
        for name, steps in VARIANTS.items():
            with self.subTest(name):
                tokenizer, oracle = self.variant(lambda document: document.update(
                    pre_tokenizer={"type": "Sequence", "pretokenizers": steps}))
                self.compare(tokenizer, oracle, texts)

    def test_deepseek_letters(self):
        source = (ROOT / "fathom/model/text/split_patterns.cc").read_text()
        pieces = source.split("&find<SpaceSetRun<LatinLetters>>,")[1].split("},")[0]
        regex = "".join(json.loads('"' + part + '"') if "\\U" not in part else
                        part.encode().decode("unicode_escape") for part in pieces.split('"')[1::2])
        regex = regex.replace("\\\\s", "\\s")
        rng = random.Random(SEED + 5)
        texts = ["".join(rng.choice(["", " ", "a", "\u0301"]) + chr(code) for code in range(begin, begin + 8))
                 for begin in range(0x20, 0x20000, 8) if not 0xd800 <= begin <= 0xdfff]
        tokenizer, oracle = self.variant(lambda document: document.update(
            pre_tokenizer={"type": "Sequence", "pretokenizers": [split(regex), byte_level()]}))
        self.compare(tokenizer, oracle, texts)


class OtherModels(OracleTest):
    def test_flags_of_added_tokens(self):
        def change(document):
            for i, token in enumerate(document["added_tokens"]):
                token["lstrip"] = i % 3 == 0
                token["rstrip"] = i % 4 == 0
        tokenizer, oracle = self.variant(change)
        rng = random.Random(SEED + 6)
        texts = ["".join(rng.choice(CONTROLS + [" ", "  ", "\n", "x", "\u3000"]) for _ in range(12))
                 for _ in range(3000 // SCALE)]
        self.compare(tokenizer, oracle, texts)

    def test_pairs_as_merges_and_ignored_merges(self):
        def change(document):
            merges = document["model"]["merges"]
            document["model"]["merges"] = [merge.split(" ") for merge in merges[:len(merges) // 2]]
            document["model"]["ignore_merges"] = True
        tokenizer, oracle = self.variant(change)
        rng = random.Random(SEED + 7)
        self.compare(tokenizer, oracle, [random_text(rng, range(0x3000)) for _ in range(3000 // SCALE)])

    def test_tokens_that_merges_do_not_reach(self):
        def change(document):
            document["model"]["merges"] = document["model"]["merges"][::2]
        tokenizer, oracle = self.variant(change)
        rng = random.Random(SEED + 8)
        self.compare(tokenizer, oracle, [random_text(rng, range(0x3000)) for _ in range(3000 // SCALE)])

    def test_bytes_without_a_token(self):
        def change(document, unknown):
            vocab = document["model"]["vocab"]
            for letter in "xyz":
                for token in [token for token in vocab if letter in token]:
                    del vocab[token]
            document["model"]["merges"] = [merge for merge in document["model"]["merges"]
                                           if not set(merge) & set("xyz")]
            document["added_tokens"] = []
            document["model"]["unk_token"] = unknown
            document["model"]["fuse_unk"] = unknown == "b"
        rng = random.Random(SEED + 9)
        texts = [random_text(rng, range(0x300)) + "xxyz" for _ in range(1000)]
        for unknown in (None, "a", "b"):
            tokenizer, oracle = self.variant(lambda document: change(document, unknown))
            self.compare(tokenizer, oracle, texts)

    def test_characters_with_byte_fallback(self):
        words = ["\u2581the", "\u2581", "t", "h", "e", "th", "he", "the", "\u2581t", "\u2581th", "\u00e9", "a", "an", "n",
                 "\u2581an", "\u4e2d", "\u6587", "\u4e2d\u6587"]
        vocab = {"<unk>": 0, "<s>": 1, "</s>": 2}
        for byte in range(256):
            vocab[f"<0x{byte:02X}>"] = len(vocab)
        for word in words:
            vocab[word] = len(vocab)
        merges = [("t", "h"), ("th", "e"), ("h", "e"), ("\u2581", "the"), ("\u2581", "t"), ("\u2581t", "h"), ("a", "n"),
                  ("\u2581", "an"), ("\u4e2d", "\u6587")]
        for fallback in (True, False):
            document = {
                "version": "1.0", "truncation": None, "padding": None,
                "added_tokens": [{"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
                                  "normalized": False, "special": True} for i, text in enumerate(["<unk>", "<s>", "</s>"])],
                "normalizer": {"type": "Sequence", "normalizers": [
                    {"type": "Prepend", "prepend": "\u2581"},
                    {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
                "pre_tokenizer": None, "post_processor": None,
                "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
                "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                          "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": fallback,
                          "vocab": vocab, "merges": [" ".join(merge) for merge in merges]}}
            with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
                json.dump(document, file)
                file.flush()
                rng = random.Random(SEED + 10)
                texts = ["".join(rng.choice(["the", " the", "an", "h", "\u4e2d\u6587", "x", "\u00e9", "\u20ac", "\n", " ", "<s>"])
                                 for _ in range(rng.randint(1, 10))) for _ in range(2000)]
                self.compare(file.name, tokenizers.Tokenizer.from_file(file.name), texts)


if __name__ == "__main__":
    FATHOM = program_under_test(__doc__)
    unittest.main()
