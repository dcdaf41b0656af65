#!/usr/bin/env python3
"""Compares `fathom grad` with the gradients of PyPI transformers' models on freshly drawn ones.

  gradients_oracle.py --binary build/release/bin/fathom [--configurations 8] [--seed N] [--only I]

Every other configuration is DeepSeek-V4 (drawn as by transformers_oracle.py, FP4, FP8 and BF16 weights), the
others are Llama (as by llama_oracle.py). Every parameter's gradient of the mean next-token cross-entropy has to
agree in float32 within 1e-4 of the largest number of transformers' gradient of that tensor; what is absent here
has to be absent or zero there. A prompt with a choice of experts or blocks closer than 1e-5, or a number closer than
5e-6 to where SwiGLU clamps it, is drawn again: where the two sides choose otherwise, gradients jump. The seed is printed. Needs torch, transformers 5.23 and numpy.
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
from transformers import AutoModelForCausalLM

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import llama_oracle  # noqa: E402
import transformers_model  # noqa: E402
import transformers_oracle  # noqa: E402

TOLERANCE = 1e-4  # of the largest number of a tensor's gradient
FLOOR = 1e-7      # of the largest of all: what cancels leaves rounding errors of what was added
CLOSEST = 1e-5    # choice that may be in a prompt
KINK = 5e-6       # distance of a number from the limit it is clamped at, of the limit
MOST_PROMPTS = 200


def gradients_of(model, tokens):
    """Loss and gradient of every parameter, None where there is none."""
    model.requires_grad_(True)
    model.zero_grad(set_to_none=True)
    ids = torch.from_numpy(tokens)
    logits = model(ids[None], use_cache=False).logits[0]
    loss = torch.nn.functional.cross_entropy(logits[:-1].float(), ids[1:])
    loss.backward()
    return loss.item(), {name: None if parameter.grad is None else parameter.grad.numpy()
                         for name, parameter in model.named_parameters()}


def fathom_gradients(binary, checkpoint, tokens, folder, backend):
    out = folder / "gradients.safetensors"
    numpy.save(folder / "tokens.npy", tokens)
    transformers_oracle.call([binary, "grad", checkpoint, "--tokens", folder / "tokens.npy", "--numerics", "high",
                              "--backend", backend, "--out", out])
    data = out.read_bytes()
    header_bytes = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + header_bytes])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + header_bytes + offset for offset in entry["data_offsets"])
        tensors[name] = numpy.frombuffer(data[begin:end], "<f4").reshape(entry["shape"])
    return tensors


def compare(names, theirs_of, loss, ours):
    """The worst relative error over `names`, all tensors of the checkpoint; prints what is too far."""
    error = abs(float(ours.pop("loss")) - loss) / loss
    print(f"  loss {loss:.6f}, relative error {error:.1e}")
    worst = error
    unknown = ours.keys() - set(names)
    if unknown:
        sys.exit(f"gradients of what the checkpoint does not have: {sorted(unknown)[:5]}")
    largest = max(numpy.abs(values).max() for values in ours.values())
    for name in names:
        expected = theirs_of(name)
        if name not in ours:
            if expected is not None and numpy.abs(expected).max() > FLOOR * largest:
                print(f"  {name}: absent, expected a gradient of up to {numpy.abs(expected).max():.1e}")
                worst = numpy.inf
            continue
        if expected is None:
            print(f"  {name}: there, expected none")
            worst = numpy.inf
            continue
        if ours[name].shape != expected.shape:
            sys.exit(f"{name}: shape {ours[name].shape}, expected {expected.shape}")
        difference = numpy.abs(ours[name].astype(numpy.float64) - expected).max()
        limit = numpy.abs(expected).max() + FLOOR / TOLERANCE * largest
        error = difference / limit
        error = error if numpy.isfinite(error) else numpy.inf
        if not error <= TOLERANCE:
            print(f"  {name}: off by {difference:.2e}, the largest is {numpy.abs(expected).max():.2e}")
        worst = max(worst, error)
    return worst


class ClampDistance:
    """While it is there: how close, relative to the limit, any floating-point number came to being clamped."""

    def __enter__(self):
        self.closest = numpy.inf
        self.clamp = torch.Tensor.clamp
        torch.Tensor.clamp = lambda tensor, min=None, max=None: self.see(tensor, min, max)
        return self

    def see(self, tensor, least, most):
        for limit in (least, most):
            if limit and tensor.is_floating_point() and tensor.numel() > 0:
                self.closest = min(self.closest, ((tensor - limit).abs().min() / abs(limit)).item())
        return self.clamp(tensor, min=least, max=most)

    def __exit__(self, *_):
        torch.Tensor.clamp = self.clamp


def clear_prompt(model, case, draw):
    """Tokens without a close choice."""
    for _ in range(MOST_PROMPTS):
        tokens = numpy.array([draw.randrange(case.settings["vocab_size"]) for _ in case.tokens], numpy.int64)
        with ClampDistance() as clamps:
            _, margins = transformers_model.run(model, tokens)
        gaps = [gap.min().item() for gap in [*margins.routes.values(), *margins.blocks.values()]]
        if min(gaps, default=numpy.inf) > CLOSEST and clamps.closest > KINK:
            return tokens
    return None


def check_v4(binary, seed, index, folder, backend):
    case = transformers_oracle.draw_case(seed, index, small=True)
    settings = case.settings
    checkpoint = transformers_oracle.make_checkpoint(binary, case, folder)
    model, stored = transformers_model.load_model(checkpoint, settings)
    tokens = clear_prompt(model, case, random.Random(case.seed))
    if tokens is None:
        print(f"configuration {index}: deepseek_v4, every prompt has a close choice; left out")
        return None
    print(f"configuration {index}: deepseek_v4, {stored}, {len(tokens)} tokens, layers {settings['compress_ratios']}, "
          f"{settings['num_hash_layers']} by hash, limit {settings['swiglu_limit']}, {backend}", flush=True)
    loss, theirs = gradients_of(model, tokens)
    names = [name for name in transformers_model.Checkpoint(checkpoint).names() if not name.startswith("mtp.")]

    def theirs_of(name):
        target, part = transformers_model.destination(name, settings["moe_intermediate_size"])
        found = theirs.get(target)
        return found[part] if found is not None and part else found

    return compare(names, theirs_of, loss, fathom_gradients(binary, checkpoint, tokens, folder, backend))


def check_llama(binary, seed, index, folder, backend):
    draw = random.Random(f"{seed}/{index}")
    config = llama_oracle.draw_config(draw)
    checkpoint = folder / "model"
    llama_oracle.save_random(config, checkpoint, draw.getrandbits(32))
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="eager").eval()
    tokens = numpy.array([draw.randrange(config.vocab_size) for _ in range(draw.randint(20, 150))])
    print(f"configuration {index}: {config.model_type}, {config.dtype}, {config.num_attention_heads} heads of "
          f"{config.head_dim} on {config.num_key_value_heads}, {'tied' if config.tie_word_embeddings else 'untied'}, "
          f"{len(tokens)} tokens, {backend}", flush=True)
    loss, theirs = gradients_of(model, tokens)
    names = transformers_model.Checkpoint(checkpoint).names()
    return compare(names, theirs.get, loss, fathom_gradients(binary, checkpoint, tokens, folder, backend))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, type=pathlib.Path)
    parser.add_argument("--configurations", type=int, default=8)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--only", type=int, help="one configuration of the run")
    arguments = parser.parse_args()
    print(f"gradients_oracle: seed {arguments.seed}, torch {torch.__version__}, transformers "
          f"{transformers_model.version()}", flush=True)
    compared, failed, worst = 0, [], 0.0
    for index in range(arguments.configurations):
        if arguments.only not in (None, index):
            continue
        with tempfile.TemporaryDirectory() as folder:
            check = check_llama if index % 2 else check_v4
            backend = "reference" if index // 2 % 2 else "cpu"
            error = check(arguments.binary.resolve(), arguments.seed, index, pathlib.Path(folder), backend)
        if error is None:
            continue
        print(f"  worst {error:.2e} of a tensor's largest", flush=True)
        compared += 1
        worst = max(worst, error)
        if not error <= TOLERANCE:
            failed.append(index)
    print(f"{compared} configurations, worst {worst:.2e}")
    if failed or 2 * compared < (1 if arguments.only is not None else arguments.configurations):
        for index in failed or ["(too few)"]:
            print(f"FAILED, again with: {sys.argv[0]} --binary {arguments.binary} --configurations "
                  f"{arguments.configurations} --seed {arguments.seed} --only {index}")
        return 1
    print("passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
