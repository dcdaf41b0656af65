#!/usr/bin/env python3
"""Write tests/data/transformers-tiny: a DeepSeek-V4 checkpoint as transformers saves it, and its logits.

  transformers_tiny.py [--out tests/data/transformers-tiny] [--seed 11]

Needs torch and transformers (made with 5.23.0) from PyPI. save_pretrained writes neither the official
names nor transformers' own but a mixture, in float32, with a config.json of its own keys; a reader has
to be tested against the real thing. Every parameter gets random values, so that none can be
forgotten without a difference. reference.safetensors holds `prompt` [T] I64 and `logits` [T, V] F32.
"""
import argparse
import math
import pathlib

import torch
from safetensors.torch import save_file
from transformers import DeepseekV4Config, DeepseekV4ForCausalLM

NUM_TOKENS = 150
CONFIG = dict(
    vocab_size=96, hidden_size=32, num_hidden_layers=3, moe_intermediate_size=16,
    num_attention_heads=4, head_dim=32, qk_rope_head_dim=16, q_lora_rank=16, o_groups=2, o_lora_rank=16,
    n_routed_experts=6, n_shared_experts=1, num_experts_per_tok=2, routed_scaling_factor=1.5,
    compress_ratios=[0, 4, 128], num_hash_layers=1, num_nextn_predict_layers=0,
    index_n_heads=24, index_head_dim=32, index_topk=8, sliding_window=16, swiglu_limit=2.0,
    hc_mult=4, hc_sinkhorn_iters=20, hc_eps=1e-6, rms_norm_eps=1e-6, max_position_embeddings=4096,
    rope_theta=10000.0, compress_rope_theta=160000.0,
    rope_scaling=dict(type="yarn", rope_type="yarn", factor=4.0, original_max_position_embeddings=64,
                      beta_fast=32.0, beta_slow=1.0),
)


def random_values(name, tensor, num_experts, generator):
    def normal(scale):
        return torch.randn(tensor.shape, generator=generator) * scale

    leaf = name.rsplit(".", 1)[-1]
    if leaf == "tid2eid":
        rows = [torch.randperm(num_experts, generator=generator)[: tensor.shape[1]] for _ in tensor]
        return torch.stack(rows)
    if "norm" in name:
        return 1 + normal(0.1)
    if leaf == "sinks" or "embed_tokens" in name:
        return normal(1.0)
    if leaf in ("base", "hc_base", "position_bias"):
        return normal(0.3)
    if leaf in ("scale", "hc_scale"):
        return 0.5 + 0.5 * torch.rand(tensor.shape, generator=generator)
    if leaf == "e_score_correction_bias":
        return normal(0.1)
    return normal(1 / math.sqrt(tensor.shape[-1]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="tests/data/transformers-tiny", type=pathlib.Path)
    parser.add_argument("--seed", default=11, type=int)
    args = parser.parse_args()

    generator = torch.Generator().manual_seed(args.seed)
    model = DeepseekV4ForCausalLM(DeepseekV4Config(**CONFIG)).float().eval()
    with torch.no_grad():
        for name, tensor in sorted(model.state_dict().items()):
            tensor.copy_(random_values(name, tensor, CONFIG["n_routed_experts"], generator))
        prompt = torch.randint(0, CONFIG["vocab_size"], (NUM_TOKENS,), generator=generator)
        logits = model(prompt[None], use_cache=False).logits[0]

    model.save_pretrained(args.out)
    (args.out / "generation_config.json").unlink(missing_ok=True)
    save_file(dict(prompt=prompt, logits=logits.contiguous()), args.out / "reference.safetensors")
    size = sum(file.stat().st_size for file in args.out.iterdir())
    print(f"{args.out}: {size:,} bytes, logits {tuple(logits.shape)} of deviation {logits.std():.3f}")


if __name__ == "__main__":
    main()
