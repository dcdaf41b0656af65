#!/usr/bin/env python3
"""Write tests/data/golden/checkpoints/llama-*: small Llama checkpoints and transformers' logits.

  llama_tiny.py [--out tests/data/golden/checkpoints] [--seed 12]

Needs torch, transformers (made with 5.23.0) and gguf from PyPI. Weights are random and stored in BF16,
logits are transformers' in float32 on them. llama-tiny: three query heads a group, heads that do not
multiply to the hidden size, llama3 scaling that bites, a head of its own. llama-tied: tied head, linear
scaling, one key-value head. llama-tiny.gguf: the first with query and key rows reordered and the
scaling as a tensor, as llama.cpp's converter does both; it has the same logits.
reference.safetensors holds `prompt` [T] I64 and `logits` [T, V] F32.
"""
import argparse
import math
import pathlib

import gguf
import numpy
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

NUM_TOKENS = 100
COMMON = dict(vocab_size=256, num_hidden_layers=3, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2)
TINY = dict(hidden_size=40, intermediate_size=56, num_attention_heads=10, num_key_value_heads=2, head_dim=8,
            max_position_embeddings=2048, tie_word_embeddings=False,
            rope_parameters=dict(rope_type="llama3", rope_theta=500.0, factor=8.0, low_freq_factor=1.0,
                                 high_freq_factor=4.0, original_max_position_embeddings=64))
TIED = dict(hidden_size=36, intermediate_size=40, num_attention_heads=3, num_key_value_heads=1,
            max_position_embeddings=512, tie_word_embeddings=True,
            rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=2.5))


def random_model(settings, generator):
    model = LlamaForCausalLM(LlamaConfig(**COMMON, **settings, dtype="bfloat16")).bfloat16().eval()
    with torch.no_grad():
        for name, tensor in sorted(model.named_parameters()):
            values = torch.randn(tensor.shape, generator=generator)
            tensor.copy_(1 + values * 0.2 if "norm" in name else
                         values if "embed" in name else values * 1.5 / math.sqrt(tensor.shape[-1]))
    return model


def write_checkpoint(model, folder, generator):
    prompt = torch.randint(0, COMMON["vocab_size"], (NUM_TOKENS,), generator=generator)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    exact = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        logits = exact(prompt[None], use_cache=False).logits[0]
    save_file(dict(prompt=prompt, logits=logits.contiguous()), folder / "reference.safetensors")
    print(f"{folder}: {sum(file.stat().st_size for file in folder.iterdir()):,} bytes, logits of deviation "
          f"{logits.std():.3f}")


def neighbours(weight, num_heads):
    """Rows of halves that rotate together, reordered to neighbours: llama.cpp's permutation."""
    return weight.reshape(num_heads, 2, weight.shape[0] // num_heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def rope_divisors(config):
    """What each frequency is divided by, as llama.cpp's converter computes it."""
    rope = config.rope_parameters
    pairs = numpy.arange(0, config.head_dim, 2, dtype=numpy.float32) / config.head_dim
    waves = 2 * math.pi * rope["rope_theta"] ** pairs
    context, low, high = rope["original_max_position_embeddings"], rope["low_freq_factor"], rope["high_freq_factor"]
    blend = (context / waves - low) / (high - low)
    blended = 1 / ((1 - blend) / rope["factor"] + blend)
    return numpy.where(waves < context / high, 1, numpy.where(waves > context / low, rope["factor"], blended)).astype(
        numpy.float32)


GGUF_NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def gguf_name(name):
    stem = name.removesuffix(".weight")
    if stem.startswith("model.layers."):
        number, leaf = stem.removeprefix("model.layers.").split(".", 1)
        return f"blk.{number}.{GGUF_NAMES[leaf]}.weight"
    return GGUF_NAMES[stem] + ".weight"


def write_gguf(model, path):
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_bos_token_id(config.bos_token_id)
    writer.add_eos_token_id(config.eos_token_id)
    if config.rope_parameters["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", rope_divisors(config))
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = tensor.float().numpy()
        if "q_proj" in name:
            values = neighbours(values, config.num_attention_heads)
        elif "k_proj" in name:
            values = neighbours(values, config.num_key_value_heads)
        if values.ndim == 1:
            writer.add_tensor(gguf_name(name), values)
        else:
            bits = (numpy.ascontiguousarray(values).view(numpy.uint32) >> 16).astype(numpy.uint16)
            writer.add_tensor(gguf_name(name), bits.view(numpy.uint8),
                              raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{path}: {path.stat().st_size:,} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="tests/data/golden/checkpoints", type=pathlib.Path)
    parser.add_argument("--seed", default=12, type=int)
    args = parser.parse_args()
    generator = torch.Generator().manual_seed(args.seed)
    tiny = random_model(TINY, generator)
    write_checkpoint(tiny, args.out / "llama-tiny", generator)
    write_gguf(tiny, args.out / "llama-tiny.gguf")
    write_checkpoint(random_model(TIED, generator), args.out / "llama-tied", generator)


if __name__ == "__main__":
    main()
