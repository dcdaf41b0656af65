#!/usr/bin/env python3
"""Compares Fathom's perplexity of SmolLM2-135M-Instruct with PyPI transformers' on the same chunks.

  perplexity_oracle.py --binary build/release/bin/fathom --gguf FILE.gguf --texts build/texts

The text is 200 kB of Python's documentation, out of a Debian package (tools/install_text_data). Chunks,
scored halves and tokens are the same; transformers reads the same file (gguf_file=) in float32. In numerics
`high` the perplexities have to agree within 0.1 %, in `fast` within 0.5 % of `high`.
Needs torch, transformers 5.23, accelerate and gguf.
"""
import argparse
import json
import math
import pathlib
import subprocess
import tempfile

import torch
from transformers import AutoModelForCausalLM

CHUNK = 512
TEXT_BYTES = 200_000


def fathom(arguments, *rest):
    result = subprocess.run([arguments.binary, *map(str, rest)], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise SystemExit(f"fathom {rest[0]}: exit {result.returncode}\n{result.stderr}")
    return json.loads(result.stdout)


def make_text(texts):
    pages = sorted(texts.glob("root/usr/share/doc/python3.11/html/_sources/library/*.rst.txt"))
    text = "".join(page.read_text() for page in pages).encode()[:TEXT_BYTES]
    if len(text) < TEXT_BYTES:
        raise SystemExit(f"{texts}: {len(text)} bytes of documentation, expected {TEXT_BYTES}")
    return text.decode(errors="ignore")


def transformers_perplexity(gguf, tokens):
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32).eval()
    total, count = 0.0, 0
    for start in range(0, len(tokens) - CHUNK + 1, CHUNK):
        chunk = torch.tensor([tokens[start:start + CHUNK]])
        with torch.no_grad():
            logits = model(chunk).logits[0]
        rows = torch.log_softmax(logits[CHUNK // 2:-1].double(), -1)
        scored = rows.gather(1, chunk[0, CHUNK // 2 + 1:, None])
        total -= scored.sum().item()
        count += len(scored)
    return math.exp(total / count), count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--gguf", type=pathlib.Path, required=True)
    parser.add_argument("--texts", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "text.txt"
        file.write_text(make_text(arguments.texts))
        tokens = fathom(arguments, "tokenize", arguments.gguf, file, "--plain")
        found = {numerics: fathom(arguments, "perplexity", arguments.gguf, file, "--chunk", CHUNK, "--json",
                                  "--numerics", numerics) for numerics in ("high", "fast")}
    expected, count = transformers_perplexity(arguments.gguf, tokens)
    high, fast = found["high"]["perplexity"], found["fast"]["perplexity"]
    print(f"perplexity of {count} tokens: transformers {expected:.6f}, high {high:.6f} "
          f"({high / expected - 1:+.2e}), fast {fast:.6f} ({fast / high - 1:+.2e} of high)")
    if found["high"]["scored_tokens"] != count:
        raise SystemExit(f"{found['high']['scored_tokens']} tokens scored, expected {count}")
    # Written as "not within": NaN is neither.
    if not abs(high / expected - 1) <= 1e-3:
        raise SystemExit("high: expected within 0.1 % of transformers")
    if not abs(fast / high - 1) <= 5e-3:
        raise SystemExit("fast: expected within 0.5 % of high")


if __name__ == "__main__":
    main()
