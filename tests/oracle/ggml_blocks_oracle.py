#!/usr/bin/env python3
"""Compares our decoders of ggml blocks with PyPI gguf on freshly drawn blocks.

usage: tests/oracle/ggml_blocks_oracle.py UNIT_COMPUTE_NUMERIC [--seed N] [--blocks N]

Draws new blocks of every format, dequantises them with gguf, and lets the unit test's own
comparison (bit for bit) read them instead of the kept ones. Needs: pip install gguf.
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    parser.add_argument("--blocks", type=int, default=256)
    arguments = parser.parse_args()
    print(f"ggml_blocks_oracle: seed {arguments.seed}, {arguments.blocks} blocks of every format", flush=True)

    spec = importlib.util.spec_from_file_location("ggml_blocks", ROOT / "tools/make_goldens/ggml_blocks.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "blocks.safetensors"
        maker.make(path, arguments.seed, arguments.blocks)
        run = subprocess.run([arguments.binary, "--gtest_filter=*GgmlBlocks.Decode*", "--gtest_brief=1"],
                             env=os.environ | {"FATHOM_GGML_BLOCKS": str(path)}, capture_output=True, text=True)
    print(run.stdout, run.stderr, sep="", end="")
    # A filter that matches nothing would pass: every format has two tests.
    expected = f"[==========] {2 * len(maker.F16_AT)} tests"
    if run.returncode != 0 or expected not in run.stdout:
        print(f"FAILED (again with --seed {arguments.seed} --blocks {arguments.blocks})")
        return 1
    print("every value agrees bit for bit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
