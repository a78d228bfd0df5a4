#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the inputs that fuzzing begins with to corpus/TARGET/, named seed-*; what fuzzing adds is
beside them. usage: tests/fuzz/seeds.py"""
import json
import pathlib
import struct

HERE = pathlib.Path(__file__).parent
TESTS = HERE.parent


def put(target: str, name: str, data: bytes | str) -> None:
    """One input of a target."""
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"seed-{name}").write_bytes(data.encode() if isinstance(data, str) else data)


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number: int, value: int | float | bytes) -> bytes:
    """A protobuf field: varint, float32 or bytes."""
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3) + varint(value)


def safetensors() -> None:
    def framed(header: dict | str, data: bytes = b"") -> bytes:
        text = (header if isinstance(header, str) else json.dumps(header)).encode()
        return b"\0" + struct.pack("<H", len(text)) + text + data

    good = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
            "b": {"dtype": "U8", "shape": [3, 1], "data_offsets": [8, 11]},
            "c": {"dtype": "BF16", "shape": [0, 4], "data_offsets": [11, 11]},
            "__metadata__": {"format": "pt"}}
    put("safetensors", "good", framed(good, bytes(11)))
    put("safetensors", "empty", framed("{}"))
    put("safetensors", "overlap", framed({"a": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]},
                                          "b": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]}},
                                         bytes(3)))
    put("safetensors", "huge", framed(
        {"a": {"dtype": "F64", "shape": [1 << 62, 8], "data_offsets": [0, 1 << 62]}}))
    put("safetensors", "dtype", framed({"a": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}},
                                       b"x"))
    text = json.dumps(good).encode()
    put("safetensors", "whole", b"\1" + struct.pack("<Q", len(text)) + text + bytes(11))
    put("safetensors", "lying", b"\1" + struct.pack("<Q", 1 << 62) + b"{}")
    put("safetensors", "nested", b"\0" + struct.pack("<H", 4000) + b'{"a":' * 800)
    for name, index in {
        "good": {"metadata": {"total_size": 4},
                 "weight_map": {"a": "a.safetensors", "b": "b.safetensors"}},
        "missing": {"weight_map": {"a": "c.safetensors"}},
        "climbs": {"weight_map": {"a": "../a.safetensors"}},
        "number": {"weight_map": {"a": 1}},
        "one": {"weight_map": {"a": "a.safetensors"}},
    }.items():
        put("safetensors_index", name, json.dumps(index))


def texts() -> None:
    put("config_text", "run", 'model: "olmoe"\nset: "top_k=2"\nset: "hidden_size=8"\n'
                              "tokens: 16 steps: 2 seed: 7\ncapacity_factor: 1.25\nrouting_stats: true\n")
    put("config_text", "nested", "set {" * 500)
    put("config_text", "numbers", "tokens: -1\ndeadline: 1e400\ntop_p: nan\nsteps: 0x7fffffffffffffff")
    put("config_text", "unknown", "tokns: 4")
    for name in ("olmoe-1b-7b-0924", "deepseek-v3", "jamba-v0.1", "phi-3.5-moe"):
        for file in (TESTS.parent / "runtime/model/presets").glob(name + "*.textproto"):
            put("model_text", name, file.read_bytes())
    put("placement_text", "two", b"\x03\x01version: 1\nrank { expert: 0 expert: 3 }\n"
                                 b"rank { expert: [1, 2, 3] }\n")
    put("placement_text", "idle", b"\x01\x02rank { expert: [0, 1] } rank {} rank {}")
    put("placement_text", "epoch", b"\x00\x00epoch: 18446744073709551615 rank { expert: -1 }")
    put("placement_text", "nested", b"\x00\x00" + b"rank {" * 300)
    for folder in sorted((TESTS / "golden").glob("*/*-tiny*/config.json")):
        put("config_json", folder.parent.name, folder.read_bytes())


def tokenizers() -> None:
    base = {"added_tokens": [{"id": 5, "content": "<s>", "special": True}],
            "normalizer": None,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
            "decoder": {"type": "ByteLevel"},
            "model": {"type": "BPE", "vocab": {"H": 0, "e": 1, "l": 2, "o": 3, "ll": 4},
                      "merges": ["l l"]}}
    put("tokenizer_json", "byte-level", json.dumps(base))
    metaspace = dict(base)
    metaspace["normalizer"] = {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "\u2581"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]}
    metaspace["pre_tokenizer"] = None
    metaspace["decoder"] = {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
        {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    metaspace["model"] = {"type": "BPE", "byte_fallback": True, "fuse_unk": True, "unk_token": "<unk>",
                          "vocab": {"<unk>": 0, "\u2581": 1, "H": 2, "<0x41>": 3, "\u2581H": 4},
                          "merges": [["\u2581", "H"]]}
    put("tokenizer_json", "metaspace", json.dumps(metaspace))
    split = dict(base)
    split["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "\\p{L}+|\\s+(?!\\S)|(a|b)*c"}, "behavior": "Isolated",
         "invert": False}, {"type": "ByteLevel", "use_regex": False}]}
    put("tokenizer_json", "split", json.dumps(split))
    put("tokenizer_json", "nested", '{"model":' * 60)

    def model(kind: int) -> bytes:
        pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), ("\u2581", -1.0, 1),
                  ("H", -2.0, 1), ("e", -2.0, 1), ("He", -3.0, 1), ("<0x0A>", 0.0, 6)]
        out = b"".join(field(1, field(1, text.encode()) + field(2, score) + field(3, kind_of))
                       for text, score, kind_of in pieces)
        out += field(2, field(3, kind) + field(35, 1) + field(40, 0) + field(41, 1) + field(42, 2))
        return out + field(3, field(1, b"nmt_nfkc") + field(3, 1) + field(4, 1))

    put("sentencepiece", "unigram", model(1))
    put("sentencepiece", "bpe", model(2))
    put("sentencepiece", "charsmap", model(1) + field(3, field(2, struct.pack("<I", 16) + bytes(20))))


def wire() -> None:
    header = struct.pack("<4sHHIiiIQqiiqII", b"SYRD", 1, 1, 2, 1, 3, 1, 5, 3, 8192, 4, 24, 0, 0)
    for kind in range(1, 7):
        body = header[:6] + struct.pack("<H", kind) + header[8:]
        put("frame", f"kind{kind}", bytes([7]) + body)
    put("frame", "crc", bytes([6]) + header[:60] + struct.pack("<I", 0xebed5544))
    put("frame", "short", bytes([0, 63]) + header[:63])

    # Stages 2, ranks 2; 3 rows, 4 results.
    words = [1, 3] + [2, 3, 5, 1, 3] + [1, 1, 0, 0, 1] + [0, 2] + [7, 7] + [1]
    put("manifest", "good", bytes([1, 1]) + struct.pack("<HH", 3, 4) + struct.pack(f"<{len(words)}i", *words))
    put("manifest", "none", bytes([0, 0]) + bytes(4) + struct.pack("<4i", 0, 0, 0, 0) + bytes(4))
    put("offer", "plain", bytes([1, 0, 1, 0] + [0, 3, 4, 2, 4] + [1, 5, 2, 5, 6, 6, 1, 2, 1]))
    put("offer", "staged", bytes([1, 1, 1, 1, 2] + [3, 1, 2, 4] + [3, 1, 2, 4, 1] + [1] * 24))

    packed = (field(1, 1) + field(2, 1) + field(3, b"float32") + field(4, bytes(32)) + field(5, 4)
              + field(6, 65536) + field(7, struct.pack("<I", 0x48674bc7)))
    put("packed_file", "header", b"\0" + struct.pack("<H", len(packed)) + packed + bytes(4))
    put("packed_file", "zero", b"\1" + struct.pack("<H", 0))


def saved() -> None:
    for step in sorted((TESTS / "golden/checkpoint").glob("v*/step-*")):
        put("saved_manifest", step.parent.name, (step / "MANIFEST").read_bytes()[12:-4])
        for shard in sorted(step.glob("shard-*")):
            data = shard.read_bytes()
            label = struct.unpack("<I", data[8:12])[0]
            index, length = struct.unpack("<QQ", data[-56:-40])
            name = f"{step.parent.name}-{shard.name[6:11]}"
            put("saved_shard", f"{name}-header", b"\0" + data[12:12 + label])
            put("saved_shard", f"{name}-trailer", b"\1" + data[-56:-4])
            put("saved_shard", f"{name}-index",
                b"\2" + struct.pack("<q", len(data)) + data[index:index + length])


def traces() -> None:
    trace = (TESTS / "golden/trace/v1.sytrace").read_bytes()
    put("routing_trace", "whole", b"\0" + trace)
    put("routing_trace", "mended", b"\1" + trace)
    put("trace_text", "load", b"\0" + (TESTS / "golden/trace/expert-load.csv").read_bytes()[:700])
    put("trace_text", "sglang", b"\1" + json.dumps({"logical_count": [[[3, 2, 1]], [[0, 2, 2]]]}).encode())
    put("trace_text", "deep", b"\1" + b"[" * 5000 + b"]" * 5000)
    put("trace_text", "megatron", b"\2" + b"".join(json.dumps(
        {"step": step, "layer": 0, "rank": rank, "num_tokens": 1, "topk": 2,
         "top_indices": [[rank, 2]]}).encode() + b"\n" for step in (0, 3) for rank in (1, 0)))


safetensors()
saved()
traces()
texts()
tokenizers()
wire()
