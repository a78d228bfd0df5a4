# SPDX-License-Identifier: Apache-2.0
"""Tensors, their safetensors files, and random weights that every Python draws alike."""
import array
import json
import math
import random
import struct
import sys
from pathlib import Path

SIZES = {"F32": 4, "I64": 8, "BF16": 2, "U8": 1, "F8_E4M3": 1}


class Tensor:
    """shape and stored bytes, little-endian; values() gives floats (or whole numbers)."""

    def __init__(self, shape, data, dtype="F32"):
        want = math.prod(shape) * SIZES[dtype]
        if len(data) != want:
            raise ValueError(f"tensor: {len(data)} bytes, want {want} for {dtype} {shape}")
        self.shape, self.data, self.dtype = list(shape), data, dtype

    @staticmethod
    def of(shape, values, dtype="F32"):
        packed = array.array({"F32": "f", "I64": "q", "U8": "B"}[dtype], values)
        if sys.byteorder == "big":
            packed.byteswap()
        return Tensor(shape, packed.tobytes(), dtype)

    def values(self):
        if self.dtype == "BF16":
            wide = b"".join(b"\0\0" + self.data[i:i + 2] for i in range(0, len(self.data), 2))
            return list(struct.unpack(f"<{len(wide) // 4}f", wide))
        if self.dtype == "F8_E4M3":
            return [float8(byte) for byte in self.data]
        code = {"F32": "f", "I64": "q", "U8": "B"}[self.dtype]
        return list(struct.unpack(f"<{math.prod(self.shape)}{code}", self.data))

    def nested(self):
        rows = self.values()
        for width in reversed(self.shape[1:]):
            rows = [rows[i:i + width] for i in range(0, len(rows), width)]
        return rows


def float8(byte):
    """E4M3 without infinities: sign, four exponent bits of bias 7, three of mantissa."""
    sign = -1.0 if byte & 0x80 else 1.0
    exponent, mantissa = byte >> 3 & 15, byte & 7
    if exponent == 15 and mantissa == 7:
        raise ValueError("float8: NaN")
    return sign * (mantissa / 8 * 2 ** -6 if exponent == 0 else (1 + mantissa / 8) * 2 ** (exponent - 7))


def read(path):
    """name -> Tensor, and the metadata of a safetensors file."""
    data = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + length + at for at in entry["data_offsets"])
        tensors[name] = Tensor(entry["shape"], data[begin:end], entry["dtype"])
    return tensors, metadata


def write(path, tensors, metadata):
    """Widest elements first, then by name; the header is padded to a multiple of eight."""
    header, at = {"__metadata__": metadata}, 0
    names = sorted(tensors, key=lambda name: (-SIZES[tensors[name].dtype], name))
    for name in names:
        t = tensors[name]
        header[name] = {"dtype": t.dtype, "shape": t.shape, "data_offsets": [at, at + len(t.data)]}
        at += len(t.data)
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(tensors[n].data for n in names))


def read_checkpoint(folder):
    tensors = {}
    for path in sorted(Path(folder).glob("model-*.safetensors")):
        tensors.update(read(path)[0])
    return tensors


def write_checkpoint(folder, tensors, shards=2):
    """Splits in the order of `tensors`, at equal bytes, so that the first cut is inside a layer."""
    total = sum(len(t.data) for t in tensors.values())
    parts, before = [{} for _ in range(shards)], 0
    for name, t in tensors.items():
        parts[min(shards - 1, before * shards // total)][name] = t
        before += len(t.data)
    places = {}
    for i, part in enumerate(parts):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        write(Path(folder) / file, part, {"format": "pt"})
        places.update({name: file for name in part})
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
    (Path(folder) / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def float32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def draw(seed, name, shape, init="", gain=1.0):
    """A random tensor, float32. Bell-shaped from four uniforms, so no library function is involved.

    init  "": by rank, a bias or a matrix [out, in]; "norm": around 1; "in_out": [.., in, out];
          "bias": around 0; "wide": every element by itself, of size `gain`
    """
    source = random.Random(f"{seed} {name}")
    init = init or ("norm" if len(shape) == 1 and "norm" in name and "bias" not in name
                    else "bias" if len(shape) == 1 else "out_in")
    centre, spread = {"norm": (1.0, 0.25), "bias": (0.0, 0.3), "wide": (0.0, 1.0),
                      "out_in": (0.0, shape[-1] ** -0.5),
                      "in_out": (0.0, shape[-2 if len(shape) > 1 else 0] ** -0.5)}[init]
    spread *= gain * math.sqrt(3)
    values = [centre + spread * (source.random() + source.random() + source.random() + source.random() - 2)
              for _ in range(math.prod(shape))]
    return Tensor.of(shape, values)
