"""What is measured, in which order, and what comes out of it."""
import dataclasses
import os
import statistics
import time

from peers import numbers, quiet, tokens
from peers.failure import INTERNAL, Failure

# What a share is of: (key of the limits, its unit's operations or bytes, what a token costs of it).
LIMITS = {
    "read": ("read_gb_s", 1e9, lambda model: model["bytes_per_token"]),
    "int8": ("int8_tops", 1e12, lambda model: 2 * model["macs_per_token"]),
    "bf16": ("bf16_tflops", 1e12, lambda model: 2 * model["macs_per_token"]),
    "fp32": ("fp32_tflops", 1e12, lambda model: 2 * model["macs_per_token"]),
    "fp32 peak": ("fp32_tflops", 1e12, lambda model: model["flop_per_token"]),  # of training
}


@dataclasses.dataclass(frozen=True)
class Figure:
    phase: str  # "prefill", "decode" or "train"
    tokens: int
    context: int = 0

    @property
    def tokens_before(self):
        return 0 if self.phase != "decode" else self.context or tokens.SEED_TOKENS

    def __str__(self):
        return f"{self.phase} {self.tokens}" + (f" at {self.context}" if self.phase == "decode" else "")


class Estimate:
    """How long the remaining measurements will take, by how long those before them took."""

    def __init__(self, tasks):
        self.left, self.seconds = list(tasks), {}

    def done(self, task, seconds):
        self.left.remove(task)
        self.seconds.setdefault(task, []).append(seconds)

    def text(self):
        if not self.seconds:
            return "time left not known yet"
        known = {task: statistics.fmean(seconds) for task, seconds in self.seconds.items()}
        usual = statistics.fmean(known.values())
        left_s = sum(known.get(task, usual) for task in self.left)
        return f"about {left_s:.0f} s left" if left_s < 90 else f"about {left_s / 60:.0f} min left"


class Comparison:
    """Runs every engine on every figure in turn (A B A B ...) and keeps complete pairs."""

    def __init__(self, engines, figures, num_pairs, waiter, say):
        self.engines, self.figures, self.num_pairs = engines, figures, num_pairs
        self.waiter, self.say = waiter, say
        self.pairs = {figure: [] for figure in figures}
        self.limit_names, self.costs = {}, {}
        names = [engine.name for engine in engines]
        self.estimate = Estimate([(figure, name) for figure in figures for name in names] * num_pairs)

    def own_cpu_s(self):
        return sum(os.times()[:4]) + sum(engine.cpu_s() for engine in self.engines)

    def run(self, keep):
        """Calls keep() after every complete pair, so that nothing measured can be lost."""
        for engine in self.engines:
            self.waiter.wait()
            self.say(f"loading: {engine.name}")
            engine.prepare()
        for pair_idx in range(self.num_pairs):
            for figure in self.figures:
                row = {}
                for engine in self.engines:
                    start = time.monotonic()
                    self.say(f"pair {pair_idx + 1} of {self.num_pairs}: {figure}, {engine.name}; "
                             f"{self.estimate.text()}")
                    row[engine.name] = self.measure(engine, figure)
                    self.estimate.done((figure, engine.name), time.monotonic() - start)
                self.pairs[figure].append(row)
                keep()

    def measure(self, engine, figure):
        """One undisturbed measurement. One that others disturbed is repeated, as long as patience lasts."""
        start = time.monotonic()
        while True:
            self.waiter.wait()
            watch = quiet.Watch(self.own_cpu_s)
            before = self.engines[0].limits()
            at = time.time()
            tokens_per_s, limit = engine.measure(figure)
            after = self.engines[0].limits()
            others, steal = watch.stop()
            if limit:
                self.limit_names[figure] = limit
                self.costs = self.engines[0].costs()
            allowed = quiet.TOTAL_FACTOR * self.waiter.share
            if not others > allowed:
                break
            reason = f"other processes used {others:.2f} of a processor meanwhile, at most {allowed:g} wanted"
            if time.monotonic() - start > self.waiter.patience_s:
                raise Failure(INTERNAL, f"gave up on {figure}, {engine.name}: {reason}; end them, or allow more "
                              "(--quiet-share) or wait longer (--patience)")
            self.say(f"again: {reason}")
        limits = {key: None if None in (before[key], after[key]) else (before[key] + after[key]) / 2 for key in before}
        return {"tokens_per_s": tokens_per_s, "at": round(at, 1), "limits": limits, "others": round(others, 3),
                "steal": round(steal, 3)}

    def results(self):
        return [summary(figure, self.pairs[figure], self.limit_names.get(figure), self.costs,
                        [engine.name for engine in self.engines])
                for figure in self.figures if self.pairs[figure]]


def share_of(sample, limit_name, model):
    """A speed's share of what the machine could do just before and after it; None where that is not known."""
    key, unit, cost = LIMITS[limit_name]
    limit = sample["limits"][key]
    return cost(model) * sample["tokens_per_s"] / (limit * unit) if limit else None


def summary(figure, pairs, limit_name, model, names):
    """One figure of a record; names begins with Fathom's."""
    engines = []
    for name in names:
        samples = [pair[name] for pair in pairs]
        speeds = [sample["tokens_per_s"] for sample in samples]
        shares = [share_of(sample, limit_name, model) for sample in samples]
        _, low, high = numbers.interval(speeds)
        _, share_low, share_high = (None,) * 3 if None in shares else numbers.interval(shares)
        engines.append({"name": name, "tokens_per_s": statistics.median(speeds), "low": low, "high": high,
                        "share": numbers.median_or_none(shares), "share_low": share_low, "share_high": share_high})
    ratios = []
    for name in names[1:]:
        ratio, low, high = numbers.interval([pair[names[0]]["tokens_per_s"] / pair[name]["tokens_per_s"]
                                             for pair in pairs])
        ratios.append({"peer": name, "ratio": ratio, "low": low, "high": high})
    return {"phase": figure.phase, "tokens": figure.tokens, "context": figure.context, "limit": limit_name,
            "engines": engines, "ratios": ratios, "pairs": pairs}
