# SPDX-License-Identifier: Apache-2.0
"""Settings and stored types that the official tiny models of these families do not have.

Source: as families/official.py. MXFP4: two 4-bit floats a byte, low nibble first, times 2^(scale - 127) for
every 32 inputs (openai/gpt-oss, gpt_oss/torch/weights.py). FP8: E4M3 times weight_scale_inv of its 128 x 128
block, the last blocks being smaller (deepseek-ai/DeepSeek-V3, README_WEIGHTS.md); activations stay as they are.
"""
import random
from bisect import bisect_left

import shapes
from case import Case
from families import deepseek, glm, llama_moe
from families.official import DeepseekV3, GptOss, Mixtral, Olmoe, Qwen3Moe
from store import Tensor, float8, float32

NIBBLES = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0]


class GptOssMxfp4(GptOss):
    def w(self, name):
        if not name.endswith(("gate_up_proj", "down_proj")):
            return super().w(name)
        if name not in self.cache:
            blocks, scales = super().w(name + "_blocks"), super().w(name + "_scales")
            self.cache[name] = [[list(column) for column in zip(*(
                [NIBBLES[n] * 2.0 ** (scale - 127) for block, scale in zip(row, of) for byte in block
                 for n in (byte & 15, byte >> 4)] for row, of in zip(*expert)))] for expert in zip(blocks, scales)]
        return self.cache[name]


def mxfp4(tensors, seed):
    """Draws the bytes of every expert matrix in place of its name with _blocks."""
    out = {}
    for name, t in tensors.items():
        if name.endswith(("_blocks", "_scales")):
            source = random.Random(f"{seed} {name}")
            low, count = (0, 256) if name.endswith("_blocks") else (122, 3)
            t = Tensor.of(t.shape, [low + int(source.random() * count) for _ in t.values()], "U8")
        out[name] = t
    return out


