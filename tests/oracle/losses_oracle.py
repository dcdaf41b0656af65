#!/usr/bin/env python3
"""Compares the losses of training and their gradients with PyTorch on freshly drawn numbers.

usage: tests/oracle/losses_oracle.py UNIT_COMPUTE_OPS [--seed N] [--draws N]

Lets the unit test's own comparison read what tools/make_goldens/training_losses.py draws anew,
instead of the kept file. Needs: pip install torch safetensors numpy.
"""
import argparse
import importlib.util
import os
import pathlib
import secrets
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
NUM_TESTS = 3  # a filter that matches nothing would pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--seed", type=int, default=secrets.randbits(31))
    parser.add_argument("--draws", type=int, default=20)
    arguments = parser.parse_args()
    print(f"losses_oracle: seed {arguments.seed}, {arguments.draws} draws", flush=True)

    spec = importlib.util.spec_from_file_location("losses", ROOT / "tools/make_goldens/training_losses.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    for seed in range(arguments.seed, arguments.seed + arguments.draws):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "losses.safetensors"
            maker.make(path, seed)
            run = subprocess.run([arguments.binary, "--gtest_filter=LossFormulas.*", "--gtest_brief=1"],
                                 env=os.environ | {"FATHOM_TRAINING_LOSSES": str(path)}, capture_output=True, text=True)
        if run.returncode != 0 or f"[==========] {NUM_TESTS} tests" not in run.stdout:
            print(run.stdout, run.stderr, sep="")
            print(f"FAILED (again with --seed {seed} --draws 1)")
            return 1
    print("every loss and gradient agrees")
    return 0


if __name__ == "__main__":
    sys.exit(main())
