#!/usr/bin/env python3
"""Trains freshly drawn DeepSeek-V4 models by Fathom and by PyPI transformers with torch's optimisers.

  training_oracle.py --binary build/release/bin/fathom --follower build/release/bin/follow_training [--seed N]
                     [--steps 300] [--only PART]

Parts: `rates` (learning rates against torch.optim.lr_scheduler), `double` (AdamW, epsilon 1e-8, every layer routes by
hash, in double: the losses of all steps within 1e-3), `muon` (a transcription of Muon in torch beside AdamW, in
float32), `routes` (AdamW with top-k routes: 60 steps in double within 1e-3; in float32, where sums of another order
decide ties and grow, no further from PyTorch with 1 or 2 threads than 3 times what losses of these two differ by),
`export` (a model trained for FP4 experts and FP8 dense weights, exported: transformers' logits of it equal Fathom's
within 1e-4 of a deviation).
The seed is printed. Needs torch, transformers 5.23 and numpy.
"""
import argparse
import json
import math
import os
import pathlib
import random
import secrets
import subprocess
import sys
import tempfile
import time

# Before torch is loaded: its threads meet after every operation, and where one spins there while another program has
# the processor that the other one needs, a step takes thirty times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy  # noqa: E402
import torch  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import transformers_model  # noqa: E402
import transformers_oracle  # noqa: E402

TOLERANCE = 1e-3       # of a loss, absolute, in nats
RATE_TOLERANCE = 1e-12  # of the peak
LOGIT_TOLERANCE = 1e-4  # of the logits' standard deviation
LENGTH = 136            # longer than a block of heavily compressed attention
NUM_SEQUENCES = 4       # that are learned by heart, unless steps are said to have a new one each
BETAS = (0.9, 0.95)
GAMMA, MOMENTUM = 0.18, 0.95
ITERATIONS = [(3.4445, -4.7750, 2.0315)] * 8 + [(2, -1.5, 0.5)] * 2
ADAMW_PARTS = ("embed.weight", "head.weight", ".ape")


# --- models --------------------------------------------------------------------------------------

def draw_settings(draw, num_hash_layers):
    # Small, for both sides compute hundreds of steps; blocks of both kinds are closed within a sequence.
    return transformers_oracle.settings_of(
        hidden_size=64, num_attention_heads=draw.choice([2, 4]), head_dim=32, qk_rope_head_dim=16, q_lora_rank=32,
        o_groups=2, o_lora_rank=16, index_n_heads=24, index_head_dim=16, index_topk=LENGTH,
        sliding_window=draw.choice([8, 16, 32]), compress_ratios=draw.choice([[4, 128], [128, 4]]), hc_sinkhorn_iters=5,
        num_hash_layers=num_hash_layers, n_routed_experts=draw.randint(4, 8), num_experts_per_tok=2,
        moe_intermediate_size=32, routed_scaling_factor=1.5, hc_mult=draw.choice([2, 3]), vocab_size=96)


def draw_tokens(draw, vocab_size, num_sequences):
    """Sequences with something to learn: each token is followed by one of two."""
    followers = [[draw.randrange(vocab_size) for _ in range(2)] for _ in range(vocab_size)]
    tokens = []
    for _ in range(num_sequences):
        token = draw.randrange(vocab_size)
        for _ in range(LENGTH):
            tokens.append(token)
            token = draw.choice(followers[token])
    return numpy.array(tokens, numpy.int64)


class Drawn:
    """A checkpoint with weights by `fathom synth`, and the tokens it is trained on."""

    def __init__(self, arguments, part, num_hash_layers, folder, num_sequences=NUM_SEQUENCES):
        draw = random.Random(f"{arguments.seed}/{part}")
        self.settings = draw_settings(draw, num_hash_layers)
        case = transformers_oracle.Case(part, self.settings, "f32", draw.getrandbits(32), [], 0)
        self.checkpoint = transformers_oracle.make_checkpoint(arguments.binary, case, folder)
        self.num_sequences = num_sequences
        self.tokens = draw_tokens(draw, self.settings["vocab_size"], num_sequences)
        numpy.save(folder / "ids.npy", self.tokens)
        self.ids = folder / "ids.npy"
        print(f"{part}: layers {self.settings['compress_ratios']}, {num_hash_layers} by hash, "
              f"{self.settings['n_routed_experts']} experts, {self.settings['hc_mult']} streams", flush=True)

    def sequence(self, step):
        first = step % self.num_sequences * LENGTH
        return torch.from_numpy(self.tokens[first : first + LENGTH])

    def load(self):
        model, _ = transformers_model.load_model(self.checkpoint, self.settings)
        return model.requires_grad_(True)

    def official_parts(self, model):
        """(official name, parameter, part) of everything that the checkpoint and the model have."""
        parameters = dict(model.named_parameters())
        for name in transformers_model.Checkpoint(self.checkpoint).names():
            target, part = transformers_model.destination(name, self.settings["moe_intermediate_size"])
            if target in parameters:
                yield name, parameters[target], part


# --- both sides ----------------------------------------------------------------------------------

