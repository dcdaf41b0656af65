#!/usr/bin/env python3
"""fathom bench as a user runs it: what the report holds, not how fast anything is.

usage: bench_test.py PATH_OF_FATHOM [--sanitised] [unittest options]
"""
import json
import math
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

from invocation import deadline, program_under_test

FATHOM = ""
GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "data/golden/checkpoints"
# Small, and no default: nothing that a run of the program would choose by itself.
SMALL = ("--prompt", "5,9", "--decode", "3", "--context", "0,70", "--batch", "1,3", "--reps", "2")
CELL_KEYS = {"tokens", "context", "batch", "threads", "numerics", "tokens_per_s", "fraction_of_limit",
             "bytes_per_token"}


def run(*arguments):
    return subprocess.run([FATHOM, "bench", *map(str, arguments)], capture_output=True, text=True,
                          timeout=deadline(250), check=False)


def numbers_in(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from numbers_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from numbers_in(item)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield value


class BenchTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="fathom-bench-"))
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        cls.model = cls.dir / "tiny.gguf"
        subprocess.run([FATHOM, "synth", "--preset", "tiny", "--out", cls.model], check=True,
                       capture_output=True, timeout=deadline(120))

    def succeed(self, *arguments):
        result = run(*arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        for line in result.stderr.splitlines():  # of a slow machine; figures are on stdout alone
            self.assertRegex(line, r"\A(machine|read|model|kernels): .* left\Z")
        return result.stdout

    def succeed_json(self, *arguments):
        text = self.succeed(*arguments, "--json")
        self.assertEqual(text.count("\n"), 1)

        def refuse(name):
            self.fail(f"{name} is not JSON")

        return json.loads(text, parse_constant=refuse)

    def refuse(self, code, part, *arguments):
        result = run(*arguments)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertEqual(result.stdout, "")
        self.assertRegex(result.stderr, r"\Afathom: [^\n]*\n\Z")
        self.assertIn(part, result.stderr)

    def assert_positive(self, value):
        self.assertTrue(math.isfinite(value) and value > 0, value)

    def test_report_has_every_figure(self):
        out = self.succeed_json(self.model, *SMALL, "--threads", 2)
        machine = out["machine"]
        self.assert_positive(machine["read_gb_s"])
        self.assertEqual(set(machine["read_gb_s_by_threads"]), {"1", "2"})
        self.assertEqual(machine["read_gb_s"], machine["read_gb_s_by_threads"]["2"])
        self.assertIsNone(machine["read_gb_s_mapped"])  # the file is too small to say
        for key in ("int8_tops", "bf16_tflops", "fp32_tflops", "barrier_us"):
            self.assertTrue(machine[key] is None or machine[key] > 0, key)
        self.assertEqual([cell["tokens"] for cell in out["prefill"]], [5, 9])
        self.assertEqual([(cell["tokens"], cell["context"], cell["batch"]) for cell in out["decode"]],
                         [(3, 0, 1), (3, 0, 3), (3, 70, 1), (3, 70, 3)])
        for cell in (*out["prefill"], *out["decode"]):
            self.assertLessEqual(CELL_KEYS, set(cell))
            self.assert_positive(cell["tokens_per_s"])
            self.assert_positive(cell["bytes_per_token"])
            self.assertEqual(len(cell["samples"]), 2)
            self.assertEqual((cell["threads"], cell["numerics"]), (2, "fast"))
        for cell in out["decode"]:
            self.assert_positive(cell["fraction_of_limit"])
        for key in ("load_s", "peak_rss_bytes", "peak_anonymous_bytes", "peak_mapped_bytes", "file_bytes",
                    "bytes_per_token", "macs_per_token"):
            self.assert_positive(out[key])
        self.assertEqual(out["weights"], "random")
        ops = {kernel["op"] for kernel in out["kernels"]}
        self.assertLessEqual({"int8_linear", "linear", "expert_int8_linear", "rms_norm", "hyper_connection",
                              "sink_attention"}, ops)
        for kernel in out["kernels"]:
            self.assertEqual([kernel["gb_s"], kernel["gop_s"]].count(None), 1, kernel)
            self.assertIn(kernel["tokens"], (1, 512))
            self.assertIsNotNone(kernel["format"])
        for value in numbers_in(out):
            self.assertTrue(math.isfinite(value) and value >= 0, value)

    def test_bytes_per_token_are_those_of_inspect(self):
        out = self.succeed_json(self.model, *SMALL, "--skip-kernels")
        inspect = json.loads(subprocess.run([FATHOM, "inspect", self.model, "--json"], capture_output=True,
                                            check=True, timeout=deadline(60)).stdout)
        self.assertEqual(out["bytes_per_token"], inspect["decode_bytes_per_token"])
        self.assertEqual(out["kernels"], [])
        # A step of a batch reads more than one of its tokens would, and less than each for itself.
        one, three = out["decode"][:2]
        self.assertEqual(one["bytes_per_token"], out["bytes_per_token"])
        self.assertLess(three["bytes_per_token"], one["bytes_per_token"])
        self.assertGreater(3 * three["bytes_per_token"], one["bytes_per_token"])

    def test_sequences_apart_choose_more_experts(self):
        cells = {}
        for beginnings, flags in (("shared", ()), ("apart", ("--apart",))):
            out = self.succeed_json(self.model, "--prompt", 4, "--decode", 2, "--context", 0, "--batch", "1,6", "--reps", 1,
                                    "--skip-kernels", *flags)
            self.assertEqual(out["batch_beginnings"], beginnings)
            cells[beginnings] = out["decode"]
        self.assertEqual(cells["apart"][0]["bytes_per_token"], cells["shared"][0]["bytes_per_token"])
        self.assertGreater(cells["apart"][1]["bytes_per_token"], cells["shared"][1]["bytes_per_token"])
        self.assert_positive(cells["apart"][1]["tokens_per_s"])

    def test_numerics_decide_the_limit_of_a_prompt(self):
        for numerics, limit in (("high", "fp32"), ("official", "bf16"), ("fast", "int8")):
            out = self.succeed_json(self.model, "--prompt", 4, "--decode", 1, "--context", 0, "--batch", 1, "--reps", 1,
                                    "--skip-kernels", "--numerics", numerics)
            cell = out["prefill"][0]
            self.assertEqual((cell["numerics"], cell["limit"]), (numerics, limit))
            self.assertEqual(cell["fraction_of_limit"] is None, cell["no_fraction"] is not None)

    def test_second_family_and_a_folder_are_measured(self):
        out = self.succeed_json(GOLDEN / "llama-tiny", "--prompt", 4, "--decode", 2, "--context", 0, "--batch", "1,2",
                                "--reps", 1)
        self.assertEqual(out["family"], "llama")
        self.assertEqual(out["weights"], "as in the file")
        self.assertIn("grouped_attention", {kernel["op"] for kernel in out["kernels"]})
        for cell in out["decode"]:
            self.assert_positive(cell["fraction_of_limit"])

    def test_cells_beyond_the_context_are_skipped_and_said(self):
        model = GOLDEN / "flash-tiny"  # a context of 1,024 tokens
        arguments = (model, "--prompt", "4,2000", "--decode", 2, "--context", "0,1023", "--batch", 1, "--reps", 1,
                     "--skip-kernels")
        out = self.succeed_json(*arguments)
        self.assertEqual(len(out["prefill"]), 1)
        self.assertEqual(len(out["decode"]), 1)
        self.assertEqual([skipped["cell"] for skipped in out["skipped"]],
                         ["prefill 2000", "decode 2 at 1023, batch 1"])
        self.assertIn("prefill 2000 was skipped: takes 2000 tokens of context, the model has 1024",
                      self.succeed(*arguments))

    def test_table_names_machine_model_runs_and_kernels(self):
        text = self.succeed(self.model, *SMALL)
        for part in ("Machine, ", "GB/s", "numerics fast", "random weights", "Whole model", "prefill 5",
                     "decode 3 at 70, batch 3", "Kernels", "rms_norm"):
            self.assertIn(part, text)
        self.assertNotIn("nan", text)

    def test_the_machine_alone(self):
        out = self.succeed_json("--probe-only", "--threads", 1)
        self.assertEqual(list(out), ["machine"])
        self.assertIsNone(out["machine"]["barrier_us"])
        self.assertEqual(set(out["machine"]["read_gb_s_by_threads"]), {"1"})
        self.assertIn("read, 1 thread", self.succeed("--probe-only", "--threads", 1))

    def test_kernels_are_listed_with_the_reason(self):
        best = self.succeed_json("--list-kernels")["kernels"]
        self.assertIn("linear", {kernel["op"] for kernel in best})
        for kernel in best:
            self.assertTrue(kernel["provider"].startswith("cpu:") or kernel["provider"] == "reference")
            self.assertTrue("best instruction set" in kernel["reason"] or "no kernel for it" in kernel["reason"])
        for backend in ("reference", "reference:f64"):
            for kernel in self.succeed_json("--list-kernels", "--backend", backend)["kernels"]:
                self.assertEqual((kernel["provider"], kernel["reason"]),
                                 ("reference", f"forced by --backend {backend}"))
        self.assertRegex(self.succeed("--list-kernels"), r"  rms_norm +cpu:\w+ +the best instruction set")

    def test_bad_requests_are_refused_before_anything_is_measured(self):
        begin = time.monotonic()
        self.refuse(2, "MODEL is required")
        self.refuse(3, "/nonexistent", "/nonexistent")
        self.refuse(2, "numerics: found \"low\"", self.model, "--numerics", "low")
        self.refuse(2, "official is not defined", GOLDEN / "llama-tiny", "--numerics", "official")
        self.refuse(2, "backend: found \"cuda\"", self.model, "--backend", "cuda")
        self.refuse(2, "backend: found \"cuda\"", "--list-kernels", "--backend", "cuda")
        self.refuse(2, "--prompt: found 0, expected at least 1", self.model, "--prompt", "128,0")
        self.refuse(2, "--batch: 4 is listed twice", self.model, "--batch", "4,4")
        self.refuse(2, "--context: found -1", self.model, "--context=-1")
        self.refuse(2, "--decode: found 0", self.model, "--decode", 0)
        self.refuse(2, "--reps", self.model, "--reps", 0)
        self.refuse(2, "--prompt", self.model, "--prompt", "many")
        self.assertLess(time.monotonic() - begin, 100)

    def test_a_list_does_not_swallow_the_model(self):
        out = self.succeed_json("--decode", 1, "--reps", 1, "--context", "0", "--batch", "1", "--skip-kernels",
                                "--prompt", "3,4", self.model)
        self.assertEqual([cell["tokens"] for cell in out["prefill"]], [3, 4])

    def test_interrupt_discards_what_was_measured(self):
        with subprocess.Popen([FATHOM, "bench", self.model, "--json"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as process:
            time.sleep(1)
            self.assertIsNone(process.poll())
            process.send_signal(signal.SIGINT)
            output, error = process.communicate(timeout=deadline(60))
        self.assertEqual(process.returncode, 130)
        self.assertEqual(output, "")
        self.assertTrue(error.endswith("fathom: what was measured so far is discarded\nfathom: interrupted\n"),
                        re.escape(error))


if __name__ == "__main__":
    FATHOM = program_under_test(__doc__)
    unittest.main()
