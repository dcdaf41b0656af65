"""A DeepSeek-V4 checkpoint in the official layout as PyPI transformers' model, in float32.

Reads and dequantises the safetensors files itself, from the formats' definitions: an oracle must not
share a decoder with what it judges. Needs torch, transformers (5.23) and numpy.
"""
import json
import pathlib
import re

import numpy
import torch
import transformers
from transformers import DeepseekV4Config, DeepseekV4ForCausalLM
from transformers.models.deepseek_v4 import modeling_deepseek_v4 as modeling

# It says that a drawn YaRN factor does not follow from the context length.
transformers.logging.set_verbosity_error()

FP4_COLUMNS = 32  # that share a scale
FP8_TILE = 128
HEADS_AT_ONCE = 8


def version():
    return transformers.__version__


# --- the files -----------------------------------------------------------------------------------

def fp4_values():
    magnitudes = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    return numpy.array(magnitudes + [-value for value in magnitudes], numpy.float32)


def e4m3_values():
    values = []
    for code in range(256):
        exponent, mantissa = code >> 3 & 15, code & 7
        value = 2.0 ** (exponent - 7) * (1 + mantissa / 8) if exponent else 2.0 ** -9 * mantissa
        values.append(-value if code & 128 else value)
    values[0x7F] = values[0xFF] = numpy.nan
    return numpy.array(values, numpy.float32)


FP4_VALUES, E4M3_VALUES = fp4_values(), e4m3_values()


class Checkpoint:
    """The tensors of a folder as float32 (or int64) arrays, decoded when asked for."""

    def __init__(self, folder):
        self.entries = {}
        for path in sorted(pathlib.Path(folder).glob("*.safetensors")):
            data = numpy.memmap(path, numpy.uint8, "r")
            header_bytes = int.from_bytes(data[:8].tobytes(), "little")
            header = json.loads(data[8 : 8 + header_bytes].tobytes())
            for name, entry in header.items():
                if name != "__metadata__":
                    begin, end = (8 + header_bytes + offset for offset in entry["data_offsets"])
                    assert name not in self.entries, f"{name} is in two files"
                    self.entries[name] = (entry["dtype"], entry["shape"], data[begin:end])
        assert self.entries, f"{folder}: no safetensors file"

    def names(self):
        return [name for name in self.entries if not self.is_scale(name)]

    def is_scale(self, name):
        return name.endswith(".scale") and name.removesuffix("scale") + "weight" in self.entries

    def stored(self):
        """How many tensors of each dtype."""
        counts = {}
        for dtype, _, _ in self.entries.values():
            counts[dtype] = counts.get(dtype, 0) + 1
        return counts

    def plain(self, name):
        dtype, shape, data = self.entries[name]
        if dtype == "BF16":
            values = (data.view("<u2").astype(numpy.uint32) << 16).view(numpy.float32)
        elif dtype == "F8_E8M0":
            assert (data != 255).all(), f"{name}: NaN scale"
            values = numpy.ldexp(numpy.float32(1), data.astype(numpy.int32) - 127)
        elif dtype == "F8_E4M3":
            values = E4M3_VALUES[data]
        elif dtype == "I8":  # two FP4 codes, the even column in the low nibble
            values = FP4_VALUES[numpy.stack([data & 15, data >> 4], axis=-1)]
            shape = [*shape[:-1], 2 * shape[-1]]
        else:
            values = data.view({"F32": "<f4", "I64": "<i8", "I32": "<i4"}[dtype])
        return values.reshape(shape)

    def decode(self, name):
        values = self.plain(name)
        scale_name = name.removesuffix("weight") + "scale"
        if scale_name not in self.entries or not name.endswith(".weight"):
            assert self.entries[name][0] not in ("I8", "F8_E4M3"), f"{name}: no scales"
            return values
        scales = self.plain(scale_name)
        if self.entries[name][0] == "I8":
            return values * scales.repeat(FP4_COLUMNS, axis=1)
        rows, columns = values.shape
        spread = scales.repeat(FP8_TILE, axis=0).repeat(FP8_TILE, axis=1)
        return values * spread[:rows, :columns]


# --- the names -----------------------------------------------------------------------------------

