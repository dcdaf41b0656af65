#!/usr/bin/env python3
"""Compares `fathom logits --numerics high` with PyPI transformers on freshly drawn models.

  transformers_oracle.py --binary build/release/bin/fathom [--configurations 6] [--seed N] [--flash-shapes]
  transformers_oracle.py --binary ... --write-goldens tests/data/oracle --seed 1

Every configuration gets weights by `fathom synth` (all three storages in turn), which both sides
compute on the same tokens. Of the positions, 99 % have to agree within 1e-4 of the logits' standard
deviation, and every other one has to follow from a choice of experts or blocks that was a tie
within 1e-5. A prompt with a tie within 1e-6 (by transformers' own scores, before Fathom is asked) that
reaches more than 1 % of its positions is drawn again, and that is printed. --flash-shapes adds three layers at the true shapes of V4-Flash, 2,600 tokens.
--write-goldens keeps transformers' logits of twelve small models for tests/golden. The seed is
printed; --only I computes one configuration of a run again. Needs torch and transformers 5.23.
"""
import argparse
import collections
import json
import pathlib
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time

import numpy
import torch

import transformers_model

TOLERANCE = 1e-4  # of the standard deviation of the checkpoint's logits
TIE = 1e-5
# A tie that fp32 sums of another order decide: with one, half a prompt may differ, so another is drawn.
TOSS_UP = 1e-6
SHARE = 0.99
STORAGES = ("bf16", "fp8", "fp4")
MOST_PROMPTS = 5
NUM_GOLDENS = 12
GOLDEN_POSITIONS = 10

Case = collections.namedtuple("Case", "name settings storage seed tokens chunk")


# --- the configurations --------------------------------------------------------------------------

def settings_of(**given):
    """An official config.json around the given facts."""
    yarn = dict(type="yarn", factor=16, original_max_position_embeddings=65536, beta_fast=32, beta_slow=1)
    settings = dict(
        architectures=["DeepseekV4ForCausalLM"], model_type="deepseek_v4", hidden_act="silu",
        scoring_func="sqrtsoftplus", topk_method="noaux_tc", norm_topk_prob=True, attention_bias=False,
        tie_word_embeddings=False, num_key_value_heads=1, n_shared_experts=1, bos_token_id=0, eos_token_id=1,
        max_position_embeddings=65536, rms_norm_eps=1e-6, hc_eps=1e-6, hc_mult=4, hc_sinkhorn_iters=20,
        rope_theta=10000.0, compress_rope_theta=160000.0, rope_scaling=yarn, routed_scaling_factor=1.5,
        swiglu_limit=10.0, num_hash_layers=0, num_nextn_predict_layers=0)
    settings |= given
    settings["num_hidden_layers"] = len(settings["compress_ratios"]) - settings["num_nextn_predict_layers"]
    return settings


def draw_ratios(draw, least, most):
    """A schedule with both compressed kinds in it, in any order."""
    ratios = [4, 128] + [draw.choice([0, 0, 0, 4, 128]) for _ in range(draw.randint(least, most) - 2)]
    draw.shuffle(ratios)
    return ratios


