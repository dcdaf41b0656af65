#!/usr/bin/env python3
"""Fails when a source file has no test, or when the list of untested ones is stale.

usage: tools/check_mirror.py

Every fathom/DIR/x.cc needs tests/unit/DIR/x_test.cc, or for ops and kernels tests/contract/x_test.cc,
or a line `fathom/DIR/x.cc: reason` in tests/UNTESTED. Every op with a kernel needs a contract test.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
OPS = "compute/ops"
BACKENDS = "compute/backends/"


def op_stems():
    """Op headers that the kernel table includes: the ops with kernels."""
    table = (ROOT / "fathom" / OPS / "kernel_table.h").read_text()
    return sorted(set(re.findall(rf'#include "fathom/{OPS}/(\w+)\.h"', table)))


def contract_stem(source):
    """The op that a source belongs to: its stem, or the longest op it begins with (linear_avx2)."""
    fits = [op for op in op_stems() if source.stem == op or source.stem.startswith(op + "_")]
    return max(fits, key=len, default=source.stem)


def has_test(source):
    room = str(source.parent.relative_to(ROOT / "fathom"))
    if (ROOT / "tests/unit" / room / f"{source.stem}_test.cc").exists():
        return True
    if room == OPS or room.startswith(BACKENDS):
        return (ROOT / "tests/contract" / f"{contract_stem(source)}_test.cc").exists()
    return False


def read_untested(errors):
    untested = {}
    for number, line in enumerate((ROOT / "tests/UNTESTED").read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        path, _, reason = line.partition(":")
        if not reason.strip():
            errors.append(f"tests/UNTESTED:{number}: expected `path: reason`, found `{line}`")
        if path in untested:
            errors.append(f"tests/UNTESTED:{number}: {path} is listed twice")
        untested[path] = number
    return untested


def main():
    errors = []
    untested = read_untested(errors)
    sources = sorted((ROOT / "fathom").rglob("*.cc"))
    for source in sources:
        path = str(source.relative_to(ROOT))
        number = untested.pop(path, None)
        if has_test(source):
            if number:
                errors.append(f"tests/UNTESTED:{number}: {path} has a test")
        elif not number:
            errors.append(f"{path}: no test, and no line in tests/UNTESTED")
    errors += [f"tests/UNTESTED:{number}: no file {path}" for path, number in untested.items()]
    for op in op_stems():
        if not (ROOT / "tests/contract" / f"{op}_test.cc").exists():
            errors.append(f"fathom/{OPS}/{op}.h: has kernels but no tests/contract/{op}_test.cc")
    for suite in ("unit", "contract"):
        for test in sorted((ROOT / "tests" / suite).rglob("*_test.cc")):
            stem = test.stem.removesuffix("_test")
            rooms = [OPS, *(f"{BACKENDS}{room}" for room in ("reference", "cpu"))]
            rooms = [str(test.parent.relative_to(ROOT / "tests/unit"))] if suite == "unit" else rooms
            if not any((ROOT / "fathom" / room / f"{stem}{suffix}").exists() for room in rooms for suffix in (".cc", ".h")):
                errors.append(f"{test.relative_to(ROOT)}: tests no file of {', '.join('fathom/' + room for room in rooms)}")
    print("\n".join(errors) if errors else f"mirror: {len(sources)} sources, every one tested or excused")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
