"""Training steps of PyPI transformers' DeepseekV4ForCausalLM, timed on request: benchmarks/compare_training.py asks.

usage: torch_training.py SETTINGS, a JSON object with
  model (a checkpoint's folder), tokens (a file of little-endian int32), threads, sequence_tokens, batch_sequences,
  step_sequences, experts (transformers' name of how experts are computed), learning_rate, betas, epsilon,
  weight_decay, clip_norm
Answers every line of stdin with a line of stdout, both JSON:
  {"steps": N}      N steps, each with the data after that of the one before; answers {"seconds": [N], "losses": [N]}
  {"facts": true}   answers {"torch", "transformers", "experts", "peak_rss_bytes"}
A step is gradients set to none, forward and backward passes of all its batches, clipping, and torch.optim.AdamW; all in
float32, operation by operation as transformers comes (eager), nothing compiled. It ends with stdin.
"""
import json
import pathlib
import resource
import sys
import time

import numpy
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "tests/oracle"))
import transformers_model  # noqa: E402  after the path


class Training:
    def __init__(self, settings):
        self.settings = settings
        torch.set_num_threads(settings["threads"])
        config = json.loads((pathlib.Path(settings["model"]) / "config.json").read_text())
        model, _ = transformers_model.load_model(settings["model"], config)
        self.model = model.requires_grad_(True).train()
        self.model.set_experts_implementation(settings["experts"])
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=settings["learning_rate"],
                                           betas=settings["betas"], eps=settings["epsilon"],
                                           weight_decay=settings["weight_decay"])
        self.tokens = torch.from_numpy(numpy.fromfile(settings["tokens"], "<i4").astype(numpy.int64))
        self.num_sequences = (len(self.tokens) - 1) // settings["sequence_tokens"]
        self.next_sequence = 0

    def next_batch(self):
        """Inputs and targets [B, T]: sequences in the order of the tokens, from the first again after the last."""
        length, rows = self.settings["sequence_tokens"], []
        for _ in range(self.settings["batch_sequences"]):
            first = self.next_sequence % self.num_sequences * length
            rows.append(self.tokens[first : first + length + 1])
            self.next_sequence += 1
        batch = torch.stack(rows)
        return batch[:, :-1], batch[:, 1:]

    def step(self):
        """The mean loss of the step's tokens, in nats."""
        num_batches = self.settings["step_sequences"] // self.settings["batch_sequences"]
        self.optimizer.zero_grad(set_to_none=True)
        sum_of_losses = 0.0
        for _ in range(num_batches):
            inputs, targets = self.next_batch()
            logits = self.model(inputs, use_cache=False).logits
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()) / num_batches
            loss.backward()
            sum_of_losses += loss.item()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings["clip_norm"])
        self.optimizer.step()
        return sum_of_losses

    def steps(self, count):
        seconds, losses = [], []
        for _ in range(count):
            start = time.perf_counter()
            losses.append(self.step())
            seconds.append(time.perf_counter() - start)
        return {"seconds": seconds, "losses": losses}

    def facts(self):
        return {"torch": torch.__version__, "transformers": transformers_model.version(),
                "experts": self.model.config._experts_implementation,
                "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def main():
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries say is no answer
    training = Training(json.loads(sys.argv[1]))
    for line in sys.stdin:
        request = json.loads(line)
        reply = training.facts() if "facts" in request else training.steps(request["steps"])
        print(json.dumps(reply), file=answers, flush=True)


if __name__ == "__main__":
    main()