def draw_settings(draw, small):
    """Any model that both sides can compute; `small` for the kept ones."""
    rope_dim = draw.choice([8, 16, 32, 64] if not small else [8, 16])
    head_dim = draw.choice([n for n in (16, 32, 64, 128) if n >= rope_dim] if not small else [16, 32])
    num_heads = draw.choice([2, 3, 4, 6, 8] if not small else [2, 3, 4])
    # Groups may split a head.
    groups = [n for n in (1, 2, 3, 4, 8) if num_heads * head_dim % n == 0]
    num_mtp = 0 if small else draw.choice([0, 1])
    ratios = draw_ratios(draw, *((3, 4) if small else (3, 5)))
    num_experts = draw.randint(3, 24 if not small else 8)
    yarn = dict(type="yarn", factor=draw.choice([2, 4, 10, 16, 40]),
                original_max_position_embeddings=draw.choice([32, 64, 100, 128, 512]),
                beta_fast=draw.choice([32, 16, 4]), beta_slow=draw.choice([1, 1, 2]))
    return settings_of(
        hidden_size=32 * draw.randint(2, 8 if not small else 3), num_attention_heads=num_heads, head_dim=head_dim,
        qk_rope_head_dim=rope_dim, q_lora_rank=16 * draw.randint(1, 8 if not small else 2),
        o_groups=draw.choice(groups), o_lora_rank=8 * draw.randint(1, 8 if not small else 2),
        # With few index heads exact ties at zero make the chosen blocks arbitrary.
        index_n_heads=draw.choice([24, 32, 40, 48, 64] if not small else [24, 28]),
        index_head_dim=draw.choice([n for n in (16, 32, 64, 128) if n >= rope_dim] if not small else [16]),
        index_topk=draw.randint(3, 24), sliding_window=draw.choice([5, 8, 16, 31, 32, 64, 100, 128]),
        compress_ratios=ratios + [0] * num_mtp, num_nextn_predict_layers=num_mtp,
        num_hash_layers=draw.randint(0, min(2, len(ratios) - 1)),
        n_routed_experts=num_experts, num_experts_per_tok=draw.randint(1, min(num_experts - 1, 6)),
        moe_intermediate_size=32 * draw.randint(1, 6 if not small else 2),
        routed_scaling_factor=draw.choice([1.0, 1.5, 2.5]), swiglu_limit=draw.choice([0.5, 1.0, 2.0, 10.0]),
        hc_mult=draw.choice([2, 3, 4]), hc_sinkhorn_iters=draw.choice([1, 3, 10, 20]),
        rms_norm_eps=draw.choice([1e-6, 1e-5]), hc_eps=draw.choice([1e-6, 1e-5]),
        rope_theta=draw.choice([10000.0, 1000.0]), compress_rope_theta=draw.choice([160000.0, 40000.0]),
        rope_scaling=yarn, vocab_size=draw.randint(70, 600 if not small else 96))


def draw_case(seed, index, small=False):
    draw = random.Random(f"{seed}/{index}")
    settings = draw_settings(draw, small)
    tokens = [draw.randrange(settings["vocab_size"]) for _ in range(draw.randint(150, 400 if not small else 200))]
    return Case(f"{index}", settings, STORAGES[index % len(STORAGES)], draw.getrandbits(32), tokens,
                17 if index == 0 else 0)


def flash_case(seed):
    """Three layers at the shapes of V4-Flash; 2,600 tokens make 650 blocks for an index of 512."""
    draw = random.Random(f"{seed}/flash")
    settings = settings_of(
        vocab_size=2048, hidden_size=4096, num_attention_heads=64, head_dim=512, qk_rope_head_dim=64,
        q_lora_rank=1024, o_groups=8, o_lora_rank=1024, index_n_heads=64, index_head_dim=128, index_topk=512,
        sliding_window=128, compress_ratios=[0, 4, 128], num_hash_layers=1, n_routed_experts=8,
        num_experts_per_tok=2, moe_intermediate_size=2048, max_position_embeddings=1048576)
    tokens = [draw.randrange(settings["vocab_size"]) for _ in range(2600)]
    return Case("flash", settings, "fp4", draw.getrandbits(32), tokens, 0)


# --- both sides ----------------------------------------------------------------------------------

