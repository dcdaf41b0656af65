#!/usr/bin/env python3
"""The fathom program as a user runs it: results, reports, exit codes, one-line errors, no leftovers.

usage: cli_test.py PATH_OF_FATHOM [unittest options]
"""
import hashlib
import json
import os
import pathlib
import resource
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest

import numpy

from invocation import IS_SANITISED, deadline, program_under_test

FATHOM = ""
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GOLDEN = ROOT / "tests/data/golden"
MODEL = GOLDEN / "checkpoints/flash-tiny"
DTYPES = {"F32": "<f4", "I32": "<i4", "I64": "<i8"}
LIMIT = 2e-4


def read_header(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length)), 8 + length


def read_tensor(path, name):
    header, begin = read_header(path)
    entry = header[name]
    start, end = entry["data_offsets"]
    with open(path, "rb") as file:
        file.seek(begin + start)
        data = file.read(end - start)
    return numpy.frombuffer(data, DTYPES[entry["dtype"]]).reshape(entry["shape"])


def reference(name):
    return read_tensor(MODEL / "reference.safetensors", name)


def run(*arguments, **options):
    return subprocess.run([FATHOM, *map(str, arguments)], capture_output=True, text=True,
                          timeout=deadline(120), check=False, **options)


class CliTest(unittest.TestCase):
    def setUp(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="fathom-cli-"))
        self.addCleanup(shutil.rmtree, self.dir)
        self.out = self.dir / "out/logits.npy"
        self.out.parent.mkdir()

    def leftovers(self):
        return sorted(path.name for path in self.out.parent.iterdir())

    def tokens(self, values=None, dtype=numpy.int32, name="tokens.npy"):
        numpy.save(self.dir / name, numpy.asarray(reference("prompt") if values is None else values,
                                                  dtype))
        return self.dir / name

    def succeed(self, *arguments, **options):
        result = run(*arguments, **options)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stderr, "")
        return result.stdout

    def succeed_json(self, *arguments):
        text = self.succeed(*arguments, "--json")
        self.assertEqual(text.count("\n"), 1, text)
        self.assertTrue(text.endswith("\n"))
        return json.loads(text)

    def refuse(self, code, part, *arguments):
        result = run(*arguments)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertEqual(result.stdout, "")
        self.assertTrue(result.stderr.startswith("fathom: "), result.stderr)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        self.assertIn(part, result.stderr)
        self.assertEqual(self.leftovers(), [])

    def logits(self, *arguments, model=MODEL, tokens=None):
        report = self.succeed_json("logits", model, "--tokens", tokens or self.tokens(), "--out",
                                   self.out, *arguments)
        self.assertEqual(self.leftovers(), ["logits.npy"])
        values = numpy.load(self.out)
        self.assertEqual(values.dtype, numpy.float32)
        return report, values

    def refuse_logits(self, code, part, *arguments, model=MODEL, tokens="1,2,3"):
        self.refuse(code, part, "logits", model, "--tokens", tokens, "--out", self.out, *arguments)

    def assert_close(self, values, name):
        expected = reference(name)
        self.assertEqual(values.shape, expected.shape)
        error = float(numpy.max(numpy.abs(values - expected)))
        self.assertTrue(error <= LIMIT, f"{name}: {error}")

    def copy_model(self):
        copy = self.dir / "model"
        copy.mkdir()
        for name in ("config.json", "model.safetensors"):
            shutil.copy(MODEL / name, copy / name)
        return copy


