# SPDX-License-Identifier: Apache-2.0
"""Rotary positions in all their forms.

Source: huggingface/transformers v4.57.6, src/transformers/modeling_rope_utils.py; released
config.json keys rope_theta, rope_scaling, partial_rotary_factor.
"""
import math


class Rotary:
    """Turns pairs of a head's first elements by their position.

    Pair i is (i, i + n) of 2 n turned elements, or (2 i, 2 i + 1) if interleaved; the results stay
    where the elements were. `factor` multiplies cos and sin.
    """

    def __init__(self, frequencies, factor=1.0, interleaved=False):
        self.frequencies = frequencies
        self.factor = factor
        self.interleaved = interleaved

    def __call__(self, head, position):
        out = list(head)
        n = len(self.frequencies)
        for i, frequency in enumerate(self.frequencies):
            a, b = (2 * i, 2 * i + 1) if self.interleaved else (i, i + n)
            cos = math.cos(position * frequency) * self.factor
            sin = math.sin(position * frequency) * self.factor
            out[a] = head[a] * cos - head[b] * sin
            out[b] = head[b] * cos + head[a] * sin
        return out


def plain(theta, width):
    return [theta ** (-2 * i / width) for i in range(width // 2)]


def mscale(factor, a=1.0):
    return 0.1 * a * math.log(factor) + 1 if factor > 1 else 1.0


def yarn(theta, width, scaling, max_position):
    """(frequencies, factor of cos and sin) of a rope_scaling of type yarn."""
    stretch = scaling["factor"]
    original = scaling.get("original_max_position_embeddings") or max_position

    def pair_of_turns(turns):
        return width * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low = pair_of_turns(scaling.get("beta_fast") or 32)
    high = pair_of_turns(scaling.get("beta_slow") or 1)
    if scaling.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, width - 1)
    if low == high:
        high += 0.001
    frequencies = []
    for i, frequency in enumerate(plain(theta, width)):
        ramp = min(max((i - low) / (high - low), 0), 1)
        frequencies.append(frequency / stretch * ramp + frequency * (1 - ramp))
    factor = scaling.get("attention_factor")
    if factor is None:
        a, b = scaling.get("mscale"), scaling.get("mscale_all_dim")
        factor = mscale(stretch, a) / mscale(stretch, b) if a and b else mscale(stretch)
    return frequencies, factor


def llama3(theta, width, scaling):
    """Long waves over `factor`, short ones as they are, a blend between."""
    stretch, original = scaling["factor"], scaling["original_max_position_embeddings"]
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    frequencies = []
    for frequency in plain(theta, width):
        turns = original * frequency / (2 * math.pi)
        keep = 1.0 if turns > high else 0.0 if turns < low else (turns - low) / (high - low)
        frequencies.append(frequency * keep + frequency / stretch * (1 - keep))
    return frequencies


def of_config(c, width, interleaved=False):
    """The rotary of a Hugging Face config for a head of `width` turned elements."""
    scaling = c.get("rope_scaling") or c.get("rope_parameters") or {}
    theta = c.get("rope_theta") or scaling["rope_theta"]
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if kind == "default":
        return Rotary(plain(theta, width), 1.0, interleaved)
    if kind == "yarn":
        return Rotary(*yarn(theta, width, scaling, c["max_position_embeddings"]), interleaved)
    if kind == "llama3":
        return Rotary(llama3(theta, width, scaling), 1.0, interleaved)
    raise ValueError(f"rotary: rope_scaling is of type {kind}, want default, yarn or llama3")