def call(arguments):
    run = subprocess.run([str(argument) for argument in arguments], capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{' '.join(map(str, arguments))}\nexit {run.returncode}: {run.stderr}")


def make_checkpoint(binary, case, folder):
    config = folder / "drawn.json"
    config.write_text(json.dumps(case.settings))
    call([binary, "synth", "--config", config, "--out", folder / "model", "--seed", case.seed,
          "--storage", case.storage])
    return folder / "model"


def fathom_logits(binary, model, tokens, folder, *options):
    out = folder / "logits.npy"
    out.unlink(missing_ok=True)
    numpy.save(folder / "tokens.npy", tokens)
    call([binary, "logits", model, "--tokens", folder / "tokens.npy", "--numerics", "high", "--out", out, *options])
    return numpy.load(out)


def reached(settings, layer, position, num_tokens):
    """Which positions' logits can change when layer `layer` chooses otherwise at `position`."""
    now = numpy.zeros(num_tokens, bool)
    now[position] = True
    positions = numpy.arange(num_tokens)
    for ratio in settings["compress_ratios"][layer + 1 : settings["num_hidden_layers"]]:
        touched = numpy.flatnonzero(now)
        # The last touched position at or before each one, and the first block with a touched token.
        last = touched[numpy.maximum(numpy.searchsorted(touched, positions, "right") - 1, 0)]
        spread = (last <= positions) & (positions - last < settings["sliding_window"])
        if ratio:
            spread |= (positions + 1) // ratio > touched[0] // ratio
        now |= spread
    return now


def ties(settings, margins, num_tokens):
    """(margin, layer, position, kind, reach) of every choice closer than TIE."""
    found = []
    for kind, by_layer in (("route", margins.routes), ("block", margins.blocks)):
        for layer, gaps in by_layer.items():
            for position in numpy.flatnonzero(gaps.numpy() < TIE).tolist():
                found.append((float(gaps[position]), layer, position, kind,
                              reached(settings, layer, position, num_tokens)))
    return found


class Tally:
    """Positions compared so far, over all configurations."""

    def __init__(self):
        self.positions = self.outside = self.untraced = 0
        self.worst_agreeing = 0.0

    def compare(self, what, found, expected, close_calls):
        if found.shape != expected.shape:
            sys.exit(f"{what}: logits {found.shape}, expected {expected.shape}")
        deviation = expected.std(dtype=numpy.float64)
        errors = numpy.abs(found.astype(numpy.float64) - expected).max(axis=1) / deviation
        agrees = errors <= TOLERANCE  # false for a NaN
        traced = numpy.zeros(len(errors), bool)
        for _, _, _, _, reach in close_calls:
            traced |= reach
        worst = errors[agrees].max(initial=0.0)
        self.worst_agreeing = max(self.worst_agreeing, worst)
        self.positions += len(errors)
        self.outside += int((~agrees).sum())
        self.untraced += int((~agrees & ~traced).sum())
        print(f"  {what}: {len(errors)} positions, logits of deviation {deviation:.3f}, worst within "
              f"{worst:.2e} of it, {(~agrees).sum()} outside, {(~agrees & ~traced).sum()} of them untraced")
        for position in numpy.flatnonzero(~agrees)[:8]:
            causes = [call_[:4] for call_ in close_calls if call_[4][position]]
            cause = "margin {:.1e} in layer {} at position {} ({})".format(*min(causes)) if causes else "NO TIE"
            print(f"    position {position}: {errors[position]:.2e} of a deviation, {cause}")


def run_transformers(model, case):
    """Tokens (the case's, or others if they hold a toss-up), logits, margins and ties."""
    draw = random.Random(case.seed)
    tokens = numpy.array(case.tokens, numpy.int64)
    for _ in range(MOST_PROMPTS):
        expected, margins = transformers_model.run(model, tokens)
        close_calls = ties(case.settings, margins, len(tokens))
        toss_ups = [call_ for call_ in close_calls if call_[0] < TOSS_UP and call_[4].mean() > 1 - SHARE]
        if not toss_ups:
            break
        print("  another prompt: margin {:.1e} in layer {} at position {} ({})".format(*min(call_[:4] for call_ in toss_ups)))
        tokens = numpy.array([draw.randrange(case.settings["vocab_size"]) for _ in tokens], numpy.int64)
    return tokens, expected, margins, close_calls


def check_case(binary, case, folder, tally):
    settings = case.settings
    facts = ("hidden_size", "num_attention_heads", "head_dim", "qk_rope_head_dim", "q_lora_rank", "o_groups",
             "o_lora_rank", "index_n_heads", "index_head_dim", "index_topk", "sliding_window", "compress_ratios",
             "num_hash_layers", "n_routed_experts", "num_experts_per_tok", "hc_mult")
    print(f"configuration {case.name}: {case.storage}, {len(case.tokens)} tokens, "
          + ", ".join(f"{name} {settings[name]}" for name in facts), flush=True)
    start = time.monotonic()
    checkpoint = make_checkpoint(binary, case, folder)
    model, stored = transformers_model.load_model(checkpoint, settings)
    tokens, expected, margins, close_calls = run_transformers(model, case)
    theirs = time.monotonic() - start
    found = {"whole": fathom_logits(binary, checkpoint, tokens, folder)}
    if case.chunk:
        found[f"chunks of {case.chunk}"] = fathom_logits(binary, checkpoint, tokens, folder, "--chunk", case.chunk)
    print(f"  stored {stored}; {theirs:.1f} s for transformers, {time.monotonic() - start - theirs:.1f} s for Fathom; "
          f"{len(close_calls)} choices within {TIE}; index chooses at "
          f"{sum(int(torch.isfinite(gaps).sum()) for gaps in margins.blocks.values())} rows")
    for what, logits in found.items():
        tally.compare(what, logits, expected, close_calls)
    return checkpoint


# --- the kept ones -------------------------------------------------------------------------------

def write_golden(binary, case, folder, out, index):
    """One file: config.json, seed and storage of the weights, tokens, and logits where no tie reaches."""
    tokens = numpy.array(case.tokens, numpy.int64)
    checkpoint = make_checkpoint(binary, case, folder)
    model, _ = transformers_model.load_model(checkpoint, case.settings)
    expected, margins = transformers_model.run(model, tokens)
    excluded = numpy.zeros(len(tokens), bool)
    for call_ in ties(case.settings, margins, len(tokens)):
        excluded |= call_[4]
    usable = numpy.flatnonzero(~excluded)
    if len(usable) < len(tokens) // 2:
        return f"{index}: not kept, ties reach {excluded.sum()} of {len(tokens)} positions"
    # The first, the last, and some between.
    picks = numpy.linspace(0, len(usable) - 1, GOLDEN_POSITIONS).round().astype(int)
    golden = dict(
        config=case.settings, storage=case.storage, synth_seed=case.seed, tokens=case.tokens,
        deviation=float(expected.std(dtype=numpy.float64)), positions=usable[picks].tolist(),
        # Nine digits name a float.
        logits=[[float(f"{value:.9g}") for value in expected[position]] for position in usable[picks]])
    text = ",\n".join(f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}"
                      for key, value in golden.items())
    (out / f"{index:02}.json").write_text("{\n" + text + "\n}\n")
    return None


