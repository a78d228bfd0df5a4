// SPDX-License-Identifier: Apache-2.0
// What libFuzzer calls: the target that this program was compiled for.
#include <google/protobuf/stubs/logging.h>

#include "tests/fuzz/targets.hpp"

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  google::protobuf::SetLogHandler(nullptr);  // a line for each input of strange letters takes time
  switchyard::fuzz::SWITCHYARD_FUZZ_TARGET({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
