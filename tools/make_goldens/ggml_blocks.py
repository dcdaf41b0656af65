#!/usr/bin/env python3
"""Draws random blocks of every ggml format and dequantises them with PyPI gguf.

usage: tools/make_goldens/ggml_blocks.py OUT.safetensors [--seed N] [--blocks N]

Needs: pip install gguf numpy. OUT holds NAME.blocks, U8 [n, block bytes], and NAME.values, F32
[n, block columns]. tests/data/ggml_blocks.safetensors was made with the default arguments.
"""
import argparse
import json
import struct

import gguf
import gguf.quants
import numpy as np

Type = gguf.GGMLQuantizationType
# Where a block has its f16 numbers, in bytes. IQ1_M has its own spread over the scales.
F16_AT = {
    Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0],
    Type.Q2_K: [80, 82], Type.Q3_K: [108], Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208],
    Type.TQ1_0: [52], Type.TQ2_0: [64], Type.MXFP4: [],
    Type.IQ2_XXS: [0], Type.IQ2_XS: [0], Type.IQ2_S: [0], Type.IQ3_XXS: [0], Type.IQ3_S: [0],
    Type.IQ1_S: [0], Type.IQ1_M: [], Type.IQ4_NL: [0], Type.IQ4_XS: [0],
}
# zero, minus zero, least and largest subnormal, least normal, largest, 1, -1
EDGES = np.array([0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x7BFF, 0x3C00, 0xBC00], dtype=np.uint16)


def draw(kind, count, random):
    """`count` blocks [count, block bytes]; the first ones have the edge scales, none gives NaN."""
    size = gguf.GGML_QUANT_SIZES[kind][1]
    blocks = random.integers(0, 256, (count, size), dtype=np.uint8)

    def scales():
        drawn = random.normal(0, 0.02, count).astype(np.float16).view(np.uint16)
        edges = min(len(EDGES), count // 2)
        drawn[:edges] = random.permutation(EDGES)[:edges]
        return drawn

    for at in F16_AT[kind]:
        blocks[:, at:at + 2] = scales()[:, None].view(np.uint8)
    if kind == Type.IQ1_M:
        spread = blocks[:, 48:56].copy().view(np.uint16) & 0x0FFF
        bits = scales()
        for j in range(4):
            spread[:, j] |= (bits >> (4 * j) & 15) << 12
        blocks[:, 48:56] = spread.view(np.uint8)
    if kind == Type.MXFP4:
        blocks[:6, 0] = [0, 1, 2, 127, 253, 252]
    return blocks


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, array in tensors.items():
        raw = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": {"uint8": "U8", "float32": "F32"}[str(array.dtype)], "shape": list(array.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def make(path, seed, count):
    random = np.random.default_rng(seed)
    tensors = {}
    for kind in F16_AT:
        blocks = draw(kind, count, random)
        values = gguf.quants.dequantize(blocks, kind).astype(np.float32).reshape(count, -1)
        assert not np.isnan(values).any(), kind
        tensors[f"{kind.name}.blocks"] = blocks
        tensors[f"{kind.name}.values"] = values
    write_safetensors(path, tensors)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--blocks", type=int, default=12)
    arguments = parser.parse_args()
    make(arguments.out, arguments.seed, arguments.blocks)


if __name__ == "__main__":
    main()
