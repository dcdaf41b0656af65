#!/usr/bin/env python3
"""Compares `fathom logits` on Llama models with PyPI transformers on freshly drawn models.

  llama_oracle.py --binary build/release/bin/fathom [--configurations 12] [--seed N] [--only I]

Sizes, groups of heads, rotations (plain, linear, llama3), tied and untied heads, model types and dtypes are
drawn. Weights come from transformers' save_pretrained or from `fathom synth`; where GGUF can say the
model, the same weights are compared once more as a GGUF file with rows in llama.cpp's order. Every logit
has to agree within 1e-4 of the logits' standard deviation; nothing here chooses, so there are no ties.
The seed is printed. Needs torch, transformers 5.23 and gguf.
"""
import argparse
import json
import pathlib
import random
import secrets
import subprocess
import sys
import tempfile

import numpy
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools/make_goldens"))
import llama_tiny  # noqa: E402

TOLERANCE = 1e-4  # of the standard deviation of the checkpoint's logits
DTYPES = ("float32", "bfloat16", "float16")


def call(arguments):
    run = subprocess.run([str(argument) for argument in arguments], capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{' '.join(map(str, arguments))}\nexit {run.returncode}: {run.stderr}")


def draw_rope(draw):
    rope = dict(rope_type=draw.choice(["default", "default", "linear", "llama3"]),
                rope_theta=draw.choice([1000.0, 10000.0, 100000.0, 500000.0]))
    if rope["rope_type"] != "default":
        rope["factor"] = draw.choice([2.0, 3.5, 8.0, 32.0])
    if rope["rope_type"] == "llama3":
        rope |= dict(low_freq_factor=1.0, high_freq_factor=draw.choice([2.0, 4.0]),
                     original_max_position_embeddings=draw.choice([32, 64, 256, 8192]))
    return rope


def draw_config(draw):
    """Any model that both sides can compute."""
    shared = draw.choice([1, 1, 2, 3, 4])
    heads = shared * draw.choice([1, 2, 3, 4, 5, 7, 8])
    head_dim = draw.choice([4, 6, 8, 16, 20, 32, 64, 80, 128])
    # transformers wants the heads to divide the hidden size even where head_dim is given.
    hidden = heads * draw.choice([4, 8, 12, head_dim])
    if hidden != heads * head_dim and hidden % 2:
        hidden = heads * head_dim
    settings = dict(
        vocab_size=draw.randint(64, 700), hidden_size=hidden, intermediate_size=draw.randint(8, 300),
        num_hidden_layers=draw.randint(1, 5), num_attention_heads=heads, num_key_value_heads=shared,
        head_dim=head_dim, max_position_embeddings=draw.choice([512, 2048, 32768]),
        rms_norm_eps=draw.choice([1e-6, 1e-5]), tie_word_embeddings=draw.choice([True, False]),
        rope_parameters=draw_rope(draw), bos_token_id=1, eos_token_id=draw.choice([2, [2, 5]]),
        dtype=draw.choice(DTYPES))
    is_mistral = draw.random() < 0.2
    if is_mistral:
        return MistralConfig(**settings, sliding_window=None, architectures=["MistralForCausalLM"])
    return LlamaConfig(**settings, architectures=["LlamaForCausalLM"])


def save_random(config, folder, seed):
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, str(config.dtype).removeprefix("torch.")))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in sorted(model.named_parameters()):
            values = torch.randn(tensor.shape, generator=generator)
            tensor.copy_(1 + values * 0.2 if "norm" in name else
                         values if "embed" in name else values * 1.5 / tensor.shape[-1] ** 0.5)
    model.save_pretrained(folder)


def synthesise(binary, config, folder, seed):
    text = json.loads(config.to_json_string(use_diff=False))
    drawn = folder.parent / "drawn.json"
    drawn.write_text(json.dumps(text))
    call([binary, "synth", "--config", drawn, "--out", folder, "--seed", seed])


def fathom_logits(binary, model, tokens, folder, *options):
    out = folder / "logits.npy"
    numpy.save(folder / "tokens.npy", tokens)
    call([binary, "logits", model, "--tokens", folder / "tokens.npy", "--out", out, *options])
    return numpy.load(out)


def error_of(found, expected):
    error = numpy.abs(found.astype(numpy.float64) - expected).max() / expected.std(dtype=numpy.float64)
    return error if numpy.isfinite(error) else numpy.inf


def check(binary, seed, index, folder):
    draw = random.Random(f"{seed}/{index}")
    config = draw_config(draw)
    checkpoint = folder / "model"
    is_synthetic = config.model_type == "llama" and draw.random() < 0.4
    if is_synthetic:
        synthesise(binary, config, checkpoint, draw.getrandbits(32))
    else:
        save_random(config, checkpoint, draw.getrandbits(32))
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="eager").eval()
    tokens = numpy.array([draw.randrange(config.vocab_size) for _ in range(draw.randint(60, 300))])
    with torch.no_grad():
        expected = model(torch.tensor(tokens)[None], use_cache=False).logits[0].numpy()
    errors = {"whole": error_of(fathom_logits(binary, checkpoint, tokens, folder), expected),
              "chunks": error_of(fathom_logits(binary, checkpoint, tokens, folder, "--chunk", "17"), expected)}
    rope = config.rope_parameters["rope_type"]
    if rope != "linear" and config.eos_token_id == 2:
        file = folder / "model.gguf"
        llama_tiny.write_gguf(model, file)
        # The file keeps BF16, which is exact for such checkpoints only.
        if str(config.dtype).endswith("bfloat16"):
            errors["gguf"] = error_of(fathom_logits(binary, file, tokens, folder), expected)
    print(f"configuration {index}: {config.model_type}, {'synth' if is_synthetic else 'saved'}, {config.dtype}, hidden "
          f"{config.hidden_size}, {config.num_attention_heads} heads of {config.head_dim} on "
          f"{config.num_key_value_heads}, {rope}, {'tied' if config.tie_word_embeddings else 'untied'}, {len(tokens)} "
          f"tokens: " + ", ".join(f"{what} {error:.1e}" for what, error in errors.items()), flush=True)
    return max(errors.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, type=pathlib.Path)
    parser.add_argument("--configurations", type=int, default=12)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--only", type=int, help="one configuration of the run")
    arguments = parser.parse_args()
    print(f"llama_oracle: seed {arguments.seed}, torch {torch.__version__}", flush=True)
    worst = 0.0
    failed = []
    for index in range(arguments.configurations):
        if arguments.only not in (None, index):
            continue
        with tempfile.TemporaryDirectory() as folder:
            error = check(arguments.binary.resolve(), arguments.seed, index, pathlib.Path(folder))
        worst = max(worst, error)
        if not error <= TOLERANCE:
            failed.append(index)
    print(f"worst {worst:.2e} of a deviation")
    for index in failed:
        print(f"FAILED, again with: {sys.argv[0]} --binary {arguments.binary} --configurations "
              f"{arguments.configurations} --seed {arguments.seed} --only {index}")
    if not failed:
        print("passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
