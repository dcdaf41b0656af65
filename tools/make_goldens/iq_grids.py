#!/usr/bin/env python3
"""Writes the tables of fathom/compute/numeric/iq_grids.cc from the facts in PyPI gguf.

usage: tools/make_goldens/iq_grids.py > fathom/compute/numeric/iq_grids.inc   (needs: pip install gguf)

Each row of a grid becomes one 16-bit number: element j is bits [j * width, (j + 1) * width), an
index into the grid's list of values.
"""
import gguf.quants as quants

GRIDS = ["IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ1_S"]


def main():
    for name in GRIDS:
        kind = getattr(quants, name)
        kind.init_grid()
        rows, elements = kind.grid_shape
        width = 16 // 8 if elements == 8 else 3
        grid = kind.grid.reshape(rows, elements)
        packed = [sum(kind.grid_map.index(int(value)) << (width * j) for j, value in enumerate(row)) for row in grid]
        constant = "kPacked" + "".join(part.capitalize() for part in name.split("_"))
        print(f"// {name}: values {', '.join(map(str, kind.grid_map))}.")
        print(f"constexpr std::uint16_t {constant}[{rows}] = {{")
        for start in range(0, rows, 12):
            print("    " + " ".join(f"0x{value:04x}," for value in packed[start:start + 12]))
        print("};\n")


if __name__ == "__main__":
    main()
