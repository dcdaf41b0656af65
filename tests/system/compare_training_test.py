#!/usr/bin/env python3
"""benchmarks/compare_training with stand-ins for Fathom and PyTorch of known speed.

usage: compare_training_test.py PATH_OF_FATHOM [--sanitised] [unittest options]
"""
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

FATHOM = ""
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAM = ROOT / "benchmarks/compare_training.py"
sys.path.insert(0, str(ROOT / "benchmarks"))

from peers import training  # noqa: E402  after the path
from peers.failure import Failure  # noqa: E402

from invocation import program_under_test  # noqa: E402

# Both write what they were asked for into the file that CALLS names. Losses are 4 less 0.1 for every step.
FAKE_FATHOM = """#!/usr/bin/env python3
import json, os, pathlib, struct, sys
words = sys.argv[1:]
option = lambda name: words[words.index(name) + 1]
if words == ["--version"]:
    print("fathom 9.9")
elif words[0] == "synth":
    out = pathlib.Path(option("--out"))
    out.mkdir()
    config = json.loads(pathlib.Path(option("--config")).read_text()) if "--config" in words else {
        "vocab_size": 300, "num_hidden_layers": 2, "num_nextn_predict_layers": 1, "compress_ratios": [4, 128, 0]}
    (out / "config.json").write_text(json.dumps(config))
elif words[0] == "data":
    text = pathlib.Path(words[2]).read_text()
    out = pathlib.Path(option("--out"))
    out.mkdir()
    header = bytearray(128)
    header[:8] = b"FathomSh"
    struct.pack_into("<I", header, 16, 2)
    struct.pack_into("<q", header, 56, len(text))
    (out / "shard-00000").write_bytes(bytes(header) + b"".join(struct.pack("<H", ord(c)) for c in text) + b"rest")
elif words[0] == "plan":
    print(json.dumps({"training": {"flop_per_token_with_attention": 3e9, "flop_per_token_6nd": 2e9},
                      "parameters": {"total": 10, "active": 5}}))
elif "--probe-only" in words:
    print(json.dumps({"machine": {"read_gb_s": 50.0, "int8_tops": 2.0, "bf16_tflops": None, "fp32_tflops": 1.5}}))
else:
    settings = dict(word.split("=", 1) for word in words if "=" in word)
    calls = open(os.environ["CALLS"], "a+")
    calls.write(json.dumps({"fathom": settings}) + "\\n")
    calls.seek(0)
    turn = sum(line.startswith('{"fathom') for line in calls) - 2  # the first is a check
    folder = pathlib.Path(settings["run.folder"])
    folder.mkdir()
    speeds = [1.0] + [200.0 + 40 * turn] * (int(settings["schedule.steps"]) - 1)
    lines = [{"event": "step", "loss": 3.9 - 0.1 * idx + 1e-6, "tokens_per_s": speed}
             for idx, speed in enumerate(speeds)]
    lines.insert(1, {"event": "refused"})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\\n" for line in lines))
    print(json.dumps({"backend": "cpu:fake", "peak_rss_bytes": 10**9}))
"""
FAKE_PYTHON = """#!/usr/bin/env python3
import json, os, sys
if sys.argv[1] == "-c":
    sys.exit(os.environ.get("TORCH_IS_MISSING"))
settings = json.loads(sys.argv[3])
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps({"pytorch": settings}) + "\\n")
tokens = settings["sequence_tokens"] * settings["step_sequences"]
done = 0
for line in sys.stdin:
    request = json.loads(line)
    if "facts" in request:
        print(json.dumps({"torch": "1", "transformers": "2", "experts": "e", "peak_rss_bytes": 10**9}), flush=True)
        continue
    losses = [3.9 - 0.1 * (done + idx) for idx in range(request["steps"])]
    done += request["steps"]
    losses[-1] += float(os.environ.get("TORCH_IS_OFF", "0"))
    print(json.dumps({"seconds": [tokens / 100] * request["steps"], "losses": losses}), flush=True)
"""


class TokensTest(unittest.TestCase):
    def test_tokens_are_those_of_a_real_shard(self):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="fathom-shard-"))
        self.addCleanup(shutil.rmtree, folder)
        text = "one two three two one " * 50
        _, file, count = training.make_data(FATHOM, text, 300, folder)
        ids = struct.unpack(f"<{count}i", file.read_bytes())
        self.assertEqual(len(ids), count)
        # Without what begins and ends a text.
        run = subprocess.run([FATHOM, "detokenize", folder / "data", "--tokens", ",".join(map(str, ids[1:-1]))],
                             capture_output=True, text=True, check=True)
        self.assertEqual(run.stdout.strip(), text.strip())

    def test_other_files_are_no_shards(self):
        with self.assertRaisesRegex(Failure, "expected FathomSh"):
            training.tokens_of(bytes(200))


