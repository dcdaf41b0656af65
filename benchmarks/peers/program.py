"""What the programs that compare engines have in common: options, interruption, exit codes."""
import json
import pathlib
import signal
import sys

from peers import quiet
from peers.failure import INTERRUPTED, Failure

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build"


def say(text):
    print(text, file=sys.stderr, flush=True)


def positive(kind):
    def parse(text):
        number = kind(text)
        if not number > 0:
            raise ValueError
        return number
    parse.__name__ = "positive number"
    return parse


def add_calm_options(parser):
    calm = parser.add_argument_group("a quiet machine")
    calm.add_argument("--quiet-share", type=positive(float), default=quiet.USUAL_SHARE, metavar="X",
                      help="another process may use so much of one processor, all together twice as much (0.05)")
    calm.add_argument("--quiet-seconds", type=positive(float), default=2, metavar="S",
                      help="for so long before each measurement (2)")
    calm.add_argument("--patience", type=positive(float), default=600, metavar="S",
                      help="give up after waiting so long before one measurement (600)")


def code_of(name, steps):
    """The exit code of steps(), said where it was cut short: what is complete can still be reported."""
    try:
        steps()
        return 0
    except KeyboardInterrupt:
        say(f"{name}: interrupted")
        return INTERRUPTED
    except Failure as failure:
        say(f"{name}: {failure}")
        return failure.code


def run(name, options, measure, table):
    """Prints the record that measure(options) returns beside an exit code: as JSON, or by table(record)."""
    def interrupt(*_):
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        record, code = measure(options)
    except Failure as failure:
        say(f"{name}: {failure}")
        return failure.code
    except KeyboardInterrupt:
        say(f"{name}: interrupted")
        return INTERRUPTED
    if record:
        print(json.dumps(record, allow_nan=False) if options.json else table(record))
    return code
