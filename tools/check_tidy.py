#!/usr/bin/env python3
"""Runs clang-tidy-19 with .clang-tidy over the library and the program; fails on any finding.

usage: tools/check_tidy.py [--build build/release] [FILE...]    (default: every .cc of fathom/ and apps/)

Reads the build's compile_commands.json, so the build must be configured. Headers are read through the
sources that include them.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROOTS = ("fathom", "apps")
# Options that g++ knows and clang does not.
UNKNOWN_TO_CLANG = re.compile(r"-fno-trapping-math$|-Wno-tsan$")


def commands(build, wanted):
    """The entries of the compilation database that are ours, as clang takes them."""
    for entry in json.loads((build / "compile_commands.json").read_text()):
        file = pathlib.Path(entry["directory"], entry["file"]).resolve()
        relative = file.relative_to(ROOT) if file.is_relative_to(ROOT) else None
        if relative is None or (file not in wanted if wanted else relative.parts[0] not in ROOTS):
            continue
        if "_verify_interface_header_sets" in entry.get("output", entry["command"]):
            continue
        arguments = [part for part in shlex.split(entry["command"]) if not UNKNOWN_TO_CLANG.match(part)]
        if arguments[0].endswith("ccache"):
            arguments.pop(0)
        yield {"directory": entry["directory"], "file": str(file), "arguments": arguments}


def lint(database, file):
    result = subprocess.run(["clang-tidy-19", "--quiet", "-p", database, file], capture_output=True, text=True,
                            check=False)
    # On stderr it counts the findings in other people's headers that it does not show.
    return result.returncode, result.stdout + (result.stderr if result.returncode and not result.stdout else "")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=ROOT / "build/release", type=pathlib.Path)
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    options = parser.parse_args()
    wanted = {file.resolve() for file in options.files}
    entries = list(commands(options.build, wanted))
    if not entries:
        sys.exit(f"tools/check_tidy.py: {options.build}/compile_commands.json has none of the sources")
    failed = False
    blocks = set()  # a header's finding comes once for every source that includes it
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as database:
        pathlib.Path(database, "compile_commands.json").write_text(json.dumps(entries))
        with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            runs = pool.map(lambda entry: lint(database, entry["file"]), entries)
            for done, (status, output) in enumerate(runs, 1):
                failed |= status != 0
                new = set(re.split(r"\n(?=/)", output.strip())) - blocks if status else set()
                blocks |= new
                for block in sorted(new):
                    print(block, flush=True)
                minutes = (time.monotonic() - start) / 60
                print(f"tidy: {done} of {len(entries)} sources, {done / minutes:.1f} a minute, "
                      f"{minutes / done * (len(entries) - done):.0f} minutes left", file=sys.stderr, flush=True)
    print(f"tidy: {len(entries)} sources, {len(blocks)} findings")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