TOP_NAMES = {
    "embed.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "head.weight": "lm_head.weight",
    "hc_head_fn": "model.hc_head.hc_fn",
    "hc_head_base": "model.hc_head.hc_base",
    "hc_head_scale": "model.hc_head.hc_scale",
}
LAYER_NAMES = {
    "attn_norm.weight": "input_layernorm.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "attn.wq_a.weight": "self_attn.q_a_proj.weight",
    "attn.q_norm.weight": "self_attn.q_a_norm.weight",
    "attn.wq_b.weight": "self_attn.q_b_proj.weight",
    "attn.wkv.weight": "self_attn.kv_proj.weight",
    "attn.kv_norm.weight": "self_attn.kv_norm.weight",
    "attn.wo_a.weight": "self_attn.o_a_proj.weight",
    "attn.wo_b.weight": "self_attn.o_b_proj.weight",
    "attn.attn_sink": "self_attn.sinks",
    "attn.indexer.wq_b.weight": "self_attn.compressor.indexer.q_b_proj.weight",
    "attn.indexer.weights_proj.weight": "self_attn.compressor.indexer.scorer.weights_proj.weight",
    "ffn.gate.weight": "mlp.gate.weight",
    "ffn.gate.bias": "mlp.gate.e_score_correction_bias",
    "ffn.gate.tid2eid": "mlp.gate.tid2eid",
    "ffn.shared_experts.w1.weight": "mlp.shared_experts.gate_proj.weight",
    "ffn.shared_experts.w3.weight": "mlp.shared_experts.up_proj.weight",
    "ffn.shared_experts.w2.weight": "mlp.shared_experts.down_proj.weight",
}
for block in ("attn", "ffn"):
    for part in ("fn", "base", "scale"):
        LAYER_NAMES[f"hc_{block}_{part}"] = f"{block}_hc.{part}"
for ours, theirs in (("attn.compressor", "self_attn.compressor"),
                     ("attn.indexer.compressor", "self_attn.compressor.indexer")):
    LAYER_NAMES |= {
        f"{ours}.ape": f"{theirs}.position_bias",
        f"{ours}.wkv.weight": f"{theirs}.kv_proj.weight",
        f"{ours}.wgate.weight": f"{theirs}.gate_proj.weight",
        f"{ours}.norm.weight": f"{theirs}.kv_norm.weight",
    }
EXPERT_NAME = re.compile(r"layers\.(\d+)\.ffn\.experts\.(\d+)\.w([123])\.weight")
LAYER_NAME = re.compile(r"layers\.(\d+)\.(.+)")


def destination(name, expert_hidden):
    """Transformers' tensor of an official name, and which part of it (expert, rows)."""
    expert = EXPERT_NAME.fullmatch(name)
    if expert:
        layer, index, matrix = (int(group) for group in expert.groups())
        prefix = f"model.layers.{layer}.mlp.experts."
        if matrix == 2:
            return prefix + "down_proj", (index,)
        first = 0 if matrix == 1 else expert_hidden
        return prefix + "gate_up_proj", (index, slice(first, first + expert_hidden))
    layer = LAYER_NAME.fullmatch(name)
    if layer:
        return f"model.layers.{layer[1]}.{LAYER_NAMES[layer[2]]}", ()
    return TOP_NAMES[name], ()


# --- the model -----------------------------------------------------------------------------------

def config_of(settings):
    """DeepseekV4Config of an official config.json, checked where it might round."""
    settings = {key: value for key, value in settings.items() if key != "quantization_config"}
    scaling = settings.get("rope_scaling")
    if scaling:  # transformers asks for rope_type
        settings["rope_scaling"] = scaling | {"rope_type": scaling["type"]}
    config = DeepseekV4Config(**settings)
    config._attn_implementation = "eager"
    config._experts_implementation = "eager"
    assert config.qk_rope_head_dim == settings["qk_rope_head_dim"]
    compress = config.rope_parameters["compress"]
    assert compress["rope_type"] == ("yarn" if scaling else "default"), compress
    assert compress["rope_theta"] == settings["compress_rope_theta"], compress
    assert compress.get("attention_factor", 1.0) == 1.0, compress
    assert config.rope_parameters["main"]["rope_theta"] == settings["rope_theta"]
    return config


