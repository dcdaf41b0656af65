"""The same training step by `fathom train` and by PyPI transformers: data, both sides, and whether they agree."""
import array
import json
import pathlib
import shutil
import struct
import sys

from peers import engines, protocol
from peers.failure import BAD_INPUT, INTERNAL, Failure

TORCH_DRIVER = pathlib.Path(__file__).resolve().parent / "torch_training.py"
# Of both sides. The learning rate is small enough for a few steps from anywhere.
OPTIMISER = {"learning_rate": 1e-4, "betas": (0.9, 0.95), "epsilon": 1e-8, "weight_decay": 0.1, "clip_norm": 1.0}
# Nats, of a step's mean loss: fp32 sums of another order, and routes that these decide.
LOSS_TOLERANCE = 1e-3
# The same of sequences so long that indexers choose blocks: with few heads many scores are exactly 0, and which of
# equal ones is chosen is each side's own affair.
CHOSEN_TOLERANCE = 0.05
CHECKED_STEPS = 2  # and the one before
SHARD_HEADER_BYTES = 128
INDEXED_RATIO = 4  # tokens of a block that an indexer chooses
LEAST_VOCABULARY, MOST_VOCABULARY = 258, 32768  # of a tokenizer that is made here


def make_model(fathom, source, folder):
    """A checkpoint in float32 without MTP block, which transformers has not; (folder, its config.json)."""
    shape = folder / "shape"
    engines.run([fathom, "synth", *source, "--out", shape])
    config = json.loads((shape / "config.json").read_text())
    shutil.rmtree(shape)
    config["compress_ratios"] = config["compress_ratios"][:config["num_hidden_layers"]]
    config["num_nextn_predict_layers"] = 0
    (folder / "config.json").write_text(json.dumps(config))
    engines.run([fathom, "synth", "--config", folder / "config.json", "--storage", "f32", "--out", folder / "model"])
    return folder / "model", config


def make_data(fathom, text, vocab_size, folder):
    """One document of all the text, so that its sequences are known: (data set, file of its tokens, their number)."""
    if vocab_size < LEAST_VOCABULARY:
        raise Failure(BAD_INPUT, f"vocab_size: found {vocab_size}, expected at least {LEAST_VOCABULARY}: a model of "
                      "text has a token for every byte")
    path, data, tokens = folder / "text.txt", folder / "data", folder / "tokens.i32"
    path.write_text(text)
    engines.run([fathom, "data", "build", path, "--out", data, "--train-tokenizer", min(vocab_size, MOST_VOCABULARY)])
    shards = sorted(data.glob("shard-*"))
    if len(shards) != 1:
        raise Failure(BAD_INPUT, f"the text makes {len(shards)} shards, expected one: give a shorter --text")
    found = tokens_of(shards[0].read_bytes())
    with open(tokens, "wb") as file:
        found.tofile(file)
    return data, tokens, len(found)


def tokens_of(shard):
    """The tokens of a shard (fathom/train/data/shard_format.h) as 32-bit integers in the file's order of bytes."""
    if shard[:8] != b"FathomSh":
        raise Failure(INTERNAL, f"a shard begins with {shard[:8]!r}, expected FathomSh")
    token_bytes, = struct.unpack_from("<I", shard, 16)
    num_tokens, = struct.unpack_from("<q", shard, 56)
    found = array.array({2: "H", 4: "i"}[token_bytes])
    found.frombytes(shard[SHARD_HEADER_BYTES:SHARD_HEADER_BYTES + token_bytes * num_tokens])
    if sys.byteorder == "big":
        found.byteswap()
    tokens = array.array("i", found)
    if sys.byteorder == "big":
        tokens.byteswap()
    return tokens


