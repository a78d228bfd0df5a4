// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Every way into the program for bytes that nobody vouches for, one function each. The same
/// functions run under libFuzzer (fuzz_main.cpp) and over the kept inputs (replay_test.cpp); names
/// are those of the folders in corpus/.
#include "tests/fuzz/input.hpp"

namespace switchyard::fuzz {
void safetensors(Bytes bytes);
void safetensors_index(Bytes bytes);
void config_json(Bytes bytes);
void config_text(Bytes bytes);
void model_text(Bytes bytes);
void placement_text(Bytes bytes);
void tokenizer_json(Bytes bytes);
void sentencepiece(Bytes bytes);
void packed_file(Bytes bytes);
void saved_manifest(Bytes bytes);
void saved_shard(Bytes bytes);
void routing_trace(Bytes bytes);
void trace_text(Bytes bytes);
void frame(Bytes bytes);
void manifest(Bytes bytes);
void offer(Bytes bytes);
}  // namespace switchyard::fuzz
