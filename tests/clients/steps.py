"""What the Python drivers of API clients share: named steps, one line of output each, an exit code."""
import argparse
import contextlib
import json
import pathlib
import time
import traceback

MODEL = "test-model"
_steps = []


def step(function=None, *, scripted=False):
    """Registers a step; its docstring names it. A scripted one needs the replay server's models."""
    def register(f):
        _steps.append((f, scripted))
        return f
    return register(function) if function else register


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--base-url", required=True, help="the server: http://127.0.0.1:PORT")
    parser.add_argument("--key", required=True, help="the API key")
    parser.add_argument("--model", help="a real model to talk to; without, the replay server's are expected")
    parser.add_argument("--log", type=pathlib.Path, help="where the replay server logs its requests")
    return parser.parse_args()


def run(options, *context):
    """Runs all steps that suit the server; 0 when all passed, else 1."""
    failed = 0
    chosen = [f for f, scripted in _steps if not (scripted and options.model)]
    for function in chosen:
        try:
            function(*context)
            print("ok    ", function.__doc__, flush=True)
        except Exception:
            failed += 1
            print("FAILED", function.__doc__, flush=True)
            traceback.print_exc()
    print(f"{len(chosen) - failed} passed, {failed} failed")
    return 1 if failed or not chosen else 0


def script(*turns):
    """A user message that tells the replay server's models what to answer, one turn after another."""
    return "Do as told: " + " ".join("«" + json.dumps(turn, ensure_ascii=False) + "»" for turn in turns)


def same(found, expected, what=""):
    if found != expected:
        raise AssertionError(f"{what}: found {found!r}, expected {expected!r}")


def check(condition, what):
    if not condition:
        raise AssertionError(what)


@contextlib.contextmanager
def raises(kind, status=None, *fragments):
    """The block must raise exactly this class of the client library; yields what will have its `error`."""
    caught = argparse.Namespace()
    try:
        yield caught
    except Exception as error:
        caught.error = error
        if type(error) is not kind:
            raise AssertionError(f"found {type(error).__name__} ({error}), expected {kind.__name__}") from error
        if status is not None:
            same(error.status_code, status, "status")
        for fragment in fragments:
            check(fragment in str(error), f"{fragment!r} is missing in: {error}")
        return
    raise AssertionError(f"nothing was raised, expected {kind.__name__}")


def log_lines(options, *fragments):
    return [line for line in options.log.read_text().splitlines() if all(fragment in line for fragment in fragments)]


def wait_for_log(options, num_lines, *fragments):
    """Waits until the server's log has that many lines with all the fragments: they come after the answers."""
    for _ in range(100):
        if len(log_lines(options, *fragments)) >= num_lines:
            break
        time.sleep(0.1)
    same(len(log_lines(options, *fragments)), num_lines, f"lines with {fragments} in the server's log")


@contextlib.contextmanager
def cancels(options, path):
    """The block must leave a request of this path that the server does not serve to its end."""
    broken = path + " 200 the "  # and why it was not
    num_before = len(log_lines(options, broken))
    yield
    wait_for_log(options, num_before + 1, broken)
