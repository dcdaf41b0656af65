"""Records of compare_peers: what they hold is in benchmarks/README.md."""
import contextlib
import datetime
import fcntl
import json
import math
import os
import pathlib
import platform
import re
import tempfile

from peers.failure import BAD_INPUT, IO, Failure
from peers.protocol import LIMITS

SCHEMA = 1
REQUIRED = (("machine", "name", str), ("model", "label", str), ("model", "weights", str), ("model", "file_bytes", int),
            ("settings", "threads", int), ("settings", "numerics", str))
ENGINE_KEYS = ("name", "version", "commit", "load_s", "peak_rss_bytes")


def machine_facts(name=None):
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text(errors="replace")

    def value(key, default):
        found = re.search(rf"^(?:{key})\s*:\s*(.*)$", cpuinfo, re.M)
        return found[1] if found else default

    flags = set(value("flags|Features", "").split())
    cpu = value("model name", platform.machine())
    is_virtual = "hypervisor" in flags
    count = os.cpu_count()
    return {"name": name or f"{count} {'virtual ' if is_virtual else ''}processors of {cpu}", "cpu": cpu,
            "cpu_family": value("cpu family", None), "cpu_model": value("model", None), "processors": count,
            "is_virtual": is_virtual, "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "kernel": platform.release()}


def utc_now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def require(condition, path, where, expected):
    if not condition:
        raise Failure(BAD_INPUT, f"{path}: {where}: expected {expected}")


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def check_figure(path, where, figure):
    require(isinstance(figure, dict) and figure.get("phase") in ("prefill", "decode"), path, where,
            "phase prefill or decode")
    for key in ("tokens", "context"):
        require(isinstance(figure.get(key), int), path, f"{where}.{key}", "an integer")
    require(figure.get("limit") in LIMITS, path, f"{where}.limit", f"one of {', '.join(LIMITS)}")
    for idx, engine in enumerate(figure.get("engines") or [None]):
        here = f"{where}.engines[{idx}]"
        require(isinstance(engine, dict) and isinstance(engine.get("name"), str), path, here, "an object with a name")
        require(is_number(engine.get("tokens_per_s")) and engine["tokens_per_s"] > 0, path, f"{here}.tokens_per_s",
                "a positive number")
        for key in ("low", "high", "share", "share_low", "share_high"):
            require(key in engine and (engine[key] is None or is_number(engine[key])), path, f"{here}.{key}",
                    "a number or null")
    for idx, pair in enumerate(figure.get("pairs") or [None]):
        require(isinstance(pair, dict) and all(isinstance(sample, dict) and is_number(sample.get("others"))
                                               for sample in pair.values()) and pair, path, f"{where}.pairs[{idx}]",
                "an object of samples with others")
    for idx, ratio in enumerate(figure.get("ratios", [])):
        require(isinstance(ratio, dict) and isinstance(ratio.get("peer"), str) and is_number(ratio.get("ratio")), path,
                f"{where}.ratios[{idx}]", "a peer and a number")


def check(path, records):
    """Raises a Failure that names what is no record of ours; returns the records."""
    require(isinstance(records, list), path, "the file", "a JSON list of records")
    for idx, record in enumerate(records):
        where = f"record {idx}"
        require(isinstance(record, dict) and record.get("schema") == SCHEMA, path, where, f"schema {SCHEMA}")
        for key in ("id", "started"):
            require(isinstance(record.get(key), str), path, f"{where}.{key}", "a string")
        for key, inner, kind in REQUIRED:
            require(isinstance(record.get(key), dict) and isinstance(record[key].get(inner), kind), path,
                    f"{where}.{key}.{inner}", "a string" if kind is str else "an integer")
        for number, engine in enumerate(record.get("engines") or [None]):
            require(isinstance(engine, dict) and set(ENGINE_KEYS) <= set(engine), path, f"{where}.engines[{number}]",
                    f"an object with {', '.join(ENGINE_KEYS)}")
        for number, figure in enumerate(record.get("figures", [])):
            check_figure(path, f"{where}.figures[{number}]", figure)
    return records


def read(path):
    try:
        text = pathlib.Path(path).read_text()
    except OSError as error:
        raise Failure(IO, f"{path}: {error.strerror}") from error
    try:
        records = json.loads(text)
    except ValueError as error:
        raise Failure(BAD_INPUT, f"{path}: not JSON: {error}") from None
    return check(path, records)


@contextlib.contextmanager
def locked(folder):
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


def save(path, record):
    """Appends a record to a file, or replaces the one of the same id.

    The file is written whole beside the old one and then takes its name, so it is complete at every moment,
    whatever kills the program; two programs that append to one file wait for each other.
    """
    path = pathlib.Path(path)
    try:
        with locked(path.parent) as folder:
            records = [old for old in (read(path) if path.exists() else []) if old["id"] != record["id"]]
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
            try:
                with os.fdopen(handle, "w") as file:
                    json.dump(records + [record], file, indent=1, allow_nan=False)
                    file.write("\n")
                    file.flush()
                    os.fsync(file.fileno())
                os.chmod(name, 0o644)
                os.replace(name, path)
            except BaseException:
                pathlib.Path(name).unlink(missing_ok=True)
                raise
            os.fsync(folder)
    except OSError as error:
        raise Failure(IO, f"{path}: {error.strerror}") from error


def check_writable(path):
    """Finds out before hours of measuring that a record could not be kept."""
    path = pathlib.Path(path)
    if path.exists():
        read(path)
    if not (path.parent.is_dir() and os.access(path.parent, os.W_OK)):
        raise Failure(IO, f"{path}: its folder {path.parent} is missing or cannot be written")
