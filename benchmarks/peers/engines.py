"""The engines that are compared, each asked for one figure at a time."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from peers import quiet, tokens
from peers.failure import BAD_INPUT, INTERNAL, Failure

NODE_DRIVER = pathlib.Path(__file__).resolve().parent / "node_llama.mjs"
NODE_PACKAGE = "node-llama-cpp@3.22.1"
JAVASCRIPT_NOTE = "through npm node-llama-cpp, whose JavaScript adds time to every token"


def last_words(text, count=300):
    return " ".join(text.split())[-count:]


def stop(process):
    """Ends a child of ours and collects it, so that its CPU time is counted."""
    if process.poll() is None:
        process.kill()
    process.wait()


def run(words, **environment):
    """stdout of a program; it is killed when we are interrupted, and a terminal's Ctrl-C reaches only us."""
    words = [str(word) for word in words]
    try:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                   text=True, start_new_session=True, env={**os.environ, **environment})
    except OSError as error:
        raise Failure(BAD_INPUT, f"{words[0]} does not start: {error.strerror}") from error
    try:
        out, err = process.communicate()
    finally:
        stop(process)
    if process.returncode != 0:
        raise Failure(INTERNAL, f"{' '.join(words)} ended with {process.returncode}: {last_words(err or out)}")
    return out


def run_json(words, **environment):
    out = run(words, **environment)
    try:
        return json.loads(out)
    except ValueError:
        raise Failure(INTERNAL, f"{words[0]}: expected JSON on stdout, found {last_words(out)!r}") from None


def commit_of(path):
    """Commit of the repository that a file lies in, with + where tracked files were changed; None outside one."""
    def git(*words):
        return subprocess.run(["git", "-C", str(path.parent), *words], capture_output=True, text=True, check=False)

    try:
        head = git("rev-parse", "--short=12", "HEAD")
        if head.returncode != 0:
            return None
        return head.stdout.strip() + ("+" if git("status", "--porcelain", "-uno").stdout.strip() else "")
    except OSError:
        return None