def follow(arguments, drawn, steps, *options):
    command = [arguments.follower, drawn.checkpoint, "--tokens", drawn.ids, "--length", LENGTH, "--steps", steps, *options]
    run = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nexit {run.returncode}: {run.stderr}")
    return numpy.array(json.loads(run.stdout)["losses"])


def train(drawn, model, steps, step_of):
    losses = []
    for step in range(steps):
        ids = drawn.sequence(step)
        model.zero_grad(set_to_none=True)
        logits = model(ids[None], use_cache=False).logits[0]
        loss = torch.nn.functional.cross_entropy(logits[:-1], ids[1:])
        loss.backward()
        step_of()
        with torch.no_grad():  # in double: the last bit of a float32 mean is more than what differs
            losses.append(torch.nn.functional.cross_entropy(logits[:-1].double(), ids[1:]).item())
    return numpy.array(losses)


def adamw(parameters, rate, decay, epsilon):
    return torch.optim.AdamW(list(parameters), lr=rate, betas=BETAS, eps=epsilon, weight_decay=decay)


def report(what, found, expected, limit):
    """Whether all losses are within the limit, and the last ones lower than the first."""
    error = numpy.abs(found - expected).max()
    print(f"  {what}: losses {expected[0]:.4f} to {expected[-1]:.4f} in {len(expected)} steps, largest difference "
          f"{error:.2e}, expected at most {limit:.2e}", flush=True)
    learned = expected[-NUM_SEQUENCES:].mean() < 0.8 * expected[:NUM_SEQUENCES].mean()
    if not learned:
        print("  nothing was learned: the comparison says little")
    return bool(error <= limit) and learned  # false for a NaN


# --- Muon, from the formulas of the specification ------------------------------------------------

def newton_schulz(matrix):
    x = matrix / matrix.norm()
    for a, b, c in ITERATIONS:
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


class Muon:
    """Of matrices that are parameters or parts of them."""

    def __init__(self, parts, rate, decay):
        self.parts, self.rate, self.decay = list(parts), rate, decay
        self.momentum = [torch.zeros_like(self.view(*part)) for part in self.parts]

    @staticmethod
    def view(parameter, part):
        return parameter.detach()[part] if part else parameter.detach()

    def step(self):
        for (parameter, part), momentum in zip(self.parts, self.momentum):
            if parameter.grad is None:
                continue
            gradient = self.view(parameter.grad, part)
            momentum.mul_(MOMENTUM).add_(gradient)
            look_ahead = MOMENTUM * momentum + gradient
            if look_ahead.norm() == 0:
                update = look_ahead
            else:
                update = newton_schulz(look_ahead) * math.sqrt(max(gradient.shape)) * GAMMA
            self.view(parameter, part).mul_(1 - self.rate * self.decay).sub_(self.rate * update)


# --- the parts -----------------------------------------------------------------------------------

def check_rates(arguments, _folder):
    draw = random.Random(f"{arguments.seed}/rates")
    good = True
    for kind in ("constant", "cosine", "wsd"):
        steps, warmup, decay = draw.randint(200, 400), draw.randint(2, 50), draw.randint(10, 100)
        peak, end = 10 ** draw.uniform(-4, -2), 0.1 * 10 ** draw.uniform(-5, -3)
        run = subprocess.run([arguments.follower, "--rates", "--kind", kind, "--curve", "linear", "--steps", str(steps),
                              "--warmup", str(warmup), "--decay", str(decay), "--peak", repr(peak), "--end", repr(end)],
                             capture_output=True, text=True, check=True)
        found = numpy.array(json.loads(run.stdout)["rates"])
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=peak)
        schedulers = [torch.optim.lr_scheduler.LinearLR(optimizer, 1 / warmup, 1, warmup - 1)]
        milestones = [warmup]
        if kind == "cosine":
            schedulers.append(torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps - warmup, end))
        else:
            schedulers.append(torch.optim.lr_scheduler.ConstantLR(optimizer, 1, 1))
        if kind == "wsd":
            schedulers.append(torch.optim.lr_scheduler.LinearLR(optimizer, 1, end / peak, decay))
            milestones.append(steps - decay)
        scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, schedulers, milestones)
        expected = []
        for _ in range(steps):
            expected.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        error = numpy.abs(found - numpy.array(expected)).max() / peak
        print(f"  {kind}: {steps} steps, {warmup} to warm up, worst {error:.1e} of the peak")
        good = good and bool(error <= RATE_TOLERANCE)
    return good


def check_double(arguments, folder):
    # Few enough to learn, too many to know by heart in these steps: at a loss of 1e-4 gradients vanish, AdamW divides
    # by next to nothing, and what differed by 1e-9 differs by the loss that then comes back.
    drawn = Drawn(arguments, "double", 2, folder, num_sequences=30)
    ours = follow(arguments, drawn, arguments.steps, "--double", "--backend", "reference:f64", "--learning-rate", 2e-3,
                  "--weight-decay", 0.1, "--epsilon", 1e-8)
    model = drawn.load().double()
    theirs = train(drawn, model, arguments.steps, adamw(model.parameters(), 2e-3, 0.1, 1e-8).step)
    return report("AdamW in double", ours, theirs, TOLERANCE)


