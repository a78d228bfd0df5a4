// SPDX-License-Identifier: Apache-2.0
/// @file
/// Saves two steps to a folder of the machine, and says how each went: for strace_calls.sh.
/// usage: faults_save_steps FOLDER verify|save
#include <cstdio>
#include <cstring>

#include "comm/group/local_group.hpp"
#include "tests/runtime/store_state.hpp"

namespace {
using namespace switchyard;
using store_tests::State;

int save(const std::string& folder) {
  const auto files = runtime::posix_file_system();
  const auto group = comm::solo_group();
  runtime::CheckpointStore store(
      *group, *files, folder,
      {.run_id = "r", .note = [](const std::string& note) { std::printf("%s\n", note.c_str()); }});
  const auto steps = runtime::saved_steps(*files, folder);
  std::int64_t step = steps.empty() ? 0 : steps.front();
  for (int i = 0; i < 2; ++i) {
    const State state(++step);
    const auto result = store.save(state.info(), state.pieces(*group));
    std::printf("step %lld %s\n", static_cast<long long>(step),
                result.saved ? "saved" : "not saved");
  }
  return 0;
}

int verify(const std::string& folder) {
  const auto files = runtime::posix_file_system();
  const auto steps = runtime::saved_steps(*files, folder);
  for (const std::int64_t step : steps) {
    runtime::StoredCheckpoint stored(*files, folder, step);
    const std::string words = State(step).differences(stored);
    if (!words.empty()) throw std::runtime_error(words);
  }
  std::printf("good:");
  for (const std::int64_t step : steps) std::printf(" %lld", static_cast<long long>(step));
  std::printf("\n");
  return steps.empty() ? 1 : 0;
}
}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  try {
    return std::strcmp(argv[2], "verify") == 0 ? verify(argv[1]) : save(argv[1]);
  } catch (const std::exception& error) {
    std::printf("error: %s\n", error.what());
    return 74;
  }
}
