#!/usr/bin/env python3
"""benchmarks/compare_peers: its arithmetic, and the program with stand-ins for engines of known speed.

usage: compare_peers_test.py PATH_OF_FATHOM [--sanitised] [unittest options]
"""
import json
import math
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

FATHOM = ""
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAM = ROOT / "benchmarks/compare_peers"
sys.path.insert(0, str(ROOT / "benchmarks"))

from peers import numbers, quiet, records, tokens  # noqa: E402  after the path
from peers.failure import Failure  # noqa: E402
from peers.protocol import Estimate, Figure  # noqa: E402

from invocation import deadline, program_under_test  # noqa: E402

# Each stand-in appends a line to the log that CALLS names. Fathom's speed is 200, 220, 240, ... tokens/s.
FAKE_FATHOM = """#!/usr/bin/env python3
import json, os, sys, time
words = sys.argv[1:]
if words == ["--version"]:
    print("fathom 9.9")
elif words[0] == "inspect":
    print(json.dumps({"shape": {"vocab_size": 1024, "max_context_tokens": 4096}}))
elif "--probe-only" in words:
    print(json.dumps({"machine": {"read_gb_s": 50.0, "int8_tops": 2.0, "bf16_tflops": 1.0, "fp32_tflops": None}}))
else:
    option = lambda name: int(words[words.index(name) + 1])
    calls = open(os.environ["CALLS"], "a+")
    calls.seek(0)
    count = sum(line.startswith("fathom") for line in calls)
    is_decode = option("--prompt") == 1
    calls.write("fathom decode\\n" if is_decode else "fathom prefill\\n")
    calls.close()
    cell = lambda name, limit: {"tokens": option(name), "tokens_per_s": 200.0 + 20 * count, "limit": limit}
    print(json.dumps({"prefill": [cell("--prompt", "int8")], "decode": [cell("--decode", "read")], "skipped": [],
                      "load_s": 0.5, "peak_rss_bytes": 10**9, "backend": "cpu:fake", "bytes_per_token": 50000000,
                      "macs_per_token": 10**9, "file_bytes": 10**9, "family": "llama", "weights": "random"}))
"""
FAKE_BENCH = """#!/usr/bin/env python3
import json, os, sys, time
words = sys.argv[1:]
if words == ["--help"]:
    print(os.environ.get("BENCH_HELP", "  -d, --n-depth <n>"))
    sys.exit()
with open(os.environ["CALLS"], "a+") as calls:
    calls.write("bench " + " ".join(words[words.index("json") + 1:]) + "\\n")
    calls.seek(0)
    count = sum(line.startswith("bench") for line in calls)
if count >= int(os.environ.get("FAIL_AT", "99")):
    sys.exit("out of luck")
if count >= int(os.environ.get("HANG_AT", "99")):
    time.sleep(100)
print("a line of no interest\\n" + json.dumps([{"n_gen": 0 if words[-1] == "0" else 1, "samples_ts": [100.0],
      "build_commit": "abc", "build_number": 7}]))
"""
FAKE_NODE = """#!/usr/bin/env python3
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    if "facts" in request:
        print(json.dumps({"load_s": 6.0, "peak_rss_bytes": 2 * 10**9, "release": "v1", "package": "2"}), flush=True)
    else:
        measured = request.get("prompt") or request["steps"]
        print(json.dumps({"seconds": len(measured) / 50}), flush=True)
"""


class NumbersTest(unittest.TestCase):
    def test_student_quantiles_are_those_of_the_tables(self):
        for degrees, expected in ((1, 12.7062), (2, 4.3027), (4, 2.7764), (9, 2.2622), (100, 1.9840)):
            self.assertAlmostEqual(numbers.student_quantile(0.975, degrees), expected, places=3)

    def test_interval_of_powers_is_that_of_their_exponents(self):
        mean, low, high = numbers.interval([math.exp(1), math.exp(2), math.exp(3)])
        half = 4.3027 / math.sqrt(3)
        for found, expected in ((mean, 2), (low, 2 - half), (high, 2 + half)):
            self.assertAlmostEqual(math.log(found), expected, places=3)

    def test_one_number_has_no_interval(self):
        mean, low, high = numbers.interval([3.0])
        self.assertAlmostEqual(mean, 3.0)
        self.assertEqual((low, high), (None, None))

    def test_what_is_no_positive_number_is_refused(self):
        for value in (0.0, -1.0, math.nan, math.inf):
            with self.assertRaises(ValueError):
                numbers.interval([1.0, value])