class FathomTraining(engines.Fathom):
    """A process per turn; its first step, which also asks for memory, is not timed."""

    def __init__(self, binary, model, threads, setup):
        super().__init__(binary, model, threads, "high")
        self.setup, self.losses = setup, []

    def costs(self):
        setup = self.setup
        cost = engines.run_json([self.binary, "plan", self.model, "--train", "--train-context",
                                 setup["sequence_tokens"], "--train-tokens", self.step_tokens(), "--json"])
        return {"flop_per_token": cost["training"]["flop_per_token_with_attention"],
                "flop_per_token_6nd": cost["training"]["flop_per_token_6nd"],
                "parameters": cost["parameters"]["total"], "active_parameters": cost["parameters"]["active"]}

    def step_tokens(self):
        return self.setup["sequence_tokens"] * self.setup["step_sequences"]

    def settings(self, folder):
        setup, never = self.setup, 10**9
        return {
            "run.folder": folder, "run.numerics": self.numerics, "run.expert_shares_every": 0,
            "model.path": self.model, "data.folders": [str(setup["data"])],
            "data.sequence_tokens": setup["sequence_tokens"], "data.batch_sequences": setup["batch_sequences"],
            "data.step_sequences": setup["step_sequences"],
            "schedule.steps": 1 + setup["steps"], "schedule.kind": "constant",
            "schedule.peak": OPTIMISER["learning_rate"], "optimizer.matrices": "adamw",
            "optimizer.beta1": OPTIMISER["betas"][0], "optimizer.beta2": OPTIMISER["betas"][1],
            "optimizer.epsilon": OPTIMISER["epsilon"], "optimizer.weight_decay": OPTIMISER["weight_decay"],
            "optimizer.vectors_decay": True, "optimizer.clip_norm": OPTIMISER["clip_norm"],
            # What transformers has not: other losses, and biases that move.
            "loss.mtp": 0, "loss.mtp_in_decay": 0, "loss.balance": 0, "loss.indexer": 0, "loss.router_bias_speed": 0,
            "loss.recompute": setup["recompute"], "quantisation.storage": "f32", "quantisation.aware": False,
            "checkpoint.every": never}

    def measure(self, figure):
        folder = self.setup["folder"] / "run"
        shutil.rmtree(folder, ignore_errors=True)
        nothing = self.setup["folder"] / "settings.toml"
        nothing.write_text("")
        words = [self.binary, "train", nothing, "--threads", self.threads, "--json"]
        for key, value in self.settings(folder).items():
            words += ["--set", f"{key}={value if isinstance(value, pathlib.Path) else json.dumps(value)}"]
        self.report = engines.run_json(words)
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        steps = [line for line in lines if line["event"] == "step"]
        shutil.rmtree(folder)
        if len(steps) != 1 + self.setup["steps"]:
            raise Failure(INTERNAL, f"fathom train: {len(steps)} steps in metrics.jsonl, expected "
                          f"{1 + self.setup['steps']}")
        self.losses = [step["loss"] for step in steps]
        self.peaks.append(self.report.get("peak_rss_bytes"))
        seconds = sum(figure.tokens / step["tokens_per_s"] for step in steps[1:])
        return figure.tokens * self.setup["steps"] / seconds, "fp32 peak"


class TorchTraining(engines.Conversation):
    """A process that stays. Its first step is not timed either; each turn goes on where the last one ended."""

    def __init__(self, python, model, threads, setup):
        super().__init__("pytorch")
        self.python, self.setup, self.losses = python, setup, []
        self.settings = {"model": str(model), "tokens": str(setup["tokens"]), "threads": threads,
                         **{key: setup[key] for key in ("sequence_tokens", "batch_sequences", "step_sequences",
                                                        "experts")}, **OPTIMISER}
        engines.run([python, "-c", "import numpy, torch, transformers"])

    def prepare(self):
        # -P: beside the driver is numbers.py, which Python's own libraries would take for theirs.
        self.start([self.python, "-P", TORCH_DRIVER, json.dumps(self.settings)],
                   **({} if self.setup["spins"] else {"OMP_WAIT_POLICY": "PASSIVE"}))
        self.ask_for_steps(1)

    def ask_for_steps(self, count):
        reply = self.ask({"steps": count})
        self.losses += reply["losses"]
        return sum(reply["seconds"])

    def measure(self, figure):
        return figure.tokens * self.setup["steps"] / self.ask_for_steps(self.setup["steps"]), None

    def facts(self):
        facts = self.ask({"facts": True})
        return {"version": f"{facts['torch']}, transformers {facts['transformers']}", "commit": None, "backend": None,
                "note": f"eager, experts by {facts['experts']}, threads "
                        f"{'wait as they usually do' if self.setup['spins'] else 'sleep while they wait'}",
                "load_s": None,
                "peak_rss_bytes": facts["peak_rss_bytes"]}


def check_agreement(fathom, torch, config):
    """A Failure unless both compute the same on sequences so short that indexers have nothing to choose."""
    batch = fathom.setup["batch_sequences"]
    setup = {**fathom.setup, "step_sequences": 2 * batch, "steps": CHECKED_STEPS,
             "sequence_tokens": min(fathom.setup["sequence_tokens"], INDEXED_RATIO * config.get("index_topk", 1))}
    figure = protocol.Figure("train", setup["step_sequences"] * setup["sequence_tokens"])
    ours = FathomTraining(fathom.binary, fathom.model, fathom.threads, setup)
    theirs = TorchTraining(torch.python, fathom.model, fathom.threads, setup)
    try:
        ours.measure(figure)
        theirs.prepare()
        theirs.measure(figure)
    finally:
        theirs.close()
    compare_losses(ours, theirs, LOSS_TOLERANCE)


def compare_losses(fathom, torch, tolerance=CHOSEN_TOLERANCE):
    """How far apart the losses of the same steps are; a Failure where it is too far for the same computation."""
    pairs = list(zip(fathom.losses, torch.losses))
    for step, (ours, theirs) in enumerate(pairs, 1):
        if not abs(ours - theirs) <= tolerance:
            raise Failure(INTERNAL, f"loss of step {step}: {ours:.6f} by fathom, {theirs:.6f} by pytorch, expected at "
                          f"most {tolerance} between them: the two do not compute the same")
    return {"fathom": [ours for ours, _ in pairs], "pytorch": [theirs for _, theirs in pairs],
            "largest_difference": max(abs(ours - theirs) for ours, theirs in pairs)}