class Tokenize(CliTest):
    TOKENIZER = GOLDEN / "tokenizer/tokenizer.json"

    def text_file(self, data):
        path = self.dir / "text.txt"
        path.write_bytes(data)
        return path

    def test_ids_of_a_file_and_of_standard_input_on_one_line(self):
        text = "Hello!\n"
        from_file = self.succeed("tokenize", self.TOKENIZER, self.text_file(text.encode()))
        self.assertEqual(from_file, "[19923,8567]\n")
        self.assertEqual(self.succeed("tokenize", self.TOKENIZER, input=text), from_file)
        self.assertEqual(self.succeed("tokenize", self.TOKENIZER, input=""), "[]\n")

    def test_plain_text_holds_no_control_token(self):
        self.assertEqual(self.succeed("tokenize", self.TOKENIZER, input="<think>"), "[128821]\n")
        self.assertEqual(self.succeed("tokenize", self.TOKENIZER, "--plain", input="<think>"), "[30,37947,32]\n")

    def test_pieces_as_text(self):
        self.assertEqual(self.succeed("tokenize", self.TOKENIZER, "--text", input="Hello!\n\x01"),
                         '19923\t"Hello"\n8567\t"!\\n"\n192\t"\\x01"\n')

    def test_many_texts_as_json_lines(self):
        self.assertEqual(self.succeed("tokenize", self.TOKENIZER, "--jsonl", input='"Hello!"\n""\n" Hello"'),
                         "[19923,3]\n[]\n[45948]\n")
        result = run("tokenize", self.TOKENIZER, "--jsonl", input='"a"\n7\n')
        self.assertEqual(result.returncode, 2)
        self.assertIn("line 2", result.stderr)

    def test_broken_utf8_is_said_once(self):
        path = self.text_file(b"a\xff\xfeb")
        result = run("tokenize", self.TOKENIZER, path)
        self.assertEqual(result.returncode, 0)
        self.assertEqual(result.stderr.count("\n"), 1)
        self.assertIn("U+FFFD", result.stderr)
        self.assertEqual(result.stdout, self.succeed("tokenize", self.TOKENIZER, input="a\ufffd\ufffdb"))

    def test_ids_become_text_again(self):
        text = "Hello \u4e2d\u6587 \U0001f642<think>\n"
        ids = self.succeed("tokenize", self.TOKENIZER, input=text)
        self.assertEqual(self.succeed("detokenize", self.TOKENIZER, input=ids), text)
        path = self.text_file(" ".join(map(str, json.loads(ids))).encode())
        self.assertEqual(self.succeed("detokenize", self.TOKENIZER, path), text)
        self.assertEqual(self.succeed("detokenize", self.TOKENIZER, "--tokens", "19923,3"), "Hello!")
        self.assertEqual(self.succeed("detokenize", self.TOKENIZER, input="[]"), "")

    def test_bytes_that_are_no_character(self):
        # Id 160 is a byte that begins a character of three.
        self.assertEqual(self.succeed("detokenize", self.TOKENIZER, "--tokens", "160,67"), "\ufffda")
        raw = subprocess.run([FATHOM, "detokenize", self.TOKENIZER, "--tokens", "160,67", "--raw"],
                             capture_output=True, check=True).stdout
        self.assertEqual(raw, b"\xe1a")

    def test_refusals(self):
        for ids in ("1,x", "1,", "[1", "129280", "-1", "99999999999999999999"):
            result = run("detokenize", self.TOKENIZER, input=ids)
            self.assertEqual(result.returncode, 2, ids)
            self.assertIn("position", result.stderr)
        self.refuse(2, "expected " + str(MODEL / "tokenizer.json"), "tokenize", MODEL)
        self.refuse(3, "nowhere", "tokenize", "nowhere.json")

    def test_a_folder_and_a_gguf_file_name_a_tokenizer(self):
        folder = self.dir / "model"
        folder.mkdir()
        shutil.copy(self.TOKENIZER, folder)
        self.assertEqual(self.succeed("tokenize", folder, input="Hello!"), "[19923,3]\n")
        gguf = self.dir / "tiny.gguf"
        self.assertEqual(run("synth", "--preset", "tiny", "--out", gguf).returncode, 0)
        ids = self.succeed("tokenize", gguf, input="a b!")
        self.assertEqual(self.succeed("detokenize", gguf, input=ids), " a b!")