class TokensTest(unittest.TestCase):
    def test_generator_is_the_one_of_the_standard(self):
        generator = tokens.Mt19937(5489)
        self.assertEqual([generator.next() for _ in range(10000)][-1], 4123659995)  # C++20, rand.predef

    def test_prompts_are_those_that_fathom_draws(self):
        # Printed by std::mt19937{20240229} and std::uniform_int_distribution<int32_t> of g++ 12 after 512 draws.
        for vocab_size, expected in ((1024, [652, 685, 618, 258, 223]), (49152, [31297, 32922, 29686, 12411, 10744]),
                                     (129280, [82317, 86591, 78080, 32644, 28259])):
            self.assertEqual(tokens.draw(Figure("prefill", 5), vocab_size, 4096), ([], expected))

    def test_decoding_begins_behind_what_follows_a_prompt_of_one(self):
        before, steps = tokens.draw(Figure("decode", 3, 0), 1024, 4096)
        self.assertEqual((len(before), len(steps)), (64, 3))
        self.assertEqual(before[:4], [685, 618, 258, 223])
        self.assertEqual(len(tokens.draw(Figure("decode", 3, 100), 1024, 4096)[0]), 100)


class QuietTest(unittest.TestCase):
    """With a folder that looks like /proc and a clock that moves when the waiter sleeps."""

    def setUp(self):
        self.proc = pathlib.Path(tempfile.mkdtemp(prefix="fathom-proc-"))
        self.addCleanup(shutil.rmtree, self.proc)
        self.now = 0.0
        self.cpu_s = {}
        self.unseen_s = 0.0  # of processes that have ended
        self.said = []
        self.write()

    def write(self):
        for (pid, name), cpu_s in self.cpu_s.items():
            (self.proc / str(pid)).mkdir(exist_ok=True)
            ticks = round(cpu_s * quiet.TICKS_PER_S)
            text = f"{pid} ({name}) S " + "0 " * 10 + f"{ticks} 0 0 0 20 0 1 0 77 0\n"
            (self.proc / str(pid) / "stat").write_text(text)
        busy = round((sum(self.cpu_s.values()) + self.unseen_s) * quiet.TICKS_PER_S)
        (self.proc / "stat").write_text(f"cpu  {busy} 0 0 {round(self.now * 1000)} 0 0 0 0 0 0\n")

    def waiter(self, changes, patience_s=60):
        """changes: what happens in each second, a function of the number of the sleep."""
        count = [0]

        def sleep(seconds):
            changes(count[0])
            count[0] += 1
            self.now += seconds
            self.write()

        return quiet.Waiter(0.05, 1.0, patience_s, self.said.append, self.proc, lambda: self.now, sleep)

    def test_quiet_machine_is_not_waited_for(self):
        self.waiter(lambda _: None).wait()
        self.assertEqual((self.now, self.said), (1.0, []))

    def test_busy_process_is_waited_for_by_name(self):
        self.cpu_s[(41, "a (b) c")] = 0.0
        self.write()

        def work_for_five_seconds(idx):
            self.cpu_s[(41, "a (b) c")] += 0.5 if idx < 5 else 0.0

        self.waiter(work_for_five_seconds).wait()
        self.assertEqual(self.now, 6.0)
        self.assertEqual(len(self.said), 1)
        self.assertIn("process 41 ('a (b) c') uses 0.50 of a processor", self.said[0])

    def test_processes_that_end_meanwhile_count(self):
        def compile_something(idx):
            self.unseen_s += 0.9 if idx == 0 else 0.0

        self.waiter(compile_something).wait()
        self.assertEqual(self.now, 2.0)
        self.assertIn("other processes together use 0.90", self.said[0])

    def test_own_process_does_not_count(self):
        own = (os.getpid(), "python3")
        self.cpu_s[own] = 0.0
        self.write()
        self.waiter(lambda _: self.cpu_s.update({own: self.cpu_s[own] + 0.9})).wait()
        self.assertEqual(self.now, 1.0)

    def test_patience_ends_with_the_reason(self):
        self.cpu_s[(41, "cc1plus")] = 0.0
        self.write()
        waiter = self.waiter(lambda _: self.cpu_s.update({(41, "cc1plus"): self.cpu_s[(41, "cc1plus")] + 1}), 40)
        with self.assertRaisesRegex(Failure, r"gave up after waiting 41 s .*'cc1plus'.*--patience"):
            waiter.wait()
        self.assertEqual(len(self.said), 2)

    def test_watch_tells_others_from_own_time(self):
        own_s = [0.0]
        watch = quiet.Watch(lambda: own_s[0], self.proc, lambda: self.now)
        own_s[0], self.unseen_s, self.now = 3.0, 5.0, 4.0
        self.write()
        others, steal = watch.stop()
        self.assertAlmostEqual(others, 0.5)
        self.assertEqual(steal, 0.0)