class DeepseekV3Fp8(DeepseekV3):
    def w(self, name):
        if name not in self.cache and name + "_scale_inv" in self.tensors:
            values, scales = super().w(name), super().w(name + "_scale_inv")
            self.cache[name] = [[x * scales[r // 128][c // 128] for c, x in enumerate(row)]
                                for r, row in enumerate(values)]
        return super().w(name)


def fp8(tensors, seed):
    """Matrices of linear layers as E4M3 with scales; table and head as BF16, as released."""
    codes = sorted((float8(byte), byte) for byte in range(256) if byte & 127 != 127)
    known, out = [value for value, _ in codes], {}
    for name, t in tensors.items():
        if "embed_tokens" in name or "lm_head" in name:
            out[name] = Tensor(t.shape, b"".join(t.data[i + 2:i + 4] for i in range(0, len(t.data), 4)), "BF16")
        elif not name.endswith("_proj.weight") and "kv_a_proj_with_mqa" not in name:
            out[name] = t
        else:
            rows, columns = (-(-size // 128) for size in t.shape)
            source = random.Random(f"{seed} {name}_scale_inv")
            size = t.shape[1] ** -0.5
            scales = [[float32(size * (0.01 + 0.03 * source.random())) for _ in range(columns)] for _ in range(rows)]
            stored = bytes(codes[min(bisect_left(known, x / scales[r // 128][c // 128]), len(codes) - 1)][1]
                           for r, row in enumerate(t.nested()) for c, x in enumerate(row))
            out[name] = Tensor(t.shape, stored, "F8_E4M3")
            out[name + "_scale_inv"] = Tensor.of([rows, columns], [x for row in scales for x in row])
    return out


def attention_norms(c, width):
    def mixer(p, i):
        p += "self_attn."
        return shapes.heads(p, c) + [(p + n + ".weight", [size]) for n, size in zip(("q_norm", "k_norm"), width)]
    return mixer


def qwen3_tensors(c):
    def network(p, i):
        p += "mlp."
        if i in c["mlp_only_layers"] or (i + 1) % c["decoder_sparse_step"]:
            return shapes.gated(p, c["hidden_size"], c["intermediate_size"])
        return (shapes.router(p + "gate.weight", c["num_experts"], c["hidden_size"])
                + shapes.experts(p, c["num_experts"], c["hidden_size"], c["moe_intermediate_size"]))
    return shapes.decoder(c, attention_norms(c, [c["head_dim"]] * 2), network)


def olmoe_tensors(c):
    def network(p, i):
        p += "mlp."
        return (shapes.router(p + "gate.weight", c["num_experts"], c["hidden_size"])
                + shapes.experts(p, c["num_experts"], c["hidden_size"], c["intermediate_size"]))
    kv = c["hidden_size"] // c["num_attention_heads"] * c["num_key_value_heads"]
    return shapes.decoder(c, attention_norms(c, [c["hidden_size"], kv]), network)


def deepseek_v3_tensors(c):
    return glm.tensors(c, lambda p, i: shapes.latent(p + "self_attn.", c))


def gpt_oss_tensors(c):
    def network(p, i):
        count, hidden, width = c["num_local_experts"], c["hidden_size"], c["intermediate_size"]
        p += "mlp."
        out = shapes.router(p + "router.weight", count, hidden) + [(p + "router.bias", [count])]
        for name, rows, columns in (("gate_up_proj", 2 * width, hidden), ("down_proj", hidden, width)):
            out += [(f"{p}experts.{name}_blocks", [count, rows, columns // 32, 16]),
                    (f"{p}experts.{name}_scales", [count, rows, columns // 32]),
                    (f"{p}experts.{name}_bias", [count, rows], "bias")]
        return out

    def mixer(p, i):
        p += "self_attn."
        return shapes.heads(p, c, True, True) + [(p + "sinks", [c["num_attention_heads"]], "bias", 3.0)]
    return shapes.decoder(c, mixer, network)


BASE = {"hidden_act": "silu", "hidden_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 256, "vocab_size": 64, "tie_word_embeddings": False, "torch_dtype": "float32",
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "rope_scaling": None, "bos_token_id": 1, "eos_token_id": 2}
OLMOE = BASE | {"architectures": ["OlmoeForCausalLM"], "model_type": "olmoe", "clip_qkv": 0.9, "intermediate_size": 8,
                "norm_topk_prob": False, "num_experts": 8, "num_experts_per_tok": 3, "num_hidden_layers": 2,
                "attention_bias": False}
MIXTRAL = BASE | {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "intermediate_size": 8,
                  "num_experts_per_tok": 2, "num_hidden_layers": 2, "num_local_experts": 6, "sliding_window": 5}
QWEN3 = BASE | {"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "attention_bias": False,
                "hidden_size": 24, "decoder_sparse_step": 2, "mlp_only_layers": [3],
                "head_dim": 10, "intermediate_size": 20,
                "moe_intermediate_size": 8, "norm_topk_prob": True, "num_experts": 8, "num_experts_per_tok": 3,
                "num_hidden_layers": 4, "use_sliding_window": False}
V3 = deepseek.V2 | {"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "q_lora_rank": None,
                    "topk_method": "noaux_tc", "scoring_func": "sigmoid", "norm_topk_prob": True,
                    "n_shared_experts": 1, "routed_scaling_factor": 2.5, "rope_interleave": True,
                    "rope_scaling": deepseek.YARN | {"mscale": 1.0, "mscale_all_dim": 1.0}}
FP8 = V3 | {"hidden_size": 136, "intermediate_size": 132, "num_hidden_layers": 2, "q_lora_rank": 24,
            "n_routed_experts": 6, "n_group": 1, "topk_group": 1, "num_experts_per_tok": 2, "vocab_size": 40,
            "rope_scaling": None, "torch_dtype": "bfloat16",
            "quantization_config": {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
                                    "weight_block_size": [128, 128]}}
GPT_OSS = BASE | {"architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "attention_bias": True,
                  "head_dim": 10, "hidden_size": 64, "rope_theta": 100.0, "intermediate_size": 32,
                  "num_local_experts": 5, "num_experts_per_tok": 2,
                  "num_hidden_layers": 2, "sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"],
                  "rope_scaling": {"rope_type": "yarn", "factor": 8.0, "beta_fast": 4.0, "beta_slow": 1.0,
                                   "original_max_position_embeddings": 128, "truncate": False},
                  "swiglu_limit": 7.0, "quantization_config": {
                      "quant_method": "mxfp4", "modules_to_not_convert": [
                          "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]}}
SOURCE = "huggingface/transformers v4.57.6 modeling_"
CASES = [
    Case("olmoe-clip-tiny", SOURCE + "olmoe.py", Olmoe, OLMOE, olmoe_tensors, 2, matters=(("clip_qkv", None),)),
    Case("mixtral-window-tiny", SOURCE + "mixtral.py", Mixtral, MIXTRAL, llama_moe.mixtral_tensors, 8,
         matters=(("sliding_window", None), ("sliding_window", 6))),
    Case("qwen3-moe-dense-tiny", SOURCE + "qwen3_moe.py", Qwen3Moe, QWEN3, qwen3_tensors, 1),
    Case("deepseek-v3-yarn-tiny", SOURCE + "deepseek_v3.py", DeepseekV3, V3, deepseek_v3_tensors, 3,
         matters=(("rope_scaling", None), ("rope_scaling.mscale_all_dim", 0), ("n_group", 1), ("topk_group", 4))),
    Case("deepseek-v3-fp8-tiny", SOURCE + "deepseek_v3.py", DeepseekV3Fp8, FP8, deepseek_v3_tensors, 3, length=6,
         stored=fp8),
    Case("gpt-oss-mxfp4-tiny", SOURCE + "gpt_oss.py", GptOssMxfp4, GPT_OSS, gpt_oss_tensors, 4, stored=mxfp4,
         length=10, matters=(("sliding_window", 5), ("rope_scaling.truncate", True))),
]