class Logits(CliTest):
    def test_whole_run_equals_the_official_code(self):
        report, values = self.logits()
        self.assert_close(values, "plain.logits")
        self.assertEqual((report["tokens"], report["vocab"]), (300, 512))
        self.assertEqual(report["numerics"], "high")
        self.assertTrue(report["backend"].startswith("cpu:"))
        self.assertEqual(report["file"], str(self.out))
        self.assertGreater(report["tokens_per_s"], 0)
        self.assertGreater(report["seconds"], 0)
        self.assertGreater(report["peak_rss_bytes"], 1_000_000)

    def test_chunks_give_the_same_bits(self):
        _, whole = self.logits()
        for chunk in (1, 7, 64, 1000):
            _, values = self.logits("--chunk", chunk)
            self.assertTrue(numpy.array_equal(values, whole), chunk)

    def test_mtp_equals_the_official_code_whole_and_in_chunks(self):
        _, whole = self.logits("--mtp")
        self.assert_close(whole, "plain.mtp.logits")
        for chunk in (1, 7, 64):
            _, values = self.logits("--mtp", "--chunk", chunk)
            self.assertTrue(numpy.array_equal(values, whole), chunk)

    def test_every_backend_and_thread_count_is_accepted(self):
        ids = self.tokens(reference("prompt")[:40])
        values = {}
        for options in (["--backend", "reference"], ["--backend", "reference:f64"],
                        ["--threads", "1"], ["--threads", "3"]):
            report, values[options[1]] = self.logits(*options, tokens=ids)
        self.assertEqual(report["threads"], 3)
        self.assertTrue(numpy.array_equal(values["1"], values["3"]))
        for rows in values.values():
            self.assertTrue(float(numpy.max(numpy.abs(rows - values["reference:f64"]))) <= LIMIT)

    def test_official_numerics_differ_from_high(self):
        ids = self.tokens(reference("prompt")[:20])
        _, high = self.logits(tokens=ids)
        report, official = self.logits("--numerics", "official", tokens=ids)
        self.assertEqual(report["numerics"], "official")
        self.assertFalse(numpy.array_equal(high, official))

    def test_token_ids_may_be_int64_or_a_list(self):
        ids = [3, 1, 4, 1, 5]
        _, listed = self.logits(tokens="3,1,4, 1,5")
        for dtype in (numpy.int32, numpy.int64):
            _, values = self.logits(tokens=self.tokens(ids, dtype))
            self.assertTrue(numpy.array_equal(values, listed))

    def test_an_older_file_is_replaced_only_by_a_complete_one(self):
        self.out.write_text("old")
        result = run("logits", MODEL, "--tokens", "1,512", "--out", self.out)
        self.assertEqual(result.returncode, 2)
        self.assertEqual(self.out.read_text(), "old")
        self.logits(tokens="1,2")

    def test_readable_report_names_the_same_facts(self):
        text = self.succeed("logits", MODEL, "--tokens", "1,2", "--out", self.out)
        for key in ("model", "backend", "tokens_per_s", "peak_rss_bytes"):
            self.assertIn(key, text)


class Generate(CliTest):
    def test_greedy_tokens_are_those_of_the_official_code(self):
        prompt = self.tokens(reference("prompt")[:40])
        report = self.succeed_json("generate", MODEL, "--tokens", prompt, "--max-tokens", 24,
                                   "--ignore-eos", "--temperature", "0")
        self.assertEqual(report["tokens"], reference("plain.greedy_40_24").tolist())
        self.assertEqual(len(report["logprobs"]), 24)
        self.assertTrue(all(-20 < value < 0 for value in report["logprobs"]))

    def test_stops_at_the_end_token_unless_told_otherwise(self):
        prompt = self.tokens(reference("prompt")[:40])
        copy = self.copy_model()
        config = json.loads((copy / "config.json").read_text())
        end = int(reference("plain.greedy_40_24")[5])
        config["eos_token_id"] = end
        (copy / "config.json").write_text(json.dumps(config))
        arguments = ("generate", copy, "--tokens", prompt, "--max-tokens", 10)
        self.assertEqual(self.succeed_json(*arguments)["tokens"],
                         reference("plain.greedy_40_24")[:6].tolist())
        self.assertEqual(len(self.succeed_json(*arguments, "--ignore-eos")["tokens"]), 10)

    def test_sampling_is_refused(self):
        self.refuse(2, "--temperature: found 0.7, expected 0", "generate", MODEL, "--tokens", "1",
                    "--max-tokens", 2, "--temperature", "0.7")

    def test_more_tokens_than_the_context_are_refused(self):
        self.refuse(2, "1025 tokens", "generate", MODEL, "--tokens", "1,2", "--max-tokens", 1024)