def load_model(folder, settings):
    """The model with every weight of the checkpoint; fails on any missing or unexpected one."""
    checkpoint = Checkpoint(folder)
    with torch.no_grad():
        with torch.device("meta"):  # no time for random values that nobody reads
            shapes = DeepseekV4ForCausalLM(config_of(settings)).state_dict()
        tensors, written = {}, {}
        for name in checkpoint.names():
            if name.startswith("mtp."):  # not in transformers' model
                continue
            target, part = destination(name, settings["moe_intermediate_size"])
            assert target in shapes, f"unexpected {name} ({target})"
            like = shapes[target]
            if target not in tensors:
                tensors[target] = torch.empty(like.shape, dtype=torch.int64 if "tid2eid" in target
                                              else torch.float32)
            values = torch.from_numpy(numpy.array(checkpoint.decode(name)))
            view = tensors[target][part] if part else tensors[target]
            assert view.shape == values.shape, f"{name}: {values.shape}, {target}: {view.shape}"
            view.copy_(values)
            written[target] = written.get(target, 0) + values.numel()
        missing = {name for name, like in shapes.items() if written.get(name) != like.numel()}
        assert not missing, f"missing or written twice: {sorted(missing)}"
        with torch.device("meta"):
            model = DeepseekV4ForCausalLM(config_of(settings))
        model.load_state_dict(tensors, strict=True, assign=True)
        give_ropes(model)
    return model.eval(), checkpoint.stored()


def give_ropes(model):
    """Replaces the rope tables that were made on the meta device."""
    for name, module in list(model.named_modules()):
        if isinstance(module, modeling.DeepseekV4RotaryEmbedding):
            owner = model.get_submodule(name.rpartition(".")[0])
            setattr(owner, name.rpartition(".")[2], modeling.DeepseekV4RotaryEmbedding(model.config))
    left = [name for name, tensor in [*model.named_parameters(), *model.named_buffers()]
            if tensor.is_meta]
    assert not left, left


class HeadSlice:
    """What eager attention asks of its module, for some of the heads."""

    training = False

    def __init__(self, module, first, last):
        self.sinks = module.sinks[first:last]
        self.num_key_value_groups = last - first


WHOLE_ATTENTION = modeling.eager_attention_forward


def attention_by_heads(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    """Transformers' own function on a few heads at a time: the scores of all would not fit."""
    outputs = []
    for first in range(0, query.shape[1], HEADS_AT_ONCE):
        last = min(first + HEADS_AT_ONCE, query.shape[1])
        part, _ = WHOLE_ATTENTION(HeadSlice(module, first, last), query[:, first:last], key, value,
                                  attention_mask, scaling, dropout, **kwargs)
        outputs.append(part)
    return torch.cat(outputs, dim=2), None


class Margins:
    """How close each choice of experts and of blocks was to another one."""

    def __init__(self, model):
        self.config = model.config
        self.routes, self.blocks = {}, {}  # layer -> [T] distance of the last chosen to the next
        self.handles = []
        for layer, block in enumerate(model.model.layers):
            gate = block.mlp.gate
            if isinstance(gate, modeling.DeepseekV4TopKRouter):
                self.handles.append(gate.register_forward_hook(self.see_routes(layer)))
            compressor = block.self_attn.compressor
            if isinstance(compressor, modeling.DeepseekV4CSACompressor):
                scorer = compressor.indexer.scorer
                self.handles.append(scorer.register_forward_hook(self.see_blocks(layer)))

    @staticmethod
    def gap(scores, top_k):
        if scores.shape[-1] <= top_k:
            return torch.full(scores.shape[:-1], torch.inf)
        best = scores.topk(top_k + 1, dim=-1).values
        # Fewer candidates than places: there was no choice.
        return torch.nan_to_num(best[..., -2] - best[..., -1], nan=torch.inf)

    def see_routes(self, layer):
        def hook(gate, _, output):
            scores = gate.score_fn(output[0]) + gate.e_score_correction_bias
            self.routes[layer] = self.gap(scores, gate.top_k)

        return hook

    def see_blocks(self, layer):
        def hook(_, __, scores):
            ratio = self.config.compress_rates["compressed_sparse_attention"]
            num_visible = (torch.arange(scores.shape[1]) + 1) // ratio
            hidden = torch.arange(scores.shape[2]) >= num_visible[:, None]
            scores = scores[0].masked_fill(hidden, -torch.inf)
            gap = self.gap(scores, self.config.index_topk)
            gap[num_visible <= self.config.index_topk] = torch.inf
            self.blocks[layer] = gap

        return hook

    def remove(self):
        for handle in self.handles:
            handle.remove()


def run(model, tokens):
    """Logits [T, V] of the tokens, and the margins of its choices."""
    margins = Margins(model)
    modeling.eager_attention_forward = attention_by_heads
    try:
        with torch.inference_mode():
            logits = model(torch.from_numpy(tokens)[None], use_cache=False).logits[0]
    finally:
        modeling.eager_attention_forward = WHOLE_ATTENTION
        margins.remove()
    return logits.numpy(), margins
