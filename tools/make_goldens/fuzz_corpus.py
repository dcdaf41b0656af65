#!/usr/bin/env python3
"""Writes the seed files of the fuzz targets of base/formats: small valid files and hostile ones.

usage: tools/make_goldens/fuzz_corpus.py [OUT_DIR]      (default: tests/data/fuzz)
"""
import json
import pathlib
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def safetensors(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def safetensors_headers():
    two = {"__metadata__": {"format": "pt"}, "layers.0.w": tensor("F8_E4M3", [2, 4], 0, 8),
           "layers.0.w.scale": tensor("F8_E8M0", [1, 1], 8, 9), "norm": tensor("BF16", [0], 9, 9)}
    one = b'"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'
    return {
        "valid": safetensors(two, b"x" * 9),
        "empty": safetensors({}),
        "padded": safetensors(b"{}      "),
        "truncated": safetensors(two, b"x" * 9)[:60],
        "long_header": safetensors({}, length=2**63),
        "duplicate": safetensors(b"{" + one + b"," + one + b"}", b"x"),
        "overlap": safetensors({"a": tensor("U8", [4], 0, 4), "b": tensor("U8", [4], 2, 6)}, b"x" * 6),
        "hole": safetensors({"a": tensor("U8", [2], 0, 2), "b": tensor("U8", [2], 3, 5)}, b"x" * 5),
        "overflow": safetensors({"a": tensor("I64", [2**32, 2**32], 0, 8)}, b"x" * 8),
        "negative": safetensors({"a": tensor("F32", [-1], -4, 0)}),
        "deep": safetensors(b'{"a":' + b"[" * 300 + b"}"),
        "bad_utf8": safetensors(b'{"\xff\xfe":{}}'),
        "escapes": safetensors(b'{"\\ud83d\\ude00\\u0000":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', b"x"),
    }


def safetensors_indices():
    return {
        "valid": json.dumps({"metadata": {"total_size": 9, "by": [1, {"x": None}]},
                             "weight_map": {"a": "model-00001-of-00002.safetensors",
                                            "b": "model-00002-of-00002.safetensors"}}).encode(),
        "escape": b'{"weight_map":{"a":"../../etc/passwd"}}',
        "duplicate": b'{"weight_map":{"a":"x","a":"y"}}',
        "twice": b'{"weight_map":{},"weight_map":{"a":"x"}}',
        "wrong_type": b'{"weight_map":{"a":{"b":[1,2.5,-3,true]}}}',
        "deep": b'{"x":' + b'[{"y":' * 100,
        "zero_byte": b'{"weight_map":{}}\0{',
    }


def string(text):
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def gguf(num_tensors, num_keys, body, version=3):
    head = b"GGUF" + struct.pack("<IQQ", version, num_tensors, num_keys) + body
    return head + b"\0" * (-len(head) % 32)


def info(name, sizes, kind, offset):
    return string(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, offset)


def ggufs():
    scalars = b"".join(string(f"k{kind}") + struct.pack("<I", kind) + b"\1" + b"\0" * (size - 1)
                       for kind, size in [(0, 1), (1, 1), (2, 2), (3, 2), (4, 4), (5, 4), (6, 4), (7, 1), (10, 8),
                                          (11, 8), (12, 8)])
    text = string("general.architecture") + struct.pack("<I", 8) + string("deepseek4")
    words = string("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 3) + string("a") + string("") + string(b"\xff")
    split = b"".join(string(f"split.{name}") + struct.pack("<IH", 2, value)
                     for name, value in [("no", 0), ("count", 2)])
    alignment = string("general.alignment") + struct.pack("<II", 4, 64)
    tensors = info("blk.0.a", [32, 2], 8, 0) + info("b", [4], 0, 96)
    return {
        "valid": gguf(2, 15, scalars + text + words + split + tensors) + b"x" * 128,
        "version2": gguf(0, 1, text, version=2),
        "aligned": gguf(1, 1, alignment + info("a", [4], 0, 64)) + b"x" * 160,
        "version1": gguf(0, 0, b"", version=1),
        "big_endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
        "many_tensors": gguf(2**60, 0, b""),
        "many_keys": gguf(0, 2**60, text),
        "long_array": gguf(0, 1, string("a") + struct.pack("<IIQ", 9, 12, 2**61)),
        "nested_array": gguf(0, 1, string("a") + struct.pack("<IIQ", 9, 9, 1) + struct.pack("<IQ", 9, 1)),
        "long_string": gguf(0, 1, struct.pack("<Q", 2**64 - 1)),
        "foreign_type": gguf(1, 0, info("a", [256], 139, 0)) + b"x" * 256,
        "overlap": gguf(2, 0, info("a", [16], 0, 0) + info("b", [16], 0, 32)) + b"x" * 96,
        "overflow": gguf(1, 0, info("a", [2**32, 2**32], 28, 0)) + b"x" * 64,
        "duplicate": gguf(2, 0, info("a", [8], 0, 0) + info("a", [8], 0, 32)) + b"x" * 64,
    }


def main():
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "tests/data/fuzz"
    corpora = {"safetensors_header": safetensors_headers(), "safetensors_index": safetensors_indices(), "gguf": ggufs()}
    for target, files in corpora.items():
        (out / target).mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (out / target / name).write_bytes(content)


if __name__ == "__main__":
    main()