def write_goldens(binary, seed, workdir, out):
    out.mkdir(parents=True, exist_ok=True)
    kept = drawn = 0
    while kept < NUM_GOLDENS:
        case = draw_case(seed, drawn, small=True)
        with tempfile.TemporaryDirectory(dir=workdir) as folder:
            refusal = write_golden(binary, case, pathlib.Path(folder), out, kept)
        print(refusal or f"{kept:02}.json: {case.storage}, {len(case.tokens)} tokens, {case.settings['compress_ratios']}")
        kept += refusal is None
        drawn += 1
    print(f"{sum(file.stat().st_size for file in out.iterdir()):,} bytes in {out}")


# --- the run -------------------------------------------------------------------------------------

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, type=pathlib.Path)
    parser.add_argument("--configurations", type=int, default=6)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--flash-shapes", action="store_true")
    parser.add_argument("--only", help="one configuration of the run: its number, or flash")
    parser.add_argument("--workdir", type=pathlib.Path, help="for checkpoints (default: the system's)")
    parser.add_argument("--keep", action="store_true", help="leave the last checkpoint in workdir/kept")
    parser.add_argument("--write-goldens", type=pathlib.Path, metavar="FOLDER")
    arguments = parser.parse_args()
    binary = arguments.binary.resolve()
    print(f"transformers_oracle: seed {arguments.seed}, torch {torch.__version__}, "
          f"transformers {transformers_model.version()}", flush=True)
    if arguments.write_goldens:
        write_goldens(binary, arguments.seed, arguments.workdir, arguments.write_goldens)
        return 0

    cases = [draw_case(arguments.seed, index) for index in range(arguments.configurations)]
    if arguments.flash_shapes:
        cases.append(flash_case(arguments.seed))
    again = [f"--binary {arguments.binary} --configurations {arguments.configurations} --seed {arguments.seed}",
             "--flash-shapes" if arguments.flash_shapes else ""]
    total, failed = Tally(), []
    for case in cases:
        if arguments.only not in (None, case.name):
            continue
        before = total.untraced
        with tempfile.TemporaryDirectory(dir=arguments.workdir) as folder:
            checkpoint = check_case(binary, case, pathlib.Path(folder), total)
            if arguments.keep:
                kept = (arguments.workdir or pathlib.Path(".")) / "kept"
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(checkpoint.parent, kept)
        if total.untraced > before:
            failed.append(case.name)
    share = 1 - total.outside / max(total.positions, 1)
    print(f"{total.positions} positions, {share:.3%} within {TOLERANCE} of a deviation (worst of them "
          f"{total.worst_agreeing:.2e}), {total.outside} outside, {total.untraced} without a tie that explains them")
    if failed or total.positions == 0 or not share >= SHARE:
        for name in failed or ["(all)"]:
            only = f"--only {name}" if failed else ""
            print(f"FAILED, again with: {' '.join([sys.argv[0], *again, only])}")
        return 1
    print("passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