class EstimateTest(unittest.TestCase):
    def test_time_left_is_known_after_the_first_measurement(self):
        estimate = Estimate(["a", "b"] * 2)
        self.assertIn("not known", estimate.text())
        estimate.done("a", 10.0)
        self.assertEqual(estimate.text(), "about 30 s left")
        estimate.done("b", 200.0)
        self.assertEqual(estimate.text(), "about 4 min left")


class ProgramTest(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fathom-peers-"))
        self.addCleanup(shutil.rmtree, self.dir)
        self.model = self.dir / "model.gguf"
        self.model.write_bytes(b"GGUF")
        self.out = self.dir / "results.json"
        self.calls = self.dir / "calls"
        self.calls.touch()
        for name, text in (("fathom", FAKE_FATHOM), ("llama-bench", FAKE_BENCH), ("node", FAKE_NODE)):
            (self.dir / name).write_text(text)
            (self.dir / name).chmod(0o755)
        entry = self.dir / "node_modules/node-llama-cpp/dist/index.js"
        entry.parent.mkdir(parents=True)
        entry.touch()

    def start(self, *arguments, fathom=None, engines=None, **environment):
        words = [PROGRAM, self.model, "--fathom", fathom or self.dir / "fathom", "--quiet-share", 64,
                 "--quiet-seconds", 0.01, "--threads", 2,
                 *(engines or ("--no-node", "--llama-bench", f"ik={self.dir / 'llama-bench'}")), *arguments]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FATHOM_")}
        environment = {**inherited, "CALLS": str(self.calls), **environment}
        return subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, env=environment)

    def run_program(self, *arguments, code=0, **options):
        process = self.start(*arguments, **options)
        out, err = process.communicate(timeout=deadline(400))
        self.assertEqual(process.returncode, code, err)
        return out, err

    def wait_for(self, condition):
        end = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), end)
            time.sleep(0.02)

    def num_calls(self):
        return len(self.calls.read_text().splitlines())

    def test_engines_take_turns_and_pairs_give_ratios(self):
        out, err = self.run_program("--pairs", 3, "--prompt", 8, "--decode", 4, "--context", 100, "--json")
        self.assertEqual(self.calls.read_text().splitlines(),
                         ["fathom prefill", "bench -p 8 -n 0", "fathom decode", "bench -p 0 -n 4 -d 100"] * 3)
        self.assertEqual(out.count("\n"), 1)
        record = json.loads(out)
        records.check("stdout", [record])
        prefill, decode = record["figures"]
        self.assertEqual((prefill["phase"], prefill["tokens"], prefill["limit"]), ("prefill", 8, "int8"))
        self.assertEqual((decode["phase"], decode["tokens"], decode["context"]), ("decode", 4, 100))
        ours, theirs = prefill["engines"]
        self.assertEqual((ours["tokens_per_s"], theirs["tokens_per_s"]), (240.0, 100.0))  # of 200, 240, 280
        self.assertAlmostEqual(ours["share"], 2e9 * 240 / 2e12)
        self.assertAlmostEqual(decode["engines"][0]["share"], 5e7 * 260 / 50e9)
        ratio, low, high = numbers.interval([2.0, 2.4, 2.8])
        for key, expected in (("ratio", ratio), ("low", low), ("high", high)):
            self.assertAlmostEqual(prefill["ratios"][0][key], expected)
        self.assertIn("pair 3 of 3: decode 4 at 100, ik; about", err)
        self.assertTrue(record["complete"])

    def test_table_names_engines_and_the_cost_of_javascript(self):
        out, _ = self.run_program("--pairs", 2, "--prompt", 8, "--decode", 0,
                                  engines=("--node", self.dir / "node", "--node-dir", self.dir))
        self.assertRegex(out, r"prefill 8, 2 pairs +fathom +210 \(.*\) +21 % of int8\n")
        self.assertRegex(out, r"llama.cpp \(npm\) +50 \(50\.\.50\)")
        self.assertIn("JavaScript adds time to every token", out)
        self.assertIn("6.00 s to the first token, 2.00 GB of memory", out)
        self.assertIn("Student's t", out)

    def test_older_llama_bench_is_asked_in_its_own_words(self):
        self.run_program("--pairs", 1, "--prompt", 0, "--decode", 4, "--json", BENCH_HELP="  -gp <pp,tg>")
        self.assertEqual(self.calls.read_text().splitlines()[1], "bench -p 0 -n 0 -gp 64,4")
        _, err = self.run_program("--pairs", 1, code=2, BENCH_HELP="nothing")
        self.assertIn("neither --n-depth nor -gp", err)

    def test_environment_names_engines_where_options_do_not(self):
        found = f"a={self.dir / 'llama-bench'}"
        out, _ = self.run_program("--pairs", 1, "--prompt", 8, "--decode", 0, "--json", engines=("--no-node",),
                                  FATHOM_LLAMA_BENCH=found)
        self.assertEqual([engine["name"] for engine in json.loads(out)["engines"]], ["fathom", "a"])
        out, _ = self.run_program("--pairs", 1, "--prompt", 8, "--decode", 0, "--json", FATHOM_LLAMA_BENCH=found)
        self.assertEqual([engine["name"] for engine in json.loads(out)["engines"]], ["fathom", "ik"])

    def test_node_that_says_something_else_is_quoted(self):
        (self.dir / "node").write_text("#!/bin/sh\nread line\necho surprise\n")
        _, err = self.run_program("--pairs", 1, code=1, engines=("--node", self.dir / "node", "--node-dir", self.dir))
        self.assertIn("expected JSON, found 'surprise'", err)
        (self.dir / "node").write_text("#!/bin/sh\necho too old >&2\nexit 3\n")
        _, err = self.run_program("--pairs", 1, code=1, engines=("--node", self.dir / "node", "--node-dir", self.dir))
        self.assertIn("llama.cpp (npm) ended with 3: too old", err)

    def test_records_are_appended(self):
        for expected in (1, 2):
            self.run_program("--pairs", 1, "--prompt", 8, "--decode", 0, "--out", self.out, "--label", "small")
            found = records.read(self.out)
            self.assertEqual(len(found), expected)
        self.assertEqual(len({record["id"] for record in found}), 2)
        self.assertEqual(found[0]["model"]["label"], "small")
        self.assertEqual(found[0]["engines"][0]["version"], "9.9")
        self.assertEqual([path.name for path in self.dir.glob(".results*")], [])

    def test_interrupt_keeps_complete_pairs(self):
        process = self.start("--pairs", 5, "--prompt", 8, "--decode", 0, "--out", self.out, HANG_AT="3")
        self.wait_for(lambda: self.num_calls() == 6)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, err)
        self.assertIn("prefill 8, 2 pairs", out)
        (record,) = records.read(self.out)
        self.assertFalse(record["complete"])
        self.assertEqual(len(record["figures"][0]["pairs"]), 2)

    def test_interrupt_before_a_pair_says_so(self):
        process = self.start("--pairs", 5, "--prompt", 8, "--decode", 0, HANG_AT="1")
        self.wait_for(lambda: self.num_calls() == 2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual((process.returncode, out), (130, ""))
        self.assertIn("no pair is complete", err)

    def test_kill_loses_nothing_that_was_appended(self):
        self.run_program("--pairs", 1, "--prompt", 8, "--decode", 0, "--out", self.out)
        process = self.start("--pairs", 5, "--prompt", 8, "--decode", 0, "--out", self.out, HANG_AT="4")
        self.wait_for(lambda: self.num_calls() == 2 + 6)
        process.kill()
        process.communicate(timeout=60)
        first, second = records.read(self.out)
        self.assertEqual((first["complete"], second["complete"]), (True, False))
        self.assertEqual(len(second["figures"][0]["pairs"]), 2)

    def test_engine_that_fails_is_quoted_and_pairs_before_it_are_kept(self):
        out, err = self.run_program("--pairs", 3, "--prompt", 8, "--decode", 0, code=1, FAIL_AT="2")
        self.assertIn("prefill 8, 1 pairs", out)
        self.assertIn("out of luck", err)

    def test_what_is_missing_is_named_with_the_way_to_get_it(self):
        gone = self.dir / "gone"
        for arguments, options, parts in (
                ((), {"fathom": gone}, (str(gone), "--fathom", "ninja")),
                ((), {"engines": ("--no-node",)}, ("nothing to compare with",)),
                ((), {"engines": ("--node-dir", gone)}, (str(gone), "tools/install_oracles", "--node-dir")),
                ((), {"engines": ("--node-dir", self.dir, "--node", gone)}, (str(gone), "--node PATH")),
                ((), {"engines": ("--no-node", "--llama-bench", gone)}, (str(gone), "llama-bench")),
                (("--prompt", 5000), {}, ("prefill 5000", "4096", "--prompt")),
                (("--prompt", 0, "--decode", 0), {}, ("no figure",))):
            _, err = self.run_program(*arguments, code=2, **options)
            self.assertRegex(err, r"\Acompare_peers: [^\n]*\n\Z")
            for part in parts:
                self.assertIn(part, err)
        self.model.unlink()
        self.assertIn("no such file", self.run_program(code=2)[1])
        self.assertEqual(self.num_calls(), 0)

    def test_file_that_cannot_take_a_record_is_refused_before_anything_runs(self):
        self.out.write_text('{"other": 1}')
        self.assertIn("expected a JSON list", self.run_program("--out", self.out, code=2)[1])
        self.out.write_text("[")
        self.assertIn("not JSON", self.run_program("--out", self.out, code=2)[1])
        self.assertEqual(self.out.read_text(), "[")
        self.assertIn("is missing", self.run_program("--out", self.dir / "no/file.json", code=3)[1])
        self.assertEqual(self.num_calls(), 0)

    def test_real_fathom_answers_what_is_asked(self):
        subprocess.run([FATHOM, "synth", "--preset", "tiny", "--out", self.model, "--overwrite"], check=True,
                       capture_output=True, timeout=deadline(120))
        out, _ = self.run_program("--pairs", 1, "--prompt", 8, "--decode", 4, "--json", fathom=FATHOM)
        record = json.loads(out)
        records.check("stdout", [record])
        for figure in record["figures"]:
            self.assertGreater(figure["engines"][0]["tokens_per_s"], 0)
            self.assertGreater(figure["engines"][0]["share"], 0)
        self.assertEqual(record["model"]["weights"], "random")


if __name__ == "__main__":
    FATHOM = program_under_test(__doc__)
    unittest.main()
