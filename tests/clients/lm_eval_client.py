#!/usr/bin/env python3
"""lm-eval through the completions API on the tasks in lm_eval/, and the same scores without any server.

Each log-likelihood that lm-eval was told has to be what `fathom logits` gives for the same tokens, each greedy
choice and each continuation the same; of the capitals, more than chance has to be right.
"""
import argparse
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

TASKS = pathlib.Path(__file__).resolve().parent / "lm_eval"
TOLERANCE = 1e-3  # of a sum over at most 100 tokens; both are float32 logits, of the same bits
CHANCE = 0.25
NUMERICS = "fast"  # the server's default
deviations = []


class Fathom:
    """The model by the command line, one call at a time."""

    def __init__(self, binary, model):
        self.binary, self.model = binary, model
        self.folder = tempfile.TemporaryDirectory()

    def run(self, command, *arguments, text=None):
        result = subprocess.run([self.binary, command, self.model, *arguments], input=text, capture_output=True,
                                encoding="utf-8", check=False)
        if result.returncode != 0:
            raise SystemExit(f"fathom {command}: exit code {result.returncode}\n{result.stderr}")
        return result.stdout

    def tokenize(self, text):
        return json.loads(self.run("tokenize", text=text))

    def score(self, tokens, num_given):
        """Log-likelihood of what follows the given tokens, and whether each of it is the likeliest."""
        out = pathlib.Path(self.folder.name) / "logits.npy"
        self.run("logits", "--numerics", NUMERICS, "--tokens", ",".join(map(str, tokens)), "--out", out)
        rows = np.load(out).astype(np.float64)[num_given - 1:-1]
        targets = tokens[num_given:]
        peaks = rows.max(axis=1)
        logs = peaks + np.log(np.exp(rows - peaks[:, None]).sum(axis=1))
        found = rows[np.arange(len(targets)), targets]
        return float((found - logs).sum()), bool((found == peaks).all())

    def continue_greedily(self, tokens, num):
        report = json.loads(self.run("generate", "--numerics", NUMERICS, "--tokens", ",".join(map(str, tokens)),
                                     "--max-tokens", str(num), "--json"))
        return self.run("detokenize", text=" ".join(map(str, report["tokens"])))


def run_lm_eval(options, folder):
    """The samples of each task, as lm-eval logs them, and its own results."""
    arguments = {"model": options.model, "base_url": options.base_url + "/v1/completions", "num_concurrent": 4,
                 "max_retries": 1, "max_length": 8192, "tokenizer_backend": "remote", "auth_token": options.key}
    command = [pathlib.Path(sys.executable).parent / "lm_eval", "run", "--model", "local-completions", "--model_args",
               ",".join(f"{name}={value}" for name, value in arguments.items()), "--include_path", TASKS, "--tasks",
               "fathom_capitals,fathom_prose,fathom_continue", "--output_path", folder, "--log_samples"]
    environment = os.environ | {"OPENAI_API_KEY": options.key, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1",
                                "HF_HOME": str(folder)}
    subprocess.run(command, cwd=TASKS, env=environment, stdin=subprocess.DEVNULL, check=True)
    samples = {}
    for path in folder.glob("*/samples_*.jsonl"):
        task = path.name.removeprefix("samples_").rsplit("_", 1)[0]
        samples[task] = [json.loads(line) for line in path.read_text().splitlines()]
    (results,) = folder.glob("*/results_*.json")
    return samples, json.loads(results.read_text())["results"]


def close(found, expected, what, problems):
    deviations.append(abs(found - expected))
    if not abs(found - expected) <= TOLERANCE:
        problems.append(f"{what}: found {found}, expected {expected}")


def check_capitals(fathom, samples, problems):
    for sample in samples:
        for request, (response,) in zip(sample["arguments"].values(), sample["resps"], strict=True):
            context, continuation = request["arg_0"], request["arg_1"]
            given = fathom.tokenize(context)
            tokens = fathom.tokenize(context + continuation)
            logprob, is_greedy = fathom.score(tokens, len(given))
            close(float(response[0]), logprob, context + continuation, problems)
            if (str(response[1]) == "True") != is_greedy:
                problems.append(f"{context + continuation}: greedy {response[1]}, expected {is_greedy}")


def check_prose(fathom, samples, problems):
    (bos,) = fathom.tokenize("<|im_start|>")  # what lm-eval puts in front, so that the first token is scored too
    for sample in samples:
        text = sample["doc"]["text"]
        logprob, _ = fathom.score([bos, *fathom.tokenize(text)], 1)
        ((response,),) = sample["resps"]
        found = response[0] if isinstance(response, list) else response
        close(float(found), logprob, text[:40], problems)


def check_continuations(fathom, samples, problems):
    for sample in samples:
        text = sample["doc"]["text"]
        expected = fathom.continue_greedily(fathom.tokenize(text), 12).split("\n\n")[0]
        ((found,),) = sample["resps"]
        if not found or found.rstrip("\n") != expected.rstrip("\n"):
            problems.append(f"{text}: continued {found!r}, expected {expected!r}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--key", default="none")
    parser.add_argument("--fathom", required=True, type=pathlib.Path)
    parser.add_argument("--model", required=True, help="its name on the server")
    parser.add_argument("--file", required=True, type=pathlib.Path, help="the file that the server serves")
    options = parser.parse_args()
    fathom = Fathom(options.fathom, options.file)
    with tempfile.TemporaryDirectory() as folder:
        samples, results = run_lm_eval(options, pathlib.Path(folder))
    problems = []
    check_capitals(fathom, samples["fathom_capitals"], problems)
    check_prose(fathom, samples["fathom_prose"], problems)
    check_continuations(fathom, samples["fathom_continue"], problems)
    accuracy = results["fathom_capitals"]["acc,none"]
    if not accuracy > 2 * CHANCE:
        problems.append(f"{accuracy} of the capitals are right, expected more than {2 * CHANCE}")
    if not math.isfinite(results["fathom_prose"]["byte_perplexity,none"]):
        problems.append("no perplexity")
    num_checked = sum(map(len, samples.values()))
    print(*problems, sep="\n")
    print(f"{len(deviations)} log-likelihoods, the largest deviation is {max(deviations):.1e}")
    print(f"{num_checked - len(problems)} passed, {len(problems)} failed")
    return 1 if problems or num_checked != 28 else 0


if __name__ == "__main__":
    sys.exit(main())