class SecondFamily(CliTest):
    def test_logits_of_both_containers_equal_those_of_transformers(self):
        folder = GOLDEN / "checkpoints/llama-tiny"
        prompt = self.tokens(read_tensor(folder / "reference.safetensors", "prompt"), numpy.int64)
        expected = read_tensor(folder / "reference.safetensors", "logits")
        for model in (folder, GOLDEN / "checkpoints/llama-tiny.gguf"):
            _, values = self.logits(model=model, tokens=prompt)
            error = float(numpy.max(numpy.abs(values - expected)))
            self.assertTrue(error <= LIMIT, error)


class Inspect(CliTest):
    def test_published_models_have_the_parameters_of_their_configs(self):
        flash = self.succeed_json("inspect", "v4-flash")
        self.assertEqual(flash["parameters"]["total"], 284_332_240_471)
        self.assertEqual(flash["parameters"]["total_with_mtp"], 290_942_289_362)
        self.assertEqual(flash["parameters"]["active"], 13_270_031_954)
        pro = self.succeed_json("inspect", "v4-pro")
        self.assertEqual(pro["parameters"]["total"], 1_572_997_201_763)
        self.assertEqual(pro["parameters"]["active"], 48_852_280_158)
        self.assertEqual(set(flash["cache_bytes_at_context"]), {"4096", "131072", "1048576"})
        self.assertIn("284,332,240,471", self.succeed("inspect", "v4-flash"))

    def test_checkpoint_sizes_are_those_of_its_headers(self):
        header, _ = read_header(MODEL / "model.safetensors")
        header.pop("__metadata__", None)
        expected = sum(end - begin for begin, end in
                       (entry["data_offsets"] for entry in header.values()))
        report = self.succeed_json("inspect", MODEL)
        self.assertEqual(report["weights_bytes"], expected)
        self.assertEqual(sum(report["weights_bytes_by_part"].values()), expected)
        self.assertEqual(sum(row["bytes"] for row in report["formats"]), expected)
        self.assertEqual(sum(row["tensors"] for row in report["formats"]), len(header))
        self.assertEqual(report["missing_tensors"], [])
        self.assertEqual(report["unexpected_tensors"], [])
        self.assertEqual((report["container"], report["dialect"]), ("safetensors", "official"))

    def test_missing_and_unexpected_tensors_are_a_report(self):
        copy = self.copy_model()
        data = (copy / "model.safetensors").read_bytes()
        renamed = data.replace(b'"layers.1.attn.kv_norm.weight"', b'"layers.1.attn.kv_nose.weight"')
        self.assertNotEqual(renamed, data)
        (copy / "model.safetensors").write_bytes(renamed)
        report = self.succeed_json("inspect", copy)
        self.assertEqual(report["missing_tensors"], ["layers.1.attn.kv_norm.weight"])
        self.assertEqual(report["unexpected_tensors"], ["layers.1.attn.kv_nose.weight"])
        self.assertIn("layers.1.attn.kv_nose.weight", self.succeed("inspect", copy))
        self.refuse_logits(2, "layers.1.attn.kv_norm.weight is missing", model=copy)

    def test_unknown_config_keys_are_listed(self):
        copy = self.copy_model()
        config = json.loads((copy / "config.json").read_text())
        config["from_the_future"] = 1
        (copy / "config.json").write_text(json.dumps(config))
        self.assertIn("from_the_future", self.succeed_json("inspect", copy)["unknown_config_keys"])

    def test_config_alone_takes_storage_from_the_inference_config_or_the_option(self):
        config = GOLDEN / "configs/v4-flash.config.json"
        inference = GOLDEN / "configs/v4-flash.inference.config.json"
        lone = self.dir / "config.json"
        shutil.copy(config, lone)
        self.refuse(2, "add --storage", "inspect", lone)
        fp8 = self.succeed_json("inspect", lone, "--storage", "fp8")
        (self.dir / "inference").mkdir()
        shutil.copy(inference, self.dir / "inference/config.json")
        fp4 = self.succeed_json("inspect", lone)
        self.assertEqual(fp4["weights_bytes"],
                         self.succeed_json("inspect", "v4-flash")["weights_bytes"])
        self.assertEqual(fp4, {**self.succeed_json("inspect", config), "model": str(lone)})
        self.assertGreater(fp8["weights_bytes"], 1.8 * fp4["weights_bytes"])
        self.assertEqual(self.succeed_json("inspect", inference)["weights_bytes"],
                         fp4["weights_bytes"])

    def test_storage_of_a_checkpoint_cannot_be_chosen(self):
        self.refuse(2, "its files say how it is stored", "inspect", MODEL, "--storage", "fp8")