class Fathom:
    name = "fathom"

    def __init__(self, binary, model, threads, numerics):
        self.binary, self.model, self.threads, self.numerics = pathlib.Path(binary), model, threads, numerics
        if not (self.binary.is_file() and os.access(self.binary, os.X_OK)):
            raise Failure(BAD_INPUT, f"no program at {self.binary}: build it (cmake --preset release && ninja -C "
                          "build/release fathom) or give --fathom PATH")
        self.report, self.loads, self.peaks = {}, [], []

    def shape(self):
        return run_json([self.binary, "inspect", self.model, "--json"])["shape"]

    def prepare(self):
        pass

    def limits(self):
        """What the machine can do at this moment."""
        words = [self.binary, "bench", "--probe-only", "--json", "--threads", self.threads]
        machine = run_json(words)["machine"]
        return {key: machine[key] for key in ("read_gb_s", "int8_tops", "bf16_tflops", "fp32_tflops")}

    def costs(self):
        """What shares are counted with; known once a figure was measured."""
        return {key: self.report[key] for key in ("bytes_per_token", "macs_per_token", "file_bytes", "family",
                                                  "weights")}

    def measure(self, figure):
        is_prefill = figure.phase == "prefill"
        words = [self.binary, "bench", self.model, "--prompt", figure.tokens if is_prefill else 1,
                 "--decode", 1 if is_prefill else figure.tokens, "--context", figure.context, "--batch", 1,
                 "--reps", 1, "--threads", self.threads, "--numerics", self.numerics, "--skip-kernels", "--json"]
        self.report = run_json(words)
        cells = [cell for cell in self.report[figure.phase] if cell["tokens"] == figure.tokens]
        if not cells:
            raise Failure(BAD_INPUT, f"{figure}: fathom skipped it: {json.dumps(self.report['skipped'])[:300]}")
        self.loads.append(self.report["load_s"])
        self.peaks.append(self.report["peak_rss_bytes"])
        return cells[0]["tokens_per_s"], cells[0]["limit"]

    def facts(self):
        return {"version": run([self.binary, "--version"]).strip().removeprefix("fathom "),
                "commit": commit_of(self.binary.resolve()), "backend": self.report.get("backend"), "note": None,
                "load_s": sorted(self.loads)[len(self.loads) // 2] if self.loads else None,
                "peak_rss_bytes": max((peak for peak in self.peaks if peak), default=None)}

    def cpu_s(self):
        return 0.0  # no process outlives a figure

    def close(self):
        pass


class Conversation:
    """A process that stays, sleeps while others are measured, and answers lines of JSON with lines of JSON."""

    def __init__(self, name):
        self.name, self.process, self.errors = name, None, None

    def start(self, words, **environment):
        self.errors = tempfile.TemporaryFile("w+")
        try:
            self.process = subprocess.Popen([str(word) for word in words], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, stderr=self.errors, text=True,
                                            start_new_session=True, env={**os.environ, **environment})
        except OSError as error:
            raise Failure(BAD_INPUT, f"{words[0]} does not start: {error.strerror}") from error

    def ask(self, request):
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.process.wait()
            self.errors.seek(0)
            words = last_words(self.errors.read())
            raise Failure(INTERNAL, f"{self.name} ended with {self.process.returncode}: {words}")
        try:
            return json.loads(line)
        except ValueError:
            raise Failure(INTERNAL, f"{self.name}: expected JSON, found {last_words(line)!r}") from None

    def cpu_s(self):
        if self.process is None or self.process.returncode is not None:
            return 0.0
        found = quiet.process_times(self.process.pid)
        return found[1][1] if found else 0.0

    def close(self):
        if self.process is not None:
            stop(self.process)


class NodeLlama(Conversation):
    """llama.cpp in a Node process that stays: it is loaded once."""

    def __init__(self, node, node_dir, model, threads, cache_type):
        super().__init__("llama.cpp (npm)")
        self.node, self.node_dir, self.model = node, pathlib.Path(node_dir), model
        self.threads, self.cache_type = threads, cache_type
        self.shape, self.context_size = None, 0
        if not (self.node_dir / "node_modules/node-llama-cpp/dist/index.js").is_file():
            raise Failure(BAD_INPUT, f"no node_modules/node-llama-cpp in {self.node_dir}: run tools/install_oracles, "
                          f"or `npm install --ignore-scripts {NODE_PACKAGE}` in a folder and give --node-dir FOLDER; "
                          "--no-node leaves this engine out")
        if shutil.which(str(node)) is None:
            raise Failure(BAD_INPUT, f"no Node at {node}: run tools/install_oracles or give --node PATH (Node 20 or "
                          "later); --no-node leaves this engine out")

    def plan(self, shape, figures):
        """Tells what will be asked, which decides how large a context is made."""
        self.shape = shape
        largest = max(figure.tokens + figure.tokens_before for figure in figures)
        self.context_size = -(-(largest + 1) // 256) * 256

    def prepare(self):
        """Starts the process and waits until the model is loaded and warm."""
        self.start([self.node, NODE_DRIVER, self.model, self.threads, self.context_size, self.cache_type.upper()],
                   FATHOM_NODE_DIR=str(self.node_dir))
        self.ask({"facts": True})

    def measure(self, figure):
        before, measured = tokens.draw(figure, self.shape["vocab_size"], self.shape["max_context_tokens"])
        reply = self.ask({"before": before, "prompt" if figure.phase == "prefill" else "steps": measured})
        return figure.tokens / reply["seconds"], None

    def facts(self):
        facts = self.ask({"facts": True})
        return {"version": f"{facts['release']}, node-llama-cpp {facts['package']}", "commit": None, "backend": None,
                "note": JAVASCRIPT_NOTE, "load_s": facts["load_s"], "peak_rss_bytes": facts["peak_rss_bytes"]}


class LlamaBench:
    """llama.cpp's or ik_llama.cpp's own llama-bench. It draws tokens of its own; each run loads the model."""

    def __init__(self, name, binary, model, threads, cache_type):
        self.name, self.binary, self.model = name, pathlib.Path(binary), model
        self.threads, self.cache_type, self.row = threads, cache_type, {}
        if not (self.binary.is_file() and os.access(self.binary, os.X_OK)):
            raise Failure(BAD_INPUT, f"no program at {self.binary}: build llama-bench of llama.cpp or ik_llama.cpp and "
                          "give --llama-bench NAME=PATH")
        # Libraries lie beside the program in a build folder.
        folders = f"{self.binary.resolve().parent}:{os.environ.get('LD_LIBRARY_PATH', '')}"
        self.environment = {"LD_LIBRARY_PATH": folders}
        options = run([self.binary, "--help"], **self.environment)
        if re.search(r"--n-depth\b", options):
            self.behind = lambda before, count: ["-n", count, "-d", before]
        elif re.search(r"(?<![\w-])-gp\b", options):  # ik_llama.cpp
            self.behind = lambda before, count: ["-n", 0, "-gp", f"{before},{count}"]
        else:
            raise Failure(BAD_INPUT, f"{self.binary} --help names neither --n-depth nor -gp: it cannot decode behind a "
                          "prompt, so it is too old or no llama-bench")

    def prepare(self):
        pass

    def measure(self, figure):
        if figure.phase == "prefill":
            task = ["-p", figure.tokens, "-n", 0]
        else:
            task = ["-p", 0, *self.behind(figure.tokens_before, figure.tokens)]
        words = [self.binary, "-m", self.model, "-t", self.threads, "-ngl", 0, "-ub", 512, "-ctk", self.cache_type,
                 "-ctv", self.cache_type, "-r", 1, "-o", "json", *task]
        out = run(words, **self.environment)
        try:
            rows = json.loads(out[out.index("["):])
            (self.row,) = [row for row in rows if bool(row["n_gen"]) == (figure.phase == "decode")]
            return float(self.row["samples_ts"][0]), None
        except (ValueError, KeyError, IndexError, TypeError):
            raise Failure(INTERNAL, f"{self.binary}: expected one row with samples_ts for {figure}, found "
                          f"{last_words(out)!r}") from None

    def facts(self):
        return {"version": f"{self.row.get('build_number', 'unknown')}", "commit": self.row.get("build_commit"),
                "backend": self.row.get("cpu_info"), "note": None, "load_s": None, "peak_rss_bytes": None}

    def cpu_s(self):
        return 0.0

    def close(self):
        pass
