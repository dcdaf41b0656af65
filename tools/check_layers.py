#!/usr/bin/env python3
"""Fails on any #include that the architecture does not allow (docs/architecture.md shows the table).

usage: tools/check_layers.py            check includes and the DEPENDS lines of fathom/CMakeLists.txt
       tools/check_layers.py --table    print the table in Markdown
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
EVERYWHERE = "base/core"
MAY_INCLUDE = {  # room -> rooms it may include, besides itself and base/core; not transitive
    "base/core": set(),
    "base/platform": set(),
    "base/formats": set(),
    "base/chart": {"base/formats"},
    "compute/numeric": set(),
    "compute/tensor": {"base/platform", "compute/numeric"},
    "compute/ops": {"compute/numeric", "compute/tensor"},
    "compute/autograd": {"base/platform", "compute/tensor", "compute/ops"},
    "compute/backends/reference": {"compute/numeric", "compute/tensor", "compute/ops"},
    "compute/backends/cpu": {"base/platform", "compute/numeric", "compute/tensor", "compute/ops"},
    "compute/runtime": {"base/platform", "compute/numeric", "compute/tensor", "compute/ops", "compute/backends/reference",
                        "compute/backends/cpu"},
    "model/config": {"base/formats", "compute/numeric"},
    "model/weights": {"base/platform", "base/formats", "compute/numeric", "compute/tensor", "model/config"},
    "model/text": {"base/formats"},
    "model/sampling": {"base/formats"},
    "model/kv": {"base/platform", "compute/numeric", "compute/tensor", "model/config"},
    "model/layers": {"compute/numeric", "compute/tensor", "compute/ops", "model/config", "model/weights", "model/kv"},
    "model/deepseek_v4": {"compute/tensor", "compute/ops", "model/config", "model/weights", "model/kv",
                          "model/layers"},
    "model/llama": {"compute/tensor", "compute/ops", "model/config", "model/weights", "model/kv", "model/layers"},
    "serve/engine": {"base/platform", "compute/tensor", "compute/ops", "model/config", "model/text", "model/kv",
                     "model/layers", "model/sampling"},
    "serve/http": {"base/platform", "base/formats"},
    "serve/wire": {"base/formats", "model/text", "model/sampling", "serve/engine", "serve/http"},
    "serve/openai": {"base/formats", "model/text", "model/sampling", "serve/engine", "serve/http", "serve/wire"},
    "serve/anthropic": {"base/formats", "model/text", "model/sampling", "serve/engine", "serve/http", "serve/wire"},
    "serve/page": {"serve/http"},
    "train/data": {"base/platform", "base/formats", "model/text"},
    "train/optim": {"base/platform", "compute/numeric"},
    "train/loop": {"base/platform", "base/formats", "base/chart", "compute/numeric", "compute/tensor", "compute/ops",
                   "compute/autograd", "model/config", "model/weights", "model/kv", "model/layers", "train/data",
                   "train/optim"},
    "train/tune": {"base/platform", "base/formats", "compute/numeric", "compute/tensor", "compute/ops",
                   "compute/autograd", "model/config", "model/weights", "model/text", "model/kv", "model/layers",
                   "train/data", "train/optim", "train/loop"},
    "study/eval": set(),
    "study/bench": {"base/platform", "compute/numeric", "compute/tensor", "compute/ops", "compute/runtime",
                    "model/config", "model/weights", "model/kv"},
    "study/plan": {"base/formats", "base/chart", "compute/numeric", "model/config"},
}
ANYTHING = {""}  # fathom/fathom.{h,cc}: the door sees every floor


def room_of(path):
    """The longest listed room that contains the path ('' for the door)."""
    return max((room for room in MAY_INCLUDE if path.startswith(room + "/")), key=len, default="")


def include_errors():
    for file in sorted((ROOT / "fathom").rglob("*")):
        if file.suffix not in (".h", ".cc"):
            continue
        room = room_of(str(file.relative_to(ROOT / "fathom")))
        if room in ANYTHING:
            continue
        for number, line in enumerate(file.read_text().splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+["<]fathom/([^">]+)[">]', line)
            if not match:
                continue
            target = room_of(match.group(1))
            if target not in MAY_INCLUDE[room] | {room, EVERYWHERE}:
                yield f"{file.relative_to(ROOT)}:{number}: {room} may not include {match.group(1)}"


def cmake_errors():
    text = (ROOT / "fathom/CMakeLists.txt").read_text()
    listed = {}
    for room, rest in re.findall(r"fathom_library\((\S+)([^)]*)\)", text):
        depends = re.search(r"DEPENDS\s+(.*?)(?:LINK|$)", rest, re.S)
        listed[room] = set(depends.group(1).split()) if depends else set()
    for room, allowed in MAY_INCLUDE.items():
        expected = allowed | ({EVERYWHERE} if room != EVERYWHERE else set())
        if listed.get(room) != expected:
            yield f"fathom/CMakeLists.txt: {room} depends on {listed.get(room)}, the table says {expected}"


def cycle_errors():
    state = {}

    def visit(room, trail):
        if state.get(room) == "done":
            return
        if room in trail:
            yield "cycle: " + " -> ".join([*trail, room])
            return
        for target in MAY_INCLUDE[room]:
            yield from visit(target, [*trail, room])
        state[room] = "done"

    for room in MAY_INCLUDE:
        yield from visit(room, [])


def main():
    if sys.argv[1:] == ["--table"]:
        print("| room | may include |\n|---|---|")
        for room, allowed in MAY_INCLUDE.items():
            print(f"| {room} | {', '.join(sorted(allowed)) or '-'} |")
        return 0
    errors = [*include_errors(), *cmake_errors(), *cycle_errors()]
    print("\n".join(errors) if errors else f"layers: {len(MAY_INCLUDE)} rooms, no forbidden include")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
