#!/usr/bin/env python3
"""fathom tune, merge and --lora as a user runs them: small models, adapters in PyPI peft's layout, errors.

usage: tune_test.py PATH_OF_FATHOM [--sanitised] [unittest options]
"""
import json
import pathlib
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest

import numpy

from invocation import deadline, program_under_test

FATHOM = ""
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CHECKPOINTS = ROOT / "tests/data/golden/checkpoints"


def start(*arguments):
    return subprocess.Popen([FATHOM, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(*arguments):
    return subprocess.run([FATHOM, *map(str, arguments)], capture_output=True, text=True,
                          timeout=deadline(280), check=False)


def write_adapter(folder, tensors, rank, alpha):
    """As peft's save_pretrained lays it out."""
    folder.mkdir()
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, values in tensors.items():
        begin = len(data)
        data += values.astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    (folder / "adapter_config.json").write_text(json.dumps(
        {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": ["q_proj", "down_proj"],
         "bias": "none", "use_dora": False, "base_model_name_or_path": "somewhere"}))


def header_of(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length))


class TuneTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.shared = pathlib.Path(tempfile.mkdtemp(prefix="fathom-tune-"))
        cls.model = cls.shared / "model"
        cls.data = cls.shared / "chat.jsonl"
        cls.data.write_text(run("tune", "--example").stdout)
        for arguments in (["data", "build", cls.data, "--out", cls.model, "--train-tokenizer", 400, "--chat-tokens"],
                          ["synth", "--preset", "tiny", "--out", cls.model, "--overwrite"]):
            made = run(*arguments)
            assert made.returncode == 0, made.stderr

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.shared)

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fathom-tune-"))
        self.addCleanup(shutil.rmtree, self.dir)
        self.out = self.dir / "adapter"

    def options(self, *more):
        held = [] if "--hold-out" in more else ["--hold-out", 0.2]
        rank = [] if "--full" in more else ["--lora-rank", 2]
        return ["tune", self.model, "--data", self.data, "--out", self.out, "--batch-tokens", 64, "--learning-rate", 5e-3,
                "--json", *held, *rank, *more]

    def tune(self, *more):
        result = run(*self.options(*more))
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def refused(self, *arguments):
        result = run(*arguments)
        self.assertEqual(result.returncode, 2, result.stdout + result.stderr)
        self.assertEqual(result.stdout, "")
        return result.stderr

    def test_an_adapter_learns_and_is_put_beside_the_weights(self):
        report = self.tune("--steps", 12)
        self.assertEqual(report["examples"], 4)
        self.assertEqual(report["held_out"], 1)
        self.assertLess(report["loss"], report["held_out_loss_before"])
        names = header_of(self.out / "adapter_model.safetensors")
        self.assertIn("base_model.model.layers.0.attn.wq_a.lora_A.weight", names)
        self.assertTrue(names["__metadata__"]["fathom_base"])
        config = json.loads((self.out / "adapter_config.json").read_text())
        self.assertEqual((config["peft_type"], config["r"], config["lora_alpha"]), ("LORA", 2, 4))
        self.assertTrue((self.out / "run/report.html").exists())
        said = [json.loads(run("run", self.model, "Is water wet?", "--chat", "--temperature", 0, "--max-tokens", 8,
                               "--numerics", "high", "--json", *options).stdout)["logprobs"]
                for options in ([], ["--lora", self.out])]
        self.assertNotEqual(said[0], said[1])
        check = run("serve", self.model, "--listen", "127.0.0.1:0", "--lora", f"keeper={self.out}", "--check")
        self.assertEqual(check.returncode, 0, check.stderr)
        self.assertNotIn("warning", check.stdout)
        other = self.dir / "other"
        shutil.copytree(self.model, other)
        made = run("synth", "--preset", "tiny", "--seed", 2, "--out", other, "--overwrite")
        self.assertEqual(made.returncode, 0, made.stderr)
        doubtful = "adapter was made over other weights"
        for arguments in (["run", other, "Hello", "--max-tokens", 1, "--lora", self.out],
                          ["merge", other, "--lora", self.out, "--out", self.dir / "merged"]):
            result = run(*arguments)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn(doubtful, result.stderr)
        check = run("serve", other, "--listen", "127.0.0.1:0", "--lora", f"keeper={self.out}", "--check")
        self.assertIn(doubtful, check.stdout)
        same = run("run", self.model, "Hello", "--max-tokens", 1, "--lora", self.out)
        self.assertNotIn(doubtful, same.stderr)

    def test_preferences_are_learned(self):
        self.data = self.dir / "pairs.jsonl"
        self.data.write_text(run("tune", "--example", "--dpo").stdout)
        report = self.tune("--dpo", "--steps", 8, "--hold-out", 0.4, "--epochs", 4)
        self.assertAlmostEqual(report["held_out_loss_before"], 0.6931, places=3)
        self.assertLess(report["loss"], 0.69)
        self.assertIn("preferred_after", report)

    def test_a_run_that_is_killed_goes_on_to_the_same_bits(self):
        options = ["--steps", 20, "--checkpoint-every", 3]
        self.tune(*options)
        expected = (self.out / "adapter_model.safetensors").read_bytes()
        shutil.rmtree(self.out)
        process = start(*self.options(*options))
        checkpoints = self.out / "run/checkpoints"
        end = time.monotonic() + deadline(200)
        while len(list(checkpoints.glob("*"))) < 2 and process.poll() is None and time.monotonic() < end:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        report = self.tune(*options)
        self.assertEqual(report["steps"], 20)
        self.assertEqual((self.out / "adapter_model.safetensors").read_bytes(), expected)
        self.assertIn("other options", self.refused(*self.options(*options, "--lora-scale", 3)))

    def test_what_is_wrong_is_named(self):
        error = self.refused(*self.options("--targets", "attention,mlp=4"))
        self.assertIn('the model has no "mlp", expected some of: attention, ', error)
        self.assertIn("expert_gate", error)
        self.assertIn("line 1: ", self.refused(*self.options("--sequence", 4)))
        self.assertIn("expected a model, --data and --out", self.refused("tune", self.model))
        self.data = self.dir / "broken.jsonl"
        self.data.write_text('{"messages": []}\n')
        self.assertIn("broken.jsonl: line 1", self.refused(*self.options()))
        self.assertIn("fast", self.refused(*self.options("--numerics", "fast")))
        self.assertFalse(self.out.exists())

    def test_all_weights_can_be_tuned(self):
        report = self.tune("--full", "--steps", 3)
        self.assertEqual(report["out"], str(self.out / "model"))
        self.assertTrue((self.out / "model/config.json").exists())

    def handmade(self, folder, size=0.3):
        config = json.loads((CHECKPOINTS / "llama-tiny/config.json").read_text())
        random = numpy.random.default_rng(1)
        width, rank = config["hidden_size"], 3
        query = config["num_attention_heads"] * config["head_dim"]
        tensors = {}
        for layer in range(config["num_hidden_layers"]):
            for module, rows, columns in (("self_attn.q_proj", query, width),
                                          ("mlp.down_proj", width, config["intermediate_size"])):
                name = f"base_model.model.model.layers.{layer}.{module}"
                tensors[f"{name}.lora_A.weight"] = random.normal(size=(rank, columns)) / columns**0.5
                tensors[f"{name}.lora_B.weight"] = size * random.normal(size=(rows, rank))
        write_adapter(folder, tensors, rank, 2 * rank)

    def logits(self, model, *options):
        result = run("logits", model, "--tokens", "3,1,4,1,5,9,2,6", "--out", self.dir / "logits.npy", *options)
        self.assertEqual(result.returncode, 0, result.stderr)
        return numpy.load(self.dir / "logits.npy")

    def test_merged_weights_are_those_with_the_adapter_beside_them(self):
        self.handmade(self.out)
        model, merged = CHECKPOINTS / "llama-tiny", self.dir / "merged"
        result = run("merge", model, "--lora", self.out, "--out", merged, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        report = json.loads(result.stdout)
        self.assertEqual(report["tensors"], len(report["tensor_names"]))
        self.assertLess(report["relative_error"], 2**-7)
        bare, beside, folded = self.logits(model), self.logits(model, "--lora", self.out), self.logits(merged)
        self.assertGreater(numpy.abs(beside - bare).max(), 0.1)
        # What is left is the rounding to BF16.
        self.assertLess(numpy.abs(folded - beside).max(), 0.03 * numpy.abs(beside - bare).max())
        gguf = self.logits(CHECKPOINTS / "llama-tiny.gguf", "--lora", self.out)
        self.assertLess(numpy.abs(gguf - beside).max(), 1e-3)
        self.assertIn("expected a new or an empty folder", self.refused("merge", model, "--lora", self.out, "--out", merged))

    def test_merging_into_a_gguf_file_says_what_to_do_instead(self):
        self.handmade(self.out)
        error = self.refused("merge", CHECKPOINTS / "llama-tiny.gguf", "--lora", self.out, "--out", self.dir / "merged")
        self.assertIn("--lora puts the adapter beside a GGUF file's weights instead", error)
        self.assertEqual(sorted(path.name for path in self.dir.iterdir()), ["adapter"])

    def test_an_adapter_of_another_kind_is_refused(self):
        self.handmade(self.out)
        path = self.out / "adapter_config.json"
        path.write_text(path.read_text().replace('"use_dora": false', '"use_dora": true'))
        error = self.refused("logits", CHECKPOINTS / "llama-tiny", "--tokens", "1", "--out", self.dir / "l.npy", "--lora",
                             self.out)
        self.assertIn("adapter_config.json: use_dora", error)


if __name__ == "__main__":
    FATHOM = program_under_test(__doc__)
    unittest.main()