class Synth(CliTest):
    def test_written_models_open_and_compute(self):
        for name in ("tiny", "tiny.gguf"):
            out = self.dir / name
            report = self.succeed_json("synth", "--preset", "tiny", "--out", out, "--seed", 3)
            facts = self.succeed_json("inspect", out)
            self.assertEqual(report["parameters"], facts["parameters"]["total"])
            self.assertEqual((facts["missing_tensors"], facts["unexpected_tensors"]), ([], []))
            tokens = self.succeed_json("generate", out, "--tokens", "1,2,3", "--max-tokens", 4)
            self.assertTrue(tokens["tokens"])
        self.refuse_logits(2, "no multi-token prediction", "--mtp", model=self.dir / "tiny.gguf")

    def test_models_of_the_second_family_open_and_compute(self):
        for name in ("llama", "llama.gguf"):
            out = self.dir / name
            self.succeed("synth", "--preset", "llama-tiny", "--out", out)
            facts = self.succeed_json("inspect", out)
            self.assertEqual(facts["family"], "llama")
            self.assertEqual(facts["shape"]["attention_layers"], {"grouped": 4})
            self.assertNotIn("experts", facts["shape"])
            self.assertNotIn("experts", facts["weights_bytes_by_part"])
            self.assertEqual((facts["missing_tensors"], facts["unexpected_tensors"]), ([], []))
            self.assertEqual(set(facts["cache_bytes_at_context"]), {"4096", "8192"})
            tokens = self.succeed_json("generate", out, "--tokens", "1,2,3", "--max-tokens", 4)
            self.assertTrue(tokens["tokens"])
        self.refuse_logits(2, "official is not defined", "--numerics", "official",
                           model=self.dir / "llama")
        self.refuse_logits(2, "no multi-token prediction", "--mtp", model=self.dir / "llama")
        self.refuse(2, "torch_dtype: expected f32, f16 or bf16", "synth", "--preset", "llama-tiny",
                    "--storage", "fp8", "--out", self.out.parent / "x")

    def test_same_seed_gives_same_bytes(self):
        for name, seed in (("a", 5), ("b", 5), ("c", 6)):
            self.succeed("synth", "--preset", "tiny", "--out", self.dir / name, "--seed", seed)
        data = [(self.dir / name / "model.safetensors").read_bytes() for name in "abc"]
        self.assertEqual(data[0], data[1])
        self.assertNotEqual(data[0], data[2])

    def test_config_and_storage_are_followed(self):
        out = self.dir / "bf16"
        self.succeed("synth", "--config", MODEL / "config.json", "--out", out, "--storage", "bf16")
        formats = {row["format"] for row in self.succeed_json("inspect", out)["formats"]}
        self.assertEqual(formats, {"BF16", "F32", "I64"})

    def test_an_older_checkpoint_is_not_overwritten_unasked(self):
        out = self.dir / "tiny"
        self.succeed("synth", "--preset", "tiny", "--out", out)
        self.refuse(2, "not empty", "synth", "--preset", "tiny", "--out", out)
        self.succeed("synth", "--preset", "tiny", "--out", out, "--overwrite")

    def test_bad_requests_are_refused(self):
        out = self.out.parent / "x"
        self.refuse(2, "expected tiny|mini|small", "synth", "--preset", "huge", "--out", out)
        self.refuse(2, "--preset", "synth", "--out", out)
        self.refuse(3, "/proc/x", "synth", "--preset", "tiny", "--out", "/proc/x/y.gguf")


