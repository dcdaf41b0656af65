#!/usr/bin/env python3
"""Speed of fathom tokenize against PyPI's tokenizers, on the same 10 MB of mixed text, in one run.

usage: build/text-venv/bin/python benchmarks/text/compare_tokenizers.py [--mb 10] [--rounds 3]
       (after tools/install_text_data and a release build)

Both run on one thread, in turns (A B A B), text by text, each timed inside its own process
from text in memory to ids in memory. PyPI's figure does not include making Python lists of ids.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/support"))

import tokenizers  # noqa: E402  after the environment

import text_corpus  # noqa: E402

TOKENIZER = ROOT / "tests/data/golden/tokenizer/tokenizer.json"


def fathom_seconds(binary, path):
    report = subprocess.run([binary, path, TOKENIZER], capture_output=True, check=True).stdout
    return json.loads(report)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bench", default=ROOT / "build/bench/bin/tokenizer_bench")
    parser.add_argument("--mb", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    texts = [text.replace("\0", " ") for text in text_corpus.texts(int(options.mb * 1e6))]
    num_bytes = sum(len(text.encode()) for text in texts)
    rows = []
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        file.write("\0".join(texts).encode())
        file.flush()
        for _ in range(options.rounds):
            ours = fathom_seconds(options.bench, file.name)
            start = time.perf_counter()
            oracle = tokenizers.Tokenizer.from_file(str(TOKENIZER))
            load = time.perf_counter() - start
            start = time.perf_counter()
            count = sum(len(oracle.encode(text, add_special_tokens=False)) for text in texts)
            theirs = time.perf_counter() - start
            if count != ours["tokens"]:
                raise SystemExit(f"{ours['tokens']} tokens, PyPI {count}")
            rows.append((ours["seconds"], theirs, ours["load_seconds"], load))
            print(f"fathom {ours['seconds']:.3f} s (load {ours['load_seconds']:.3f} s)   "
                  f"tokenizers {theirs:.3f} s (load {load:.3f} s)", flush=True)
    best = [min(column) for column in zip(*rows)]
    print(f"{num_bytes / 1e6:.1f} MB in {len(texts)} texts, best of {options.rounds}: "
          f"fathom {num_bytes / best[0] / 1e6:.1f} MB/s, "
          f"tokenizers {tokenizers.__version__} {num_bytes / best[1] / 1e6:.1f} MB/s, "
          f"{best[1] / best[0]:.1f} times; load {best[2] * 1e3:.0f} and {best[3] * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
