#!/usr/bin/env python3
"""Renders docs/backends.md: which op has a kernel on which backend, and which format decodes fast where.

usage: tools/render_backend_matrix.py            fail if docs/backends.md is not what the sources say
       tools/render_backend_matrix.py --write    write it

Ops, formats and instruction sets are read from the sources that compute with them. What cannot be read
there, on what machine something has run, stands in ISA_STATES below.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/backends.md"
OPS = ROOT / "fathom/compute/ops"
REFERENCE = ROOT / "fathom/compute/backends/reference"
CPU = ROOT / "fathom/compute/backends/cpu"

CHECKED = "runs, checked (on a machine with AVX-512)"
ISA_STATES = {  # instruction set of the cpu backend -> (hardware, state)
    "amx": ("x86-64 with AVX-512, VNNI, BF16 and matrix tiles (AMX)", "runs, checked (on a machine with AMX)"),
    "avx3_bf16": ("x86-64 with AVX-512, VNNI and BF16", "runs, checked (on a machine with AVX512_BF16)"),
    "avx3_dl": ("x86-64 with AVX-512 and VNNI", CHECKED),
    "avx3": ("x86-64 with AVX-512", CHECKED),
    "avx2_vnni": ("x86-64 with AVX2, FMA and AVX-VNNI", "runs, checked (on a machine with AVX-512 and AVX-VNNI)"),
    "avx2": ("x86-64 with AVX2 and FMA", CHECKED),
    "sse4": ("x86-64 with SSE4.2", CHECKED),
    "ssse3": ("x86-64 with SSSE3", CHECKED),
    "neon_i8mm": ("64-bit Arm with products of matrices of bytes (i8mm)",
                  "runs under qemu, checked; not run on silicon"),
    "neon_dot": ("64-bit Arm with products of bytes (dotprod)", "runs under qemu, checked; not run on silicon"),
    "neon": ("64-bit Arm", "runs under qemu, checked; not run on silicon"),
    "wasm": ("WebAssembly", "named in the table, not compiled yet"),
    "emu128": ("any, vectors emulated by Highway", "named in the table, not compiled in our builds"),
    "scalar": ("any", "named in the table, not compiled in our builds"),
}


def fail(message):
    sys.exit(f"tools/render_backend_matrix.py: {message}")


def read_all(folder):
    return "\n".join(file.read_text() for file in sorted(folder.iterdir()) if file.suffix in (".cc", ".h"))


def found(pattern, text, where):
    matches = re.findall(pattern, text)
    if not matches:
        fail(f"found nothing like {pattern} in {where}")
    return matches


def op_rows():
    """(entry, stem of its op header, state in the reference, state in cpu) for every kernel."""
    entries = found(r'visit\("(\w+)"', (OPS / "kernel_table.h").read_text(), "kernel_table.h")
    struct_of = dict((name, args) for args, name in
                     found(r"Kernel<(\w+)<Real>> (\w+);", (OPS / "kernel_table.h").read_text(), "kernel_table.h"))
    header_of = {args: header.stem for header in OPS.glob("*.h")
                 for args in re.findall(r"(?:struct|using) (\w+Args) (?:\{|=)", header.read_text())}
    reference = set(found(r"table\.(\w+) = \{", read_all(REFERENCE), REFERENCE))
    cpu = dict(found(r"table\.(\w+) = \{(select|&)", read_all(CPU), CPU))
    unknown = (reference | set(cpu)) - set(entries)
    if unknown:
        fail(f"backends fill {sorted(unknown)}, which kernel_table.h does not visit")
    for entry in entries:
        vector = {"select": "vectorised, threaded", "&": "scalar rows, threaded", None: "the reference's"}[cpu.get(entry)]
        yield entry, header_of[struct_of[entry]], "yes" if entry in reference else "missing", vector


def format_rows():
    """(format, bytes per block, state in cpu): the reference decodes every one."""
    table = (ROOT / "fathom/compute/numeric/weight_format.cc").read_text()
    rows = found(r'\{WeightFormat::(\w+), "(\w+)", (\d+), (\d+)\}', table, "weight_format.cc")
    fast = set(found(r"case WeightFormat::(\w+):", (CPU / "decode-inl.h").read_text(), "decode-inl.h"))
    for enumerator, name, columns, size in rows:
        decoding = "decoded by vectors" if enumerator in fast else "decoded by the scalar code"
        yield name, f"{8 * int(size) / int(columns):g}", decoding


def isa_rows():
    names = found(r'"cpu:(\w+)",(?: \.target =)? HWY_\w+', (CPU / "kernels.cc").read_text(), "cpu/kernels.cc")
    if set(names) != set(ISA_STATES):
        fail(f"cpu/kernels.cc lists {sorted(names)}, ISA_STATES has {sorted(ISA_STATES)}")
    for name in names:
        yield f"`cpu:{name}`", *ISA_STATES[name]


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def render():
    ops = [(f"`{entry}`", f"`ops/{stem}.h`", reference, cpu) for entry, stem, reference, cpu in op_rows()]
    return f"""# Backends

Rendered by `tools/render_backend_matrix.py --write` from the sources; the gate fails when it is stale.

A backend fills entries of the kernel table (`fathom/compute/ops/kernel_table.h`). The reference fills all of
them, in fp32 and in double, and is the specification; an entry that another backend lacks falls to it, and
results name it. Contract tests (`tests/contract`) compare every kernel with the reference on every instruction
set that the machine has.

## Instruction sets of the cpu backend

Every vectorised kernel is compiled for each set from one source; the best one of the machine is chosen at run
time, `--backend cpu:avx2` chooses another.

{table(("backend", "hardware", "state"), isa_rows())}

Accelerators (CUDA, HIP, SYCL, NPUs): no backend yet.

## Ops

{table(("kernel", "contract", "reference", "cpu"), ops)}

## Formats of weights

`linear` and `expert_linear` take every format on both backends. Products and sums are the vectorised kernel's
in all of them; what differs on `cpu` is how a block of weights becomes fp32.

{table(("format", "bits per weight, scales within the block included", "cpu"), format_rows())}
"""


def main():
    text = render()
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(text)
        return 0
    if not PAGE.exists() or PAGE.read_text() != text:
        fail("docs/backends.md is stale: run tools/render_backend_matrix.py --write")
    print("backends: docs/backends.md is what the sources say")
    return 0


if __name__ == "__main__":
    sys.exit(main())
