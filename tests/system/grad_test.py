#!/usr/bin/env python3
"""fathom grad as a user runs it: the file, the report, what is absent, errors.

usage: grad_test.py PATH_OF_FATHOM [--sanitised] [unittest options]
"""
import json
import pathlib
import shutil
import struct
import subprocess
import tempfile
import unittest

import numpy

from invocation import deadline, program_under_test

FATHOM = ""
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CHECKPOINTS = ROOT / "tests/data/golden/checkpoints"
TOKENS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]


def run(*arguments):
    return subprocess.run([FATHOM, *map(str, arguments)], capture_output=True, text=True,
                          timeout=deadline(250), check=False)


def read_header(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length)), 8 + length


def read_tensors(path):
    header, begin = read_header(path)
    data = path.read_bytes()
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            assert entry["dtype"] == "F32", entry
            start, end = entry["data_offsets"]
            values = numpy.frombuffer(data[begin + start : begin + end], "<f4")
            tensors[name] = values.reshape(entry["shape"])
    return tensors


class GradTest(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fathom-grad-"))
        self.addCleanup(shutil.rmtree, self.dir)
        self.out = self.dir / "out/gradients.safetensors"
        self.out.parent.mkdir()

    def leftovers(self):
        return sorted(path.name for path in self.out.parent.iterdir())

    def grad(self, model, tokens, *options):
        result = run("grad", model, "--tokens", tokens, "--out", self.out, *options)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stderr, "")
        self.assertEqual(result.stdout.count("\n"), 1)
        self.assertEqual(self.leftovers(), ["gradients.safetensors"])
        report = json.loads(result.stdout)
        self.assertEqual(list(report), ["loss"])
        tensors = read_tensors(self.out)
        self.assertEqual(tensors.pop("loss").shape, ())
        return report["loss"], tensors

    def loss_of_logits(self, model, tokens):
        out = self.dir / "logits.npy"
        result = run("logits", model, "--tokens", ",".join(map(str, tokens)), "--out", out)
        self.assertEqual(result.returncode, 0, result.stderr)
        logits = numpy.load(out).astype(numpy.float64)[:-1]
        logits -= logits.max(axis=1, keepdims=True)
        log_probs = logits - numpy.log(numpy.exp(logits).sum(axis=1, keepdims=True))
        return -log_probs[numpy.arange(len(tokens) - 1), tokens[1:]].mean()

    def test_loss_is_that_of_the_logits_and_gradients_have_names_and_shapes_of_the_checkpoint(self):
        model = CHECKPOINTS / "flash-tiny"
        numpy.save(self.dir / "tokens.npy", numpy.array(TOKENS, numpy.int64))
        loss, tensors = self.grad(model, self.dir / "tokens.npy", "--numerics", "high")
        self.assertAlmostEqual(loss, self.loss_of_logits(model, TOKENS), delta=1e-5)
        stored, _ = read_header(model / "model.safetensors")
        for name, values in tensors.items():
            shape = list(stored[name]["shape"])
            if stored[name]["dtype"] == "I8":  # two FP4 numbers in a byte
                shape[-1] *= 2
            self.assertEqual(list(values.shape), shape, name)
            self.assertTrue(numpy.isfinite(values).all(), name)
        absent = {name for name in stored if name not in tensors} - {"__metadata__"}
        for name in absent:
            # Blocks of 128 tokens are longer than the sequence.
            is_explained = (name.startswith("mtp.") or ".indexer." in name or name.endswith((".scale", "tid2eid"))
                            or name.endswith("ffn.gate.bias") or name.startswith("layers.3.attn.compressor"))
            self.assertTrue(is_explained, name)
        self.assertIn("layers.2.attn.compressor.ape", tensors)
        self.assertIn("embed.weight", tensors)

    def test_backends_agree(self):
        found = {}
        for backend in ("cpu", "reference", "reference:f64"):
            found[backend] = self.grad(CHECKPOINTS / "llama-tied", "1,2,3,4,5,6,7,8", "--backend", backend)
        exact_loss, exact = found["reference:f64"]
        for backend in ("cpu", "reference"):
            loss, tensors = found[backend]
            self.assertAlmostEqual(loss, exact_loss, delta=1e-5)
            self.assertEqual(tensors.keys(), exact.keys())
            for name, values in tensors.items():
                limit = 1e-4 * numpy.abs(exact[name]).max()
                self.assertTrue(numpy.abs(values - exact[name]).max() <= limit, f"{backend}: {name}")
        self.assertNotIn("lm_head.weight", exact)  # the embedding has its gradient

    def test_a_step_against_the_gradient_lowers_the_loss_as_much_as_it_says(self):
        model = self.dir / "model"
        shutil.copytree(CHECKPOINTS / "llama-tiny", model)
        before, tensors = self.grad(model, ",".join(map(str, TOKENS)), "--backend", "reference:f64")
        name = max(tensors, key=lambda each: numpy.square(tensors[each]).sum())
        header, begin = read_header(model / "model.safetensors")
        entry = header[name]
        self.assertIn(entry["dtype"], ("F32", "BF16"))
        data = bytearray((model / "model.safetensors").read_bytes())
        first, end = (begin + offset for offset in entry["data_offsets"])
        if entry["dtype"] == "F32":
            old = numpy.frombuffer(bytes(data[first:end]), "<f4")
            new = (old - 1e-3 * tensors[name].reshape(-1)).astype("<f4")
            moved = new.astype(numpy.float64) - old
            data[first:end] = new.tobytes()
        else:
            old = (numpy.frombuffer(bytes(data[first:end]), "<u2").astype(numpy.uint32) << 16).view("<f4")
            wanted = (old - 3e-3 * tensors[name].reshape(-1)).astype("<f4")
            bits = ((wanted.view("<u4") + 0x8000) >> 16).astype("<u2")
            moved = (bits.astype(numpy.uint32) << 16).view("<f4").astype(numpy.float64) - old
            data[first:end] = bits.tobytes()
        (model / "model.safetensors").write_bytes(data)
        after, behind = self.grad(model, ",".join(map(str, TOKENS)), "--backend", "reference:f64")
        # The mean of the slopes at both ends.
        expected = (moved * (tensors[name] + behind[name]).reshape(-1)).sum() / 2
        self.assertLess(after, before)
        self.assertAlmostEqual((after - before) / expected, 1, delta=0.02)

    def refuse(self, code, part, *arguments):
        result = run("grad", *arguments)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertEqual(result.stdout, "")
        self.assertTrue(result.stderr.startswith("fathom: "), result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        self.assertIn(part, result.stderr)
        self.assertEqual(self.leftovers(), [])

    def test_what_cannot_be_done_is_said_on_one_line(self):
        model = CHECKPOINTS / "llama-tiny"
        self.refuse(2, "tokens: 1, expected 2 to", model, "--tokens", "5", "--out", self.out)
        self.refuse(2, "position 2: token id 100000", model, "--tokens", "1,2,100000", "--out", self.out)
        self.refuse(2, "expected high or official", model, "--tokens", "1,2", "--out", self.out, "--numerics", "fast")
        self.refuse(2, "backend: found", model, "--tokens", "1,2", "--out", self.out, "--backend", "gpu")
        self.refuse(3, "no folder", model, "--tokens", "1,2", "--out", self.dir / "missing/gradients.safetensors")
        self.refuse(3, "Is a directory", model, "--tokens", "1,2", "--out", self.dir)
        self.refuse(3, "nowhere", self.dir / "nowhere", "--tokens", "1,2", "--out", self.out)


if __name__ == "__main__":
    FATHOM = program_under_test(__doc__)
    unittest.main()