def check_muon(arguments, folder):
    drawn = Drawn(arguments, "muon", 2, folder)
    steps = min(arguments.steps, 60)
    ours = follow(arguments, drawn, steps, "--muon", "--learning-rate", 1e-3, "--weight-decay", 0.1, "--epsilon", 1e-8,
                  "--threads", 2)
    model = drawn.load()
    vectors, matrices = {}, []
    for name, parameter, part in drawn.official_parts(model):
        is_vector = parameter.dim() == 1 or name.endswith(ADAMW_PARTS)
        if is_vector:
            vectors[id(parameter)] = parameter
        else:
            matrices.append((parameter, part))
    optimizers = [adamw(vectors.values(), 1e-3, 0.1, 1e-8), Muon(matrices, 1e-3, 0.1)]
    theirs = train(drawn, model, steps, lambda: [optimizer.step() for optimizer in optimizers])
    return report("Muon and AdamW in float32", ours, theirs, TOLERANCE)


def check_routes(arguments, folder):
    # A new sequence each step: of one known by heart gradients are near 0, and AdamW makes steps of their noise.
    drawn = Drawn(arguments, "routes", 0, folder, num_sequences=arguments.steps)
    # Few steps: transformers computes rotations in float32 in any case, and a tie that this decides ends all likeness.
    steps = min(arguments.steps, 60)
    ours = follow(arguments, drawn, steps, "--double", "--backend", "reference:f64", "--learning-rate", 2e-3,
                  "--weight-decay", 0.1, "--epsilon", 1e-8)
    model = drawn.load().double()
    theirs = train(drawn, model, steps, adamw(model.parameters(), 2e-3, 0.1, 1e-8).step)
    good = report("AdamW in double, top-k routes", ours, theirs, TOLERANCE)

    # A rate so high that what threads differ by, which is next to nothing in models so small, has grown to all that
    # it can be long before the end. At lower ones a single tie decides which curve leaves the others first.
    ours = follow(arguments, drawn, arguments.steps, "--learning-rate", 3e-2, "--weight-decay", 0.1, "--epsilon", 1e-8)
    theirs = []
    for num_threads in (1, 2):
        torch.set_num_threads(num_threads)
        model = drawn.load()
        theirs.append(train(drawn, model, arguments.steps, adamw(model.parameters(), 3e-2, 0.1, 1e-8).step))
    torch.set_num_threads(1)
    spread = numpy.abs(theirs[0] - theirs[1]).max()
    print(f"  PyTorch at 1 and 2 threads: losses differ by up to {spread:.2e}")
    nearer = min(theirs, key=lambda losses: numpy.abs(ours - losses).max())
    return report("AdamW in float32, top-k routes", ours, nearer, 3 * spread) and good


def check_export(arguments, folder):
    drawn = Drawn(arguments, "export", 1, folder)
    out = folder / "trained"
    losses = follow(arguments, drawn, 40, "--muon", "--learning-rate", 2e-3, "--storage", "fp4", "--out", out)
    model, stored = transformers_model.load_model(out, json.loads((out / "config.json").read_text()))
    tokens = drawn.tokens[:LENGTH]
    expected, margins = transformers_model.run(model, tokens)
    found = transformers_oracle.fathom_logits(arguments.binary, out, tokens, folder)
    close_calls = transformers_oracle.ties(drawn.settings, margins, len(tokens))
    reached = numpy.zeros(len(tokens), bool)
    for *_, reach in close_calls:
        reached |= reach
    error = numpy.abs(found - expected)[~reached].max() / expected.std(dtype=numpy.float64)
    # Of what was trained, the next token's loss: exported, it is that of the layers at the end of training.
    print(f"  losses {losses[0]:.4f} to {losses[-1]:.4f}; stored {stored}; logits of the exported model within "
          f"{error:.1e} of a deviation at {(~reached).sum()} positions")
    return bool(error <= LOGIT_TOLERANCE) and (~reached).sum() > LENGTH // 2 and stored.get("I8", 0) > 0


PARTS = {"rates": check_rates, "double": check_double, "muon": check_muon, "routes": check_routes,
         "export": check_export}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, type=pathlib.Path)
    parser.add_argument("--follower", required=True, type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--only", choices=PARTS)
    arguments = parser.parse_args()
    print(f"training_oracle: seed {arguments.seed}, torch {torch.__version__}, transformers "
          f"{transformers_model.version()}", flush=True)
    torch.set_num_threads(1)  # the models are too small for more
    failed = []
    for part, check in PARTS.items():
        if arguments.only not in (None, part):
            continue
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            if not check(arguments, pathlib.Path(folder)):
                failed.append(part)
        print(f"  {part}: {time.monotonic() - start:.0f} s", flush=True)
    for part in failed:
        print(f"FAILED, again with: {sys.argv[0]} --binary {arguments.binary} --follower {arguments.follower} "
              f"--seed {arguments.seed} --only {part}")
    print("passed" if not failed else f"{len(failed)} of {len(PARTS)} parts failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