class BadInput(CliTest):
    def test_missing_files(self):
        self.refuse_logits(3, "/nonexistent", model="/nonexistent")
        self.refuse_logits(3, "/nonexistent.npy", tokens="/nonexistent.npy")
        self.refuse(3, "/nonexistent.json", "inspect", "/nonexistent.json")

    def test_bad_tokens(self):
        self.refuse_logits(2, "position 2: token id 512, expected 0 to 511", tokens="1,2,512")
        self.refuse_logits(2, "position 0: token id -1", tokens=self.tokens([-1, 2]))
        self.refuse_logits(2, "token id 4294967297", tokens=self.tokens([4294967297], numpy.int64))
        self.refuse_logits(2, "position 1: found", tokens="1,x,3")
        self.refuse_logits(2, "position 0: found", tokens="")
        self.refuse_logits(2, "1025 tokens", tokens=self.tokens(numpy.zeros(1025)))
        self.refuse_logits(2, "at least 2", "--mtp", tokens="1")

    def test_bad_npy(self):
        path = self.dir / "bad.npy"
        path.write_bytes(b"not numpy")
        self.refuse_logits(2, "not an npy file", tokens=path)
        path.write_bytes(self.tokens().read_bytes()[:-1])
        self.refuse_logits(2, "needs 1200 bytes, found 1199", tokens=path)
        path.write_bytes(b"")
        self.refuse_logits(2, "not an npy file", tokens=path)
        self.refuse_logits(2, "<f8", tokens=self.tokens([1.0], numpy.float64))
        self.refuse_logits(2, "one dimension", tokens=self.tokens([[1, 2]]))
        self.refuse_logits(2, "no token", tokens=self.tokens([]))

    def test_truncated_checkpoint(self):
        copy = self.copy_model()
        os.truncate(copy / "model.safetensors", (copy / "model.safetensors").stat().st_size - 1)
        self.refuse_logits(2, "model.safetensors", model=copy)
        self.refuse(2, "model.safetensors", "inspect", copy)

    def test_nan_scale(self):
        header, begin = read_header(MODEL / "model.safetensors")
        for part in ("attn.wq_a", "ffn.experts.0.w1", "ffn.shared_experts.w2"):
            name = f"layers.1.{part}.scale"
            self.assertEqual(header[name]["dtype"], "F8_E8M0")
            copy = self.copy_model()
            with open(copy / "model.safetensors", "r+b") as file:
                file.seek(begin + header[name]["data_offsets"][0])
                file.write(b"\xff")
            prompt = self.tokens(reference("prompt")[:64])
            self.refuse_logits(2, f"layers.1.{part}", model=copy, tokens=prompt)
            shutil.rmtree(copy)

    def test_output_that_cannot_be_written(self):
        for out in ("/nonexistent/x.npy", self.out.parent, "/proc/x.npy"):
            self.refuse(3, str(out), "logits", MODEL, "--tokens", "1", "--out", out)

    def test_full_stdout(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            result = subprocess.run([FATHOM, "inspect", "v4-flash"], stdout=full, check=False,
                                    stderr=subprocess.PIPE, text=True, timeout=deadline(60))
        self.assertEqual(result.returncode, 3)
        self.assertIn("stdout", result.stderr)

    def test_bad_options(self):
        self.refuse_logits(2, "cuda", "--backend", "cuda")
        self.refuse_logits(2, "low", "--numerics", "low")
        self.refuse_logits(2, "--threads", "--threads", "0")
        self.refuse_logits(2, "--chunk", "--chunk", "0")
        self.refuse_logits(2, "--nonsense", "--nonsense")
        self.refuse(2, "\"fly\"", "fly")
        self.refuse(2, "required")
        self.refuse(2, "required", "logits", MODEL)

    def test_too_little_memory(self):
        if IS_SANITISED:
            self.skipTest("sanitisers need far more address space than the limit")
        ids = self.tokens(numpy.zeros(1024))
        for limit in (40_000_000, 80_000_000):
            result = run("logits", MODEL, "--tokens", ids, "--out", self.out,
                         preexec_fn=lambda size=limit: resource.setrlimit(resource.RLIMIT_AS,
                                                                          (size, size)))
            self.assertEqual(result.returncode, 4, result.stderr)
            self.assertRegex(result.stderr, r"\Afathom: [^\n]*\n\Z")
            self.assertEqual(self.leftovers(), [])


class Interrupt(CliTest):
    def interrupt(self, number, *arguments):
        """Sends a signal as soon as the unfinished output is there."""
        with subprocess.Popen([FATHOM, *map(str, arguments)], stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.PIPE) as process:
            end = time.monotonic() + 60
            while not any(self.out.parent.rglob("*.partial-*")):
                self.assertIsNone(process.poll(), "ended before it could be interrupted")
                self.assertLess(time.monotonic(), end)
                time.sleep(0.001)
            begin = time.monotonic()
            process.send_signal(number)
            output, error = process.communicate(timeout=deadline(60))
        self.assertEqual(process.returncode, 130)
        self.assertLess(time.monotonic() - begin, 5)
        self.assertEqual(output, "")
        self.assertRegex(error, r"\Afathom: (interrupted|cancelled)[^\n]*\n\Z")
        self.assertEqual(self.leftovers(), [])

    def test_long_step_ends_at_once_and_leaves_nothing(self):
        model = self.dir / "tiny"
        self.succeed("synth", "--preset", "tiny", "--out", model)
        ids = self.tokens(numpy.arange(60000) % 1024)
        for number in (signal.SIGINT, signal.SIGTERM):
            self.interrupt(number, "logits", model, "--tokens", ids, "--out", self.out)

    def test_synth_leaves_nothing(self):
        self.interrupt(signal.SIGINT, "synth", "--preset", "mid", "--out", self.out.parent / "m")
        self.interrupt(signal.SIGINT, "synth", "--preset", "mid", "--out",
                       self.out.parent / "m.gguf")


class Render(CliTest):
    CASES = GOLDEN / "prompt-encoding"
    USER = [{"role": "user", "content": "Hi"}]

    def render(self, conversation, *arguments):
        result = subprocess.run([FATHOM, "render", *map(str, arguments)], timeout=deadline(60), check=False,
                                input=json.dumps(conversation).encode(), capture_output=True)
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        return result.stdout.decode()

    def test_prompts_equal_the_official_ones_byte_for_byte(self):
        for number in "123":
            self.assertEqual(self.succeed("render", self.CASES / f"test_input_{number}.json"),
                             (self.CASES / f"test_output_{number}.txt").read_text())
        self.assertEqual(self.succeed("render", "--thinking", "off", self.CASES / "test_input_4.json"),
                         (self.CASES / "test_output_4.txt").read_text())
        for case in json.loads((self.CASES / "more-cases.json").read_text()):
            self.assertEqual(self.render(case), case["prompt"], case["name"])
            self.assertEqual(self.render(case, "-"), case["prompt"], case["name"])

    def test_protocol_texts_have_the_published_hashes(self):
        def sha256(text):
            return hashlib.sha256(text.encode()).hexdigest()

        def between(text, begin, end):
            start = text.index(begin) + len(begin)
            return text[start:text.index(end, start)]

        bos, user = "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cUser\uff5c>"
        for dialect, effort, expected in (
                ("preview", "max", "f7a24f3b3050d4a83781e9b755b316aae2ec1d9dc87562541d90bcb04d7350f7"),
                ("0731", "high", "f7a24f3b3050d4a83781e9b755b316aae2ec1d9dc87562541d90bcb04d7350f7"),
                ("0731", "max", "53fb31b8392ec5b4a926481943efc67636748f137c1a49d493a7af4d4fa55d2c")):
            prompt = self.render(self.USER, "--dialect", dialect, "--effort", effort)
            self.assertEqual(sha256(between(prompt, bos, user)), expected)
        prompt = self.render([{"role": "system", "tools": [{"function": {"name": "f"}}],
                               "response_format": {"a": 1}}, *self.USER])
        self.assertEqual(sha256(between(prompt, bos + "\n\n", '{"name": "f"}')),
                         "c7c9042638154a237b5d1bd48be772374a35a4d24c5cacfd1ffbd92703da329c")
        tail, rest = between(prompt, '{"name": "f"}', user).split("\n\n## ")
        self.assertEqual(sha256(tail), "690702850fe256512cb1ee67c4e436ecb3e735c71ebee77ca45ff357a75fb5a7")
        self.assertEqual(sha256("## " + rest.removesuffix('{"a": 1}')),
                         "5200f58413f49f3957c43beddbc97bead023232cb5934fad0c1997c30c139112")

    def test_the_model_decides_the_format(self):
        folder = self.dir / "model"
        (folder / "encoding").mkdir(parents=True)
        (folder / "encoding/encoding_dsv4.py").write_text("REASONING_EFFORT_PROMPTS = {}\n")
        self.assertIn("Absolute maximum", self.render(self.USER, folder, "--effort", "high"))
        self.assertNotIn("Absolute", self.render(self.USER, folder, "--effort", "high", "--dialect",
                                                 "preview"))
        template = (ROOT / "tests/data/chat-templates/mistral.jinja").read_text()
        (folder / "tokenizer_config.json").write_text(json.dumps(
            {"chat_template": template, "bos_token": {"content": "<s>"}, "eos_token": "</s>"}))
        (self.dir / "chat.json").write_text(json.dumps(self.USER))
        self.assertEqual(self.render(self.USER, MODEL), self.render(self.USER))
        self.assertIn("Absolute", self.render(self.USER, folder, "--effort", "high"))
        shutil.rmtree(folder / "encoding")
        self.assertEqual(self.succeed("render", folder, self.dir / "chat.json"), "<s>[INST] Hi [/INST]")
        (folder / "model.safetensors").write_bytes(b"weights are not needed")
        self.assertEqual(self.succeed("render", folder / "model.safetensors", self.dir / "chat.json"),
                         "<s>[INST] Hi [/INST]")
        (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ odd }}"}))
        (self.dir / "empty").mkdir()
        self.refuse(2, "no chat format", "render", self.dir / "empty", self.dir / "chat.json")
        self.refuse(2, 'found one that begins with "{{ odd }}"', "render", folder,
                    self.dir / "chat.json")

    def test_bad_files_are_refused_in_one_line(self):
        file = self.dir / "chat.json"
        for text, part in (("[", "not valid JSON at byte 1"), ("[3]", "messages[0]: expected an object"),
                           ('[{"role":"wizard"}]', "messages[0].role: expected one of"),
                           ('[{"role":"user","content":"\\ud800"}]', "a lone surrogate"),
                           ("[" * 100_000, "nested deeper than 512 levels")):
            file.write_text(text)
            self.refuse(2, part, "render", file)
        self.refuse(3, "No such file", "render", self.dir / "absent.json")
        self.refuse(2, "dialect: expected one of", "render", "--dialect", "v9", file)

    def test_bytes_that_are_no_utf8_are_said_once(self):
        file = self.dir / "chat.json"
        file.write_bytes(b'[{"role":"user","content":"a\xff\xfe"}]')
        result = run("render", file)
        self.assertEqual(result.returncode, 0)
        self.assertIn("<\uff5cUser\uff5c>a\ufffd\ufffd<", result.stdout)
        self.assertEqual(result.stderr.count("\n"), 1)
        self.assertIn("chat.json: not UTF-8 throughout", result.stderr)


class Help(CliTest):
    def test_version_and_help_succeed(self):
        self.assertRegex(self.succeed("--version"), r"\Afathom \d+\.\d+\.\d+\n\Z")
        for command in ("inspect", "synth", "logits", "generate"):
            self.assertIn(command, self.succeed("--help"))
            self.assertIn("--json", self.succeed(command, "--help"))
        self.assertIn("--dialect", self.succeed("render", "--help"))

    def test_the_example_works_as_pasted(self):
        text = self.succeed("--help")
        example = text[text.index("  fathom synth"):].strip()
        path = f"{pathlib.Path(FATHOM).parent}:{os.environ['PATH']}"
        result = subprocess.run(["sh", "-c", example.replace("/tmp/", f"{self.dir}/")],
                                env={**os.environ, "PATH": path}, capture_output=True, text=True,
                                timeout=deadline(60), check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("logprobs", result.stdout)


if __name__ == "__main__":
    FATHOM = program_under_test(__doc__)
    unittest.main()
