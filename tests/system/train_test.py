#!/usr/bin/env python3
"""fathom train as a user runs it: it learns, goes on after kills and stops with the same bits, refuses what is wrong.

usage: train_test.py PATH_OF_FATHOM [--sanitised] [--kills N] [unittest options]
"""
import json
import math
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from invocation import IS_SANITISED, deadline, program_under_test

FATHOM = ""
NUM_KILLS = 6
WORDS = "the cat dog bird sees hears follows a red green small house tree river and then runs sleeps".split()


def run(*arguments, **options):
    return subprocess.run([FATHOM, *map(str, arguments)], capture_output=True, text=True, check=False,
                          timeout=deadline(280), **options)


def write_corpus(path, num_documents=600):
    """Sentences in which a word has three followers: far from as uncertain as words alone are."""
    draw = random.Random(3)
    documents = []
    for _ in range(num_documents):
        words = [draw.choice(WORDS)]
        while len(words) < 30:
            words.append(WORDS[(3 * WORDS.index(words[-1]) + draw.randrange(3)) % len(WORDS)])
        documents.append(json.dumps({"text": " ".join(words)}))
    path.write_text("\n".join(documents) + "\n")
    path.with_suffix(".txt").write_text("\n".join(json.loads(line)["text"] for line in documents))


CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 320, "hidden_size": 32,
    "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
    "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
    "tie_word_embeddings": True, "bos_token_id": 0, "eos_token_id": 0, "torch_dtype": "float32"}

SETTINGS = {
    "run": {"folder": "run", "threads": 1},
    "model": {"config": "config.json", "seed": 5},
    "data": {"folders": ["data"], "sequence_tokens": 64, "batch_sequences": 2, "step_sequences": 4},
    "schedule": {"steps": 40, "peak": 2e-2, "end": 1e-3, "kind": "cosine", "warmup_steps": 4},
    "optimizer": {"epsilon": 1e-8, "average": 0.9},
    "validation": {"every": 10, "tokens": 512},
    "checkpoint": {"every": 5},
}


def toml(settings):
    lines = []
    for section, values in settings.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


class TrainTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.shared = pathlib.Path(tempfile.mkdtemp(prefix="fathom-train-"))
        cls.addClassCleanup(shutil.rmtree, cls.shared)
        write_corpus(cls.shared / "corpus.jsonl")
        result = run("data", "build", cls.shared / "corpus.jsonl", "--out", cls.shared / "data", "--train-tokenizer", 300,
                     "--validation", 0.1)
        assert result.returncode == 0, result.stderr

    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fathom-train-"))
        self.addCleanup(shutil.rmtree, self.dir)
        os.symlink(self.shared / "data", self.dir / "data")
        (self.dir / "config.json").write_text(json.dumps(CONFIG))

    def settings(self, **changes):
        """Writes the settings with changes of section_key=value, and names the file."""
        settings = {section: dict(values) for section, values in SETTINGS.items()}
        for name, value in changes.items():
            section, _, key = name.partition("_")
            settings.setdefault(section, {})[key] = value
            if value is None:
                del settings[section][key]
        path = self.dir / "train.toml"
        path.write_text(toml(settings))
        return path

    def train(self, *options, **changes):
        return run("train", self.settings(**changes), "--json", *options, cwd=self.dir)

    def trained(self, *options, **changes):
        result = self.train(*options, **changes)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def refused(self, part, *options, code=2, **changes):
        result = self.train(*options, **changes)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertIn(part, result.stderr)
        self.assertEqual(result.stderr.strip().count("\n"), 0, result.stderr)
        self.assertNotIn("bug in Fathom", result.stderr)

    def metrics(self, folder="run"):
        return [json.loads(line) for line in (self.dir / folder / "metrics.jsonl").read_text().splitlines()]

    def model_bytes(self, folder="run"):
        return (self.dir / folder / "model/model.safetensors").read_bytes()

    def start(self, **changes):
        return subprocess.Popen([FATHOM, "train", str(self.settings(**changes))], cwd=self.dir, stderr=subprocess.PIPE,
                                stdout=subprocess.DEVNULL, text=True)

    def wait_for_steps(self, process, count, folder="run"):
        path = self.dir / folder / "metrics.jsonl"
        while process.poll() is None:
            if path.exists() and path.read_text().count('"event":"step"') >= count:
                return
            time.sleep(0.002)

    def test_it_learns_and_leaves_a_model_that_runs(self):
        report = self.trained(schedule_steps=120)
        # Words alone have an entropy of at least log(18) / 2 nats per token: two tokens a word at most.
        steps = [line for line in self.metrics() if line["event"] == "step"]
        self.assertEqual([line["step"] for line in steps], list(range(1, 121)))
        self.assertGreater(steps[0]["loss"], 5)
        self.assertLess(report["validation_loss"], self.unigram_entropy() - 0.3)
        html = (self.dir / "run/report.html").read_text()
        self.assertEqual(html.count("<svg"), 4)
        self.assertIn("validation", html)
        model = self.dir / "run/model"
        logits = run("logits", model, "--tokens", "1,2,3,4", "--out", self.dir / "logits.npy")
        self.assertEqual(logits.returncode, 0, logits.stderr)
        reply = run("run", model, "the cat", "--max-tokens", 8, "--temperature", 0)
        self.assertEqual(reply.returncode, 0, reply.stderr)
        self.assertTrue(any(word in reply.stdout for word in WORDS), reply.stdout)

    def unigram_entropy(self):
        result = run("tokenize", self.dir / "data", self.shared / "corpus.txt")
        self.assertEqual(result.returncode, 0, result.stderr)
        ids = re.findall(r"\d+", result.stdout)
        self.assertGreater(len(ids), 10_000)
        counts = {token: ids.count(token) for token in set(ids)}
        return -sum(count / len(ids) * math.log(count / len(ids)) for count in counts.values())

    def test_same_seed_same_bits_for_any_number_of_threads(self):
        self.trained(run_folder="one")
        self.trained("--threads", 2, run_folder="two")
        self.assertEqual(self.model_bytes("one"), self.model_bytes("two"))
        self.trained(run_folder="other", model_seed=6)
        self.assertNotEqual(self.model_bytes("one"), self.model_bytes("other"))

    def test_killed_anywhere_and_gone_on_with_it_has_the_same_bits(self):
        self.trained(run_folder="whole")
        whole = self.model_bytes("whole")
        draw = random.Random(7)
        num_kills = 0
        while num_kills < NUM_KILLS:
            shutil.rmtree(self.dir / "run", ignore_errors=True)
            for _ in range(3):
                process = self.start()
                self.wait_for_steps(process, draw.randrange(40))
                time.sleep(draw.random() * 0.03)
                process.kill()
                _, errors = process.communicate()
                if process.returncode == -signal.SIGKILL:
                    num_kills += 1
                else:
                    self.assertEqual(process.returncode, 0, errors)
            self.trained()
            self.assertEqual(self.model_bytes(), whole)
            steps = [line["step"] for line in self.metrics() if line["event"] == "step"]
            self.assertEqual(steps, list(range(1, 41)))

    def test_ctrl_c_keeps_everything_and_says_how_to_go_on(self):
        self.trained(run_folder="whole")
        process = self.start(schedule_steps=40)
        self.wait_for_steps(process, 7)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=deadline(60))
        self.assertEqual(process.returncode, 130, errors)
        self.assertIn("the same command goes on from there", errors)
        self.trained()
        self.assertEqual(self.model_bytes(), self.model_bytes("whole"))

    def test_a_damaged_checkpoint_is_said_and_the_one_before_is_gone_on_from(self):
        self.trained()
        whole = self.model_bytes()
        newest = sorted((self.dir / "run/checkpoints").glob("step-*"))[-1]
        data = bytearray(newest.read_bytes())
        data[-5] ^= 1
        newest.write_bytes(data)
        result = self.train()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(f"{newest.name}: damaged", result.stderr)
        self.assertEqual(self.model_bytes(), whole)
        for path in (self.dir / "run/checkpoints").glob("*"):
            path.write_bytes(b"x")
        result = self.train()
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn("every checkpoint is damaged", result.stderr)

    def test_other_settings_are_named_and_may_be_accepted(self):
        self.trained(schedule_steps=10)
        self.refused("schedule.steps: 10 before, 12 now", schedule_steps=12)
        report = self.trained("--accept-changes", schedule_steps=12)
        self.assertEqual(report["steps"], 12)
        self.trained("--accept-changes", schedule_steps=12, run_threads=2)

    def test_another_shape_than_the_run_began_with_is_refused(self):
        self.trained(schedule_steps=5)
        (self.dir / "config.json").write_text(json.dumps(CONFIG | {"intermediate_size": 128}))
        self.refused("model.config: config.json: is not what the run in run began with", schedule_steps=5)

    def test_check_says_what_it_would_be_and_makes_nothing(self):
        report = self.trained("--check")
        self.assertEqual(report["step_tokens"], 256)
        self.assertEqual(report["total_tokens"], 256 * 40)
        self.assertGreater(report["parameters"], 10_000)
        self.assertFalse((self.dir / "run").exists())

    def test_memory_said_beforehand_is_met(self):
        synth = run("synth", "--preset", "mini", "--out", self.dir / "mini")
        self.assertEqual(synth.returncode, 0, synth.stderr)
        changes = {"model_config": "mini/config.json", "data_sequence_tokens": 1024, "data_batch_sequences": 1,
                   "data_step_sequences": 1, "schedule_steps": 2, "schedule_warmup_steps": 0, "validation_every": 0,
                   "optimizer_average": 0}
        said = self.trained("--check", **changes)["memory_bytes"]
        report = self.trained(**changes)
        self.assertEqual(report["memory_bytes"], said)
        if not IS_SANITISED:
            self.assertLess(abs(report["peak_rss_bytes"] / said - 1), 0.1, report)

    def test_settings_are_explained_and_can_be_read(self):
        result = run("train", "--settings")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("[schedule]", result.stdout)

    def test_what_is_wrong_is_named(self):
        self.refused("train.toml:3: run: unknown key \"foldr\"", run_folder=None, run_foldr="x")
        self.refused("model: seed: found a value of type", model_seed="five")
        self.refused("schedule.steps: is missing", schedule_steps=None)
        self.refused("model: expected either config", model_path="x")
        self.refused("no/such/config.json", model_config="no/such/config.json", code=3)
        self.refused("data.sequence_tokens: found 256, expected at most 128", data_sequence_tokens=256)
        self.refused("no.such.*", model_train=["no.such.*"])
        self.refused("data.step_sequences: expected a multiple", data_step_sequences=3)
        (self.dir / "config.json").write_text(json.dumps(CONFIG | {"vocab_size": 256}))
        self.refused("tokens, the model has 256")
        self.assertFalse((self.dir / "run/checkpoints").exists())

    def test_damaged_data_is_named_and_nothing_is_lost(self):
        os.unlink(self.dir / "data")
        shutil.copytree(self.shared / "data", self.dir / "data")
        shard = next(path for path in (self.dir / "data").iterdir() if path.read_bytes()[:8] == b"FathomSh")
        good = shard.read_bytes()
        bad = bytearray(good)
        bad[3000] ^= 1
        shard.write_bytes(bad)
        result = self.train()
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn(shard.name, result.stderr)
        shard.write_bytes(good)
        self.trained()

    def test_numbers_that_are_none_in_the_weights_are_named(self):
        self.trained(schedule_steps=1, schedule_warmup_steps=0, quantisation_storage="f32")
        os.rename(self.dir / "run/model", self.dir / "model")
        path = self.dir / "model/model.safetensors"
        data = bytearray(path.read_bytes())
        data[-4:] = b"\x00\x00\xc0\x7f"  # a NaN
        path.write_bytes(data)
        self.refused("expected a finite number", model_config=None, model_path="model", run_folder="again")

    def test_a_model_is_trained_on(self):
        first = self.trained(run_folder="first", schedule_steps=30)
        second = self.trained(run_folder="second", model_config=None, model_path="first/model", schedule_steps=30)
        self.assertLess(second["validation_loss"], first["validation_loss"])

    def test_a_full_disk_leaves_the_last_checkpoint(self):
        self.trained(run_folder="whole")
        # A limit on the size of files stands for the disk: the metrics and the report fit, checkpoints do not.
        size = next((self.dir / "whole/checkpoints").glob("step-*")).stat().st_size
        process = self.start()
        self.wait_for_steps(process, 6)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=deadline(60))
        before = sorted(path.name for path in (self.dir / "run/checkpoints").iterdir())

        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))

        result = run("train", self.settings(), cwd=self.dir, preexec_fn=limit, restore_signals=False)
        self.assertEqual(result.returncode, 3, result.stderr)
        self.assertIn("File too large", result.stderr)
        self.assertIn("is kept in", result.stderr)
        self.assertEqual(sorted(path.name for path in (self.dir / "run/checkpoints").iterdir()), before)
        self.trained()
        self.assertEqual(self.model_bytes(), self.model_bytes("whole"))

    def test_a_folder_that_cannot_be_written_is_named(self):
        (self.dir / "file").write_text("")
        self.refused("file/run", code=3, run_folder="file/run")

    def test_one_process_at_a_time(self):
        process = self.start(schedule_steps=5000)
        self.wait_for_steps(process, 1)
        self.refused("another process is training in this folder", code=3, schedule_steps=5000)
        process.kill()
        process.communicate()


if __name__ == "__main__":
    FATHOM = program_under_test(__doc__)
    if "--kills" in sys.argv:
        at = sys.argv.index("--kills")
        NUM_KILLS = int(sys.argv[at + 1])
        del sys.argv[at : at + 2]
    unittest.main()
