#!/usr/bin/env python3
"""Adapters of PyPI peft beside Llama models of PyPI transformers, compared with `fathom logits --lora`; and adapters
that `fathom tune` made, loaded by peft.

  lora_oracle.py --binary build/release/bin/fathom [--configurations 4] [--seed N] [--gguf FILE]

Models, targets, ranks and scales (also alpha / sqrt(r), and some modules by patterns) are drawn. Every logit has to
agree with PyTorch's in double within 1e-4 of the logits' standard deviation, or, where an adapter as large as some that
are drawn makes PyTorch's float32 lose more than that, within twice what it loses. The seed is printed. Needs torch,
transformers and peft.
"""
import argparse
import json
import pathlib
import random
import secrets
import sys
import tempfile

import numpy
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import llama_oracle  # noqa: E402

TOLERANCE = 1e-4
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def draw_adapter(draw):
    modules = draw.sample(MODULES, draw.randint(1, len(MODULES)))
    patterns = {}
    if draw.random() < 0.5:
        patterns = dict(rank_pattern={modules[0]: draw.randint(1, 9)}, alpha_pattern={modules[-1]: draw.randint(1, 9)})
    return LoraConfig(task_type="CAUSAL_LM", r=draw.randint(1, 20), lora_alpha=draw.randint(1, 40), target_modules=modules,
                      use_rslora=draw.random() < 0.3, **patterns)


def fathom_logits(binary, model, adapter, tokens, folder):
    out = folder / "logits.npy"
    llama_oracle.call([binary, "logits", model, "--lora", adapter, "--tokens", ",".join(map(str, tokens)), "--out", out])
    return numpy.load(out)


def error_of(found, expected):
    return numpy.abs(found - expected).max() / expected.std()


def torch_logits(model, tokens):
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].numpy()


def compare(what, found, model, tokens):
    """Whether Fathom's fp32 logits are as near to PyTorch's in double as they should be."""
    in_float32 = torch_logits(model.eval(), tokens)
    exact = torch_logits(model.double(), tokens)
    error, theirs = error_of(found, exact), error_of(in_float32, exact)
    limit = max(TOLERANCE, 2 * theirs)
    print(f"{what}: {error:.1e}, PyTorch in float32 {theirs:.1e}, expected at most {limit:.1e}")
    return bool(error <= limit)  # false for a NaN


def compare_peft(binary, draw, folder):
    config = llama_oracle.draw_config(draw)
    llama_oracle.save_random(config, folder / "base", draw.randrange(2**31))
    base = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32)
    wanted = draw_adapter(draw)
    torch.manual_seed(draw.randrange(2**31))
    model = get_peft_model(base, wanted)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    model.save_pretrained(folder / "adapter")
    tokens = [draw.randrange(config.vocab_size) for _ in range(24)]
    found = fathom_logits(binary, folder / "base", folder / "adapter", tokens, folder)
    what = f"{wanted.target_modules} r {wanted.r} {wanted.rank_pattern} rslora {wanted.use_rslora}"
    return compare(what, found, model, tokens)


def compare_tuned(binary, draw, folder, gguf):
    """SmolLM2's shapes are not needed: any model with a tokenizer and a chat template."""
    data = folder / "chat.jsonl"
    data.write_text("".join(json.dumps({"messages": [{"role": "user", "content": str(i)},
                                                     {"role": "assistant", "content": str(i * i)}]}) + "\n"
                            for i in range(6)))
    adapter = folder / "tuned"
    llama_oracle.call([binary, "tune", gguf, "--data", data, "--out", adapter, "--steps", 2, "--targets",
                       "query=3,key=2,mlp_down=5", "--learning-rate", 1e-2, "--sequence", 64])
    base = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, adapter)
    tokens = [draw.randrange(2000) for _ in range(24)]
    found = fathom_logits(binary, gguf, adapter, tokens, folder)
    return compare("an adapter of fathom tune in peft", found, model, tokens)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--configurations", type=int, default=4)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--gguf", type=pathlib.Path)
    options = parser.parse_args()
    print(f"seed {options.seed}")
    draw = random.Random(options.seed)
    are_near = []
    for _ in range(options.configurations):
        with tempfile.TemporaryDirectory(prefix="fathom-lora-") as folder:
            are_near.append(compare_peft(options.binary, draw, pathlib.Path(folder)))
    if options.gguf:
        with tempfile.TemporaryDirectory(prefix="fathom-lora-") as folder:
            are_near.append(compare_tuned(options.binary, draw, pathlib.Path(folder), options.gguf))
    if not are_near or not all(are_near):
        sys.exit(f"FAILED, again with --seed {options.seed}")


if __name__ == "__main__":
    main()
