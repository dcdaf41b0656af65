#!/usr/bin/env python3
"""Compares a training step of Fathom with PyPI transformers' own, on the same model, tokens, type and threads.

  benchmarks/compare_training.py                              the preset mini, 32 sequences of 2048 tokens a step
  benchmarks/compare_training.py --step-sequences 2 --pairs 2 --quiet-share 64      a quick look on a busy machine
  benchmarks/compare_training.py --config config.json --json  another shape; one JSON object

Both train the same weights (of `fathom synth`) on the same sequences in float32: forward and backward passes,
clipping, AdamW. PyTorch runs DeepseekV4ForCausalLM eagerly; Fathom runs `fathom train` without what transformers has
not (MTP, balance and indexer losses, moving router biases), and keeps all layers as PyTorch does. The program fails
when losses differ (on short sequences first). Sides take turns (A B A B ...). The first step of each process is not timed;
Fathom's speed is that of its metrics.jsonl. Before and after each turn the processors' fp32 peak is measured, of which
shares are taken. Operations are Fathom's count for both: every product of a matrix, or of attention with a row that it
sees, forwards and twice that backwards; what is computed again counts for nothing.

It waits for a quiet machine before each turn, and repeats a turn that others disturbed. Ctrl-C reports the pairs that
are complete. PyTorch is that of tools/install_oracles. Exit codes: 0 done, 1 a side failed, they differ, or the machine
was never quiet, 2 wrong arguments or something is missing, 3 a file cannot be read, 130 interrupted.
"""
import argparse
import os
import pathlib
import sys
import tempfile

from peers import program, protocol, quiet, records, report, training
from peers.failure import BAD_INPUT, IO, Failure
from peers.program import BUILD, ROOT, positive, say

NAME = "compare_training"
TEXT_FOLDERS, TEXT_ENDINGS = ("docs", "fathom", "apps", "tests"), {".md", ".h", ".cc", ".py"}