class ProgramTest(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fathom-training-test-"))
        self.addCleanup(shutil.rmtree, self.dir)
        self.calls = self.dir / "calls"
        self.calls.touch()
        self.text = self.dir / "text"
        self.text.write_text("0123456789" * 20)
        for name, text in (("fathom", FAKE_FATHOM), ("python", FAKE_PYTHON)):
            (self.dir / name).write_text(text)
            (self.dir / name).chmod(0o755)

    def run_program(self, *arguments, code=0, **environment):
        words = [PROGRAM, "--fathom", self.dir / "fathom", "--torch-python", self.dir / "python", "--text", self.text,
                 "--sequence", 8, "--step-sequences", 4, "--threads", 2, "--quiet-share", 64, "--quiet-seconds", 0.01,
                 *arguments]
        result = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120, check=False,
                                env={**os.environ, "CALLS": str(self.calls), **environment})
        self.assertEqual(result.returncode, code, result.stderr)
        return result

    def test_both_sides_get_the_same_task(self):
        self.run_program("--pairs", 1, "--batch-sequences", 2, "--steps", 2, "--experts", "eager")
        pytorch, fathom = (json.loads(line) for line in self.calls.read_text().splitlines()[2:])
        ours, theirs = fathom["fathom"], pytorch["pytorch"]
        for key, name in (("data.sequence_tokens", "sequence_tokens"), ("data.batch_sequences", "batch_sequences"),
                          ("data.step_sequences", "step_sequences"), ("schedule.peak", "learning_rate"),
                          ("optimizer.epsilon", "epsilon"), ("optimizer.weight_decay", "weight_decay"),
                          ("optimizer.clip_norm", "clip_norm")):
            self.assertEqual(json.loads(ours[key]), theirs[name], key)
        self.assertEqual([json.loads(ours[f"optimizer.beta{number}"]) for number in (1, 2)], theirs["betas"])
        self.assertEqual(ours["model.path"], theirs["model"])
        self.assertEqual((theirs["threads"], theirs["experts"], ours["schedule.steps"]), (2, "eager", "3"))

    def test_the_model_has_no_mtp_block(self):
        folder = self.dir / "made"
        folder.mkdir()
        _, config = training.make_model(self.dir / "fathom", ["--preset", "any"], folder)
        self.assertEqual((config["num_nextn_predict_layers"], config["compress_ratios"]), (0, [4, 128]))

    def test_pairs_give_medians_ratios_and_shares(self):
        result = self.run_program("--pairs", 3, "--json")
        self.assertEqual(result.stdout.count("\n"), 1)
        record = json.loads(result.stdout)
        (figure,) = record["figures"]
        ours, theirs = figure["engines"]
        self.assertEqual((ours["tokens_per_s"], theirs["tokens_per_s"]), (240.0, 100.0))  # of 200, 240, 280
        self.assertAlmostEqual(ours["share"], 3e9 * 240 / 1.5e12)
        self.assertAlmostEqual(figure["ratios"][0]["ratio"], (2.0 * 2.4 * 2.8) ** (1 / 3))
        self.assertTrue(record["complete"])
        self.assertEqual(len(record["losses"]["fathom"]), 2)
        self.assertAlmostEqual(record["losses"]["largest_difference"], 1e-6)
        self.assertIn("pair 3 of 3: train 32, pytorch; about", result.stderr)

    def test_table_has_what_a_reader_asks_for(self):
        out = self.run_program("--pairs", 2).stdout
        self.assertRegex(out, r"train 32, 2 pairs +fathom +220 \(.*\) +44 % of fp32 peak\n")
        self.assertIn("fp32 peak 1500 to 1500 GFLOP/s; losses of the first 2 steps within 1.0e-06", out)
        self.assertIn("eager, experts by e, threads sleep while they wait", out)

    def test_sides_that_compute_something_else_are_refused(self):
        for off in ("0.002", "nan"):
            result = self.run_program("--pairs", 2, code=1, TORCH_IS_OFF=off)
            self.assertIn("the two do not compute the same", result.stderr)
            self.assertEqual(result.stdout, "")

    def test_what_is_missing_is_said_before_anything_is_measured(self):
        for arguments, words in ((("--torch-python", "/none"), "tools/install_oracles"),
                                 (("--fathom", "/none"), "give --fathom PATH"),
                                 (("--batch-sequences", 3), "expected a multiple of --batch-sequences (3)"),
                                 (("--steps", 9), "the text has 200 tokens, expected at least 321 for 10 steps")):
            self.assertIn(words, self.run_program(*arguments, code=2).stderr)
        self.assertIn("/nowhere: No such file", self.run_program("--text", "/nowhere", code=3).stderr)
        self.assertIn("no module", self.run_program(code=1, TORCH_IS_MISSING="no module named torch").stderr)
        self.assertEqual(self.calls.read_text(), "")


if __name__ == "__main__":
    FATHOM = program_under_test(__doc__)
    unittest.main()
