#!/usr/bin/env python3
"""fathom plan and fathom probe as a user runs them.

usage: plan_test.py PATH_OF_FATHOM [--sanitised] [unittest options]
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import unittest

from invocation import IS_SANITISED, deadline, program_under_test

FATHOM = ""
REFERENCE = "xeon-emerald-rapids-2vcpu"
LARGE = "rome-64core-rtx5090"


class PlanTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="fathom-plan-"))
        cls.addClassCleanup(shutil.rmtree, cls.dir)

    def setUp(self):
        # No profile of whoever runs the tests: each test begins with an empty home.
        self.home = pathlib.Path(tempfile.mkdtemp(dir=self.dir))

    def run_fathom(self, *arguments):
        environment = {**os.environ, "XDG_DATA_HOME": str(self.home)}
        return subprocess.run([FATHOM, *map(str, arguments)], capture_output=True, text=True, timeout=deadline(280),
                              check=False, env=environment)

    def plan(self, *arguments):
        result = self.run_fathom("plan", *arguments, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout.count("\n"), 1)
        return json.loads(result.stdout)

    def refuse(self, part, *arguments):
        result = self.run_fathom("plan", *arguments)
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertEqual(result.stdout, "")
        self.assertRegex(result.stderr, r"\Afathom: [^\n]*\n\Z")
        self.assertIn(part, result.stderr)

    def test_counts_are_exact_and_their_deviation_from_the_published_is_said(self):
        flash = self.plan("v4-flash")["parameters"]
        self.assertEqual((flash["total"], flash["active"]), (284332240471, 13270031954))
        self.assertEqual(flash["total_with_mtp"], 284332240471 + 6610048891)
        self.assertAlmostEqual(flash["published"]["total_deviation_percent"], 0.117, places=3)
        self.assertAlmostEqual(flash["published"]["active_deviation_percent"], 2.077, places=3)
        pro = self.plan("v4-pro")["parameters"]
        self.assertEqual((pro["total"], pro["active"]), (1572997201763, 48852280158))
        self.assertEqual(pro["total_with_mtp"], 1572997201763 + 25840145979)
        self.assertAlmostEqual(pro["published"]["total_deviation_percent"], -0.073, places=3)

    def test_sizes_are_those_of_inspect(self):
        plan = self.plan("v4-flash")
        inspect = json.loads(self.run_fathom("inspect", "v4-flash", "--json").stdout)
        for key in ("weights_bytes", "weights_bytes_by_part", "decode_bytes_per_token", "cache_bytes_per_token",
                    "raw_row_bytes_per_token"):
            self.assertEqual(plan[key], inspect[key], key)
        for context, size in inspect["cache_bytes_at_context"].items():
            self.assertEqual(plan["cache_bytes_at_context"][context], size)
        self.assertEqual(sum(plan["weights_bytes_by_format"].values()), plan["weights_bytes"])

    def test_without_a_machine_there_are_sizes_and_a_hint(self):
        plan = self.plan("v4-flash")
        self.assertIsNone(plan["machine"])
        self.assertIsNone(plan["decode_tokens_per_s"])
        self.assertIsNone(plan["prefill_tokens_per_s"])
        self.assertIn("fathom probe", plan["no_speed"])
        text = self.run_fathom("plan", "v4-flash")
        self.assertEqual(text.returncode, 0, text.stderr)
        self.assertIn("fathom probe", text.stdout)

    def test_a_known_machine_gives_intervals(self):
        plan = self.plan("v4-flash", "--machine", "epyc-9v45-32core", "--context", "4096,131072", "--batch", "1,4")
        self.assertEqual(plan["machine"]["name"], "epyc-9v45-32core")
        for key in ("decode_tokens_per_s", "prefill_tokens_per_s"):
            self.assertEqual(set(plan[key]), {"p10", "p50", "p90"})
            self.assertLess(0, plan[key]["p10"])
            self.assertLess(plan[key]["p10"], plan[key]["p50"])
            self.assertLess(plan[key]["p50"], plan[key]["p90"])
        self.assertEqual([(cell["context_tokens"], cell["batch"]) for cell in plan["decode"]],
                         [(4096, 1), (4096, 4), (131072, 1), (131072, 4)])
        for figure in plan["machine"]["figures"]:
            self.assertIn(figure["basis"], ("measured", "vendor", "estimated"))
            self.assertTrue(figure["source"])
            self.assertRegex(figure["date"], r"\A\d{4}-\d\d-\d\d\Z")

    def test_what_does_not_fit_says_why(self):
        plan = self.plan("v4-pro", "--machine", REFERENCE)
        rows = {row["storage"]: row for row in plan["fits"]}
        self.assertLessEqual({"fp4", "fp8", "bf16", "f32", "gguf-fp4", "gguf-fp8"}, set(rows))
        self.assertFalse(rows["fp4"]["ram"]["fits"])
        self.assertRegex(rows["fp4"]["ram"]["reason"], r"take \d+\.\d GB, memory leaves \d+\.\d GB")
        self.assertIsNone(plan["decode_tokens_per_s"])
        self.assertTrue(plan["decode"][0]["reason"])

    def test_a_checkpoint_is_planned_as_its_files_are(self):
        model = self.dir / "tiny.gguf"
        subprocess.run([FATHOM, "synth", "--preset", "tiny", "--out", model, "--overwrite"], check=True,
                       capture_output=True, timeout=deadline(120))
        plan = self.plan(model, "--machine", REFERENCE)
        self.assertEqual(plan["kind"], "checkpoint")
        self.assertIn("MXFP4", plan["weights_bytes_by_format"])
        self.assertGreater(plan["decode_tokens_per_s"]["p50"], 0)

    def test_contradictions_name_the_field(self):
        self.refuse("--machine", "v4-flash", "--machine", "toaster")
        self.refuse("--batch", "v4-flash", "--batch", "-1")
        self.refuse("--batch", "v4-flash", "--machine", REFERENCE, "--batch", "64")
        self.refuse("--context", "v4-flash", "--context", "99999999")
        self.refuse("--cached-share", "v4-flash", "--cached-share", "2")
        self.refuse("--mtp-acceptance", "v4-flash", "--mtp-acceptance", "-0.5")
        self.refuse("MODEL")
        profile = self.home / "bad.toml"
        profile.write_text('[[machine]]\nname = "x"\ntitle = "x"\n[[machine.figure]]\nwhat = "load_watts"\n'
                           'value = 0\nbasis = "measured"\nsource = "s"\ndate = 2026-01-01\n')
        self.refuse("value: found 0", "v4-flash", "--machine", profile)

    BUYER = ("--mix", "20:30:50", "--capex-usd", 20000, "--idle-watts", 200, "--load-watts", 1300,
             "--usd-per-kwh", 0.15)

    def test_costs_are_intervals_with_their_basis(self):
        page = self.home / "plan.html"
        found = self.plan("v4-flash", "--machine", LARGE, "--cost", "--utilisation", "0.4", *self.BUYER,
                          "--html", page)
        costs = found["cost_usd_per_million_tokens"]
        for token in ("input", "cached_input", "output"):
            self.assertTrue(0 < costs[token]["p10"] <= costs[token]["p50"] <= costs[token]["p90"], token)
        self.assertLess(costs["cached_input"]["p50"], costs["input"]["p50"])
        html = page.read_text()
        self.assertIn("<svg", html)
        self.assertNotIn("http://", html.replace("http://www.w3.org/2000/svg", ""))
        self.assertNotIn("https://", html)

    def test_training_costs_are_those_of_deepseek_v3_where_they_are_known(self):
        found = self.plan("v4-flash", "--train")
        self.assertAlmostEqual(found["training_cost_usd"] / 1e6, 4.13, places=2)
        text = self.run_fathom("plan", "v4-flash", "--train").stdout
        self.assertIn("5,576,000", text)

    def test_impossible_buyers_name_the_field(self):
        cost = ("v4-flash", "--machine", LARGE, "--cost", *self.BUYER)
        self.refuse("utilisation", *cost)
        self.refuse("capex_usd", *cost, "--utilisation", "0.4", "--residual-usd", "30000")
        self.refuse("pue", *cost, "--utilisation", "0.4", "--pue", "0.5")
        self.refuse("utilisation", *cost, "--utilisation", "1.4")

    def test_a_plan_is_quick(self):
        if IS_SANITISED:
            self.skipTest("a sanitised program is slower")
        start = time.monotonic()
        self.plan("v4-pro", "--machine", REFERENCE)
        self.assertLess(time.monotonic() - start, 1)  # 0.2 s alone; others may be building here

    def test_probe_saves_a_profile_that_plan_takes(self):
        result = self.run_fathom("probe", "--skip-models", "--json", "--folder", self.home)
        self.assertEqual(result.returncode, 0, result.stderr)
        report = json.loads(result.stdout)
        self.assertEqual(report["saved_as"], str(self.home / "fathom/machine.toml"))
        whats = {figure["what"] for figure in report["figures"]}
        self.assertLessEqual({"threads", "ram_bytes", "read_bytes_per_s", "working_set_bytes_per_s", "int8_ops_per_s",
                              "fp32_ops_per_s", "disk_read_bytes_per_s"}, whats)
        self.assertEqual([path.name for path in self.home.iterdir()], ["fathom"])  # nothing of the probe is left
        plan = self.plan("v4-flash")
        self.assertEqual(plan["machine"]["name"], "this-machine")
        self.assertIn("saved profile", plan["machine_from"])

    def test_check_compares_with_measurements(self):
        model = self.dir / "check.gguf"
        subprocess.run([FATHOM, "synth", "--preset", "tiny", "--out", model, "--overwrite"], check=True,
                       capture_output=True, timeout=deadline(120))
        bench = self.run_fathom("bench", model, "--prompt", "16", "--decode", "4", "--context", "0,64", "--batch",
                                "1,2", "--reps", "1", "--skip-kernels", "--threads", "2", "--json")
        self.assertEqual(bench.returncode, 0, bench.stderr)
        record = self.home / "run.json"
        record.write_text(bench.stdout)
        result = self.run_fathom("plan", "--check", record, "--machine", REFERENCE, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        out = json.loads(result.stdout)
        self.assertEqual((out["decode"]["points"], out["prefill"]["points"]), (4, 1))
        self.assertEqual((out["all"]["points"], out["all_by_profile_alone"]["points"]), (5, 5))
        measured = json.loads(bench.stdout)
        for run in (*measured["prefill"], *measured["decode"]):
            for figure in ("read_gb_s", "cached_gb_s", "barrier_us"):
                self.assertGreater(run[figure], 0)
        for cell, run in zip(out["cells"], (*measured["prefill"], *measured["decode"])):
            self.assertEqual(cell["measured_tokens_per_s"], run["tokens_per_s"])
            self.assertAlmostEqual(cell["error"], cell["p50"] / run["tokens_per_s"] - 1)
        self.assertEqual(out["memory"][0]["measured_bytes"], measured["peak_rss_bytes"])
        text = self.run_fathom("plan", "--check", record, "--machine", REFERENCE)
        self.assertRegex(text.stdout, re.compile(r"^ +decode +4 ", re.M))
        record.write_text("{}")
        self.refuse("run.json", "--check", record, "--machine", REFERENCE)


if __name__ == "__main__":
    FATHOM = program_under_test(__doc__)
    unittest.main()