def parser():
    env = os.environ.get
    out = argparse.ArgumentParser(prog=NAME, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = out.add_argument_group("what is measured")
    shape = what.add_mutually_exclusive_group()
    shape.add_argument("--preset", default="mini", metavar="NAME", help="a shape of fathom synth (mini)")
    shape.add_argument("--config", type=pathlib.Path, metavar="FILE", help="a config.json of DeepSeek-V4's family")
    what.add_argument("--text", type=pathlib.Path, metavar="FILE", help="what is trained on (this repository's files)")
    what.add_argument("--sequence", type=positive(int), default=2048, metavar="N", help="tokens of a sequence (2048)")
    what.add_argument("--step-sequences", type=positive(int), default=32, metavar="N", help="sequences of a step (32)")
    what.add_argument("--batch-sequences", type=positive(int), default=1, metavar="N",
                      help="sequences computed at a time by both (1); the gradients of a step add up")
    what.add_argument("--steps", type=positive(int), default=1, metavar="N", help="timed steps of a turn (1)")
    what.add_argument("--pairs", type=positive(int), default=3, metavar="N", help="turns of each side (3)")
    what.add_argument("--threads", type=positive(int), default=len(os.sched_getaffinity(0)), metavar="N",
                      help="threads of both (one per processor)")
    what.add_argument("--experts", default="grouped_mm", choices=("grouped_mm", "eager", "batched_mm"),
                      help="how transformers computes experts (grouped_mm, its default)")
    what.add_argument("--spin", action="store_true",
                      help="PyTorch's threads wait for each other as they usually do: several times as slow where "
                           "other programs run (else OMP_WAIT_POLICY=PASSIVE)")
    what.add_argument("--recompute", action="store_true",
                      help="Fathom computes layers again on the way back, as it does by default, for less memory")
    who = out.add_argument_group("sides; an environment variable is used where the option is absent")
    who.add_argument("--fathom", type=pathlib.Path, metavar="PATH",
                     default=env("FATHOM_BINARY") or BUILD / "release/bin/fathom",
                     help="build/release/bin/fathom; FATHOM_BINARY")
    who.add_argument("--torch-python", type=pathlib.Path, metavar="PATH",
                     default=env("FATHOM_ORACLE_PYTHON") or BUILD / "oracle-venv/bin/python",
                     help="Python with torch, transformers and numpy (that of tools/install_oracles); "
                          "FATHOM_ORACLE_PYTHON")
    program.add_calm_options(out)
    result = out.add_argument_group("the result")
    result.add_argument("--json", action="store_true", help="one JSON object on one line of stdout, not a table")
    result.add_argument("--machine", metavar="NAME", help="what the machine is called (its processors)")
    return out


def check(options):
    if options.step_sequences % options.batch_sequences != 0:
        raise Failure(BAD_INPUT, f"--step-sequences: found {options.step_sequences}, expected a multiple of "
                      f"--batch-sequences ({options.batch_sequences})")
    if not os.access(options.torch_python, os.X_OK):
        raise Failure(BAD_INPUT, f"no program at {options.torch_python}: run tools/install_oracles, or give "
                      "--torch-python PATH, a Python with torch, transformers and numpy")


def read_text(path):
    paths = [path] if path else sorted(found for folder in TEXT_FOLDERS for found in (ROOT / folder).rglob("*")
                                       if found.suffix in TEXT_ENDINGS and found.is_file())
    try:
        return "\n".join(found.read_text(errors="replace") for found in paths)
    except OSError as error:
        raise Failure(IO, f"{error.filename}: {error.strerror}") from error


def make_sides(options, folder):
    """Fathom and PyTorch, with everything that they need on the disk."""
    check(options)
    source = ["--config", options.config] if options.config else ["--preset", options.preset]
    probe = training.FathomTraining(options.fathom, None, options.threads, {})  # says where no program is
    say("preparing: weights and data")
    model, config = training.make_model(probe.binary, source, folder)
    data, tokens, num_tokens = training.make_data(probe.binary, read_text(options.text), config["vocab_size"], folder)
    wanted = (1 + options.steps) * options.step_sequences * options.sequence + 1
    if num_tokens < wanted:
        raise Failure(BAD_INPUT, f"the text has {num_tokens} tokens, expected at least {wanted} for "
                      f"{1 + options.steps} steps: give a longer --text, fewer --steps or --step-sequences")
    setup = {"folder": folder, "data": data, "tokens": tokens, "sequence_tokens": options.sequence,
             "batch_sequences": options.batch_sequences, "step_sequences": options.step_sequences,
             "steps": options.steps, "experts": options.experts, "spins": options.spin,
             "recompute": options.recompute}
    sides = (training.FathomTraining(options.fathom, model, options.threads, setup),
             training.TorchTraining(options.torch_python, model, options.threads, setup))
    say("preparing: do both compute the same?")
    training.check_agreement(*sides, config)
    return sides


class Recorder:
    """The record of this run, brought up to date after every pair."""

    def __init__(self, options, comparison):
        self.options, self.comparison = options, comparison
        self.started, self.facts, self.losses = records.utc_now(), None, None

    def keep(self):
        self.losses = training.compare_losses(*self.comparison.engines)
        self.facts = [{"name": side.name, **side.facts()} for side in self.comparison.engines]

    def record(self, is_complete):
        options = self.options
        settings = {key: getattr(options, key) for key in ("threads", "sequence", "step_sequences", "batch_sequences",
                                                           "steps", "pairs", "experts", "spin", "recompute",
                                                           "quiet_share", "quiet_seconds")}
        label = options.config.name if options.config else options.preset
        return {"schema": records.SCHEMA, "started": self.started, "ended": records.utc_now(), "complete": is_complete,
                "machine": records.machine_facts(options.machine), "model": {"label": label, **self.comparison.costs},
                "settings": settings, "engines": self.facts, "losses": self.losses,
                "figures": self.comparison.results()}


def measure(options):
    """(record or None when no pair is complete, exit code)"""
    with tempfile.TemporaryDirectory(prefix="fathom-training-") as folder:
        sides = make_sides(options, pathlib.Path(folder))
        waiter = quiet.Waiter(options.quiet_share, options.quiet_seconds, options.patience, say)
        figure = protocol.Figure("train", options.step_sequences * options.sequence)
        comparison = protocol.Comparison(sides, [figure], options.pairs, waiter, say)
        recorder = Recorder(options, comparison)
        try:
            code = program.code_of(NAME, lambda: comparison.run(recorder.keep))
            if recorder.losses is None:
                say(f"{NAME}: no pair is complete")
                return None, code
            return recorder.record(is_complete=code == 0), code
        finally:
            for side in sides:
                side.close()


def table(record):
    model, machine, settings, losses = (record[key] for key in ("model", "machine", "settings", "losses"))
    (figure,) = record["figures"]
    peaks = [sample["limits"]["fp32_tflops"] for pair in figure["pairs"] for sample in pair.values()]
    others = max(sample["others"] for pair in figure["pairs"] for sample in pair.values())
    kept = "again on the way back" if settings["recompute"] else "once"
    lines = [f"{machine['name']}, {record['started']}; others used up to {others:.2f} processors",
             f"{model['label']}: {model['parameters'] / 1e6:.1f} M parameters, "
             f"{model['active_parameters'] / 1e6:.1f} M active, {model['flop_per_token'] / 1e6:.1f} MFLOP per token, of "
             f"which 6 x active parameters are {model['flop_per_token_6nd'] / 1e6:.1f}",
             f"float32, {settings['threads']} threads, {settings['step_sequences']} sequences of "
             f"{settings['sequence']} tokens a step, {settings['batch_sequences']} at a time; fathom computes layers "
             f"{kept}",
             f"fp32 peak {1e3 * min(peaks):.0f} to {1e3 * max(peaks):.0f} GFLOP/s; losses of the first "
             f"{len(losses['fathom'])} steps within {losses['largest_difference']:.1e}"]
    return "\n".join(lines + report.figures_and_engines(record) + [report.INTERVAL_NOTE])


if __name__ == "__main__":
    sys.exit(program.run(NAME, parser().parse_args(), measure, table))
