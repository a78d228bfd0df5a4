// SPDX-License-Identifier: Apache-2.0
// What loading takes from the heap at its height: the packed share, one expert, and a tenth. Files
// are mapped, and their pages are nobody's own. Every allocation of this binary is counted (calls
// of ours come here by the linker's --wrap), so that no clock and no kernel has a say.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <gtest/gtest.h>
#include <malloc.h>
#include <memory>
#include <mutex>
#include <new>
#include <nlohmann/json.hpp>

#include "comm/group/mpi_group.hpp"
#include "experts/ffn.hpp"
#include "runtime/layer/moe_layer.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/transformer/transformer.hpp"
#include "tests/runtime/safetensors_writer.hpp"

namespace {
std::atomic<std::int64_t> live = 0;
std::atomic<std::int64_t> most = 0;

void add(std::int64_t bytes) {
  const std::int64_t now = live += bytes;
  std::int64_t seen = most.load();
  while (now > seen && !most.compare_exchange_weak(seen, now)) continue;
}
std::int64_t size_of(void* memory) {
  return static_cast<std::int64_t>(::malloc_usable_size(memory));
}

/// What came from aligned_alloc or memalign, by the bytes that were asked for: it maps more for the
/// alignment, and nobody touches that.
struct Aligned {
  void* memory = nullptr;
  std::int64_t bytes = 0;
};
std::mutex aligned_lock;
std::array<Aligned, 4096> aligned_blocks{};

void* remember(void* memory, std::size_t bytes) {
  if (memory == nullptr) return nullptr;
  const std::scoped_lock lock(aligned_lock);
  *std::ranges::find(aligned_blocks, nullptr, &Aligned::memory) = {
      memory, static_cast<std::int64_t>(bytes)};
  add(static_cast<std::int64_t>(bytes));
  return memory;
}

void* allocate(std::size_t bytes, std::size_t align) {
  void* memory = nullptr;
  if (::posix_memalign(&memory, std::max(align, sizeof(void*)), std::max<std::size_t>(bytes, 1)) !=
      0) {
    throw std::bad_alloc();
  }
  add(size_of(memory));
  return memory;
}
}  // namespace

// NOLINTBEGIN(bugprone-reserved-identifier): the linker's names for --wrap
extern "C" {
void* __real_aligned_alloc(std::size_t align, std::size_t bytes);
void __real_free(void* memory);
void* __wrap_aligned_alloc(std::size_t align, std::size_t bytes) {
  return remember(__real_aligned_alloc(align, bytes), bytes);
}
void* __real_memalign(std::size_t align, std::size_t bytes);
void* __wrap_memalign(std::size_t align, std::size_t bytes) {
  return remember(__real_memalign(align, bytes), bytes);
}
void __wrap_free(void* memory) {
  if (memory != nullptr) {
    const std::scoped_lock lock(aligned_lock);
    const auto found = std::ranges::find(aligned_blocks, memory, &Aligned::memory);
    if (found != aligned_blocks.end()) {
      live -= found->bytes;
      *found = {};
    }
  }
  __real_free(memory);
}
}
// NOLINTEND(bugprone-reserved-identifier)

void* operator new(std::size_t bytes) {
  return allocate(bytes, alignof(std::max_align_t));
}
void* operator new(std::size_t bytes, std::align_val_t align) {
  return allocate(bytes, static_cast<std::size_t>(align));
}
void operator delete(void* memory) noexcept {
  if (memory != nullptr) live -= size_of(memory);
  __real_free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  operator delete(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  operator delete(memory);
}
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  operator delete(memory);
}

namespace switchyard::runtime {
namespace {
using experts::DType;

struct Way {
  std::string name;
  std::string file = "BF16";  ///< of the file's tensors
  DType stored = DType::kBfloat16;
  bool shifted = false;  ///< data misaligned, so that views are copies
};
void PrintTo(const Way& way, std::ostream* out) {
  *out << way.name;
}

/// A whole Mixtral of one type, its numbers zero.
void write_model(const std::filesystem::path& folder, const Way& way) {
  auto config = nlohmann::json::parse(tests::read_file(std::string(SWITCHYARD_TEST_DATA) +
                                                       "/golden/models/mixtral-tiny/config.json"));
  config["hidden_size"] = 384;
  config["intermediate_size"] = 768;
  tests::write_file(folder / "config.json", config.dump());
  tests::SafetensorsWriter file;
  const std::size_t width = way.file == "F32" ? 4 : 2;
  for (const TensorShape& tensor : Model::from_config_json(config.dump(), "").tensors()) {
    std::int64_t elements = 1;
    for (const std::int64_t extent : tensor.shape) elements *= extent;
    file.add(tensor.name, way.file, tensor.shape,
             std::string(static_cast<std::size_t>(elements) * width, '\0'));
  }
  const std::string probe = file.bytes();
  std::uint64_t header = 0;
  std::memcpy(&header, probe.data(), sizeof header);
  const std::size_t padding = (8 - header % 8) % 8 + (way.shifted ? 1 : 0);
  tests::write_file(folder / "model.safetensors", file.bytes(padding));
}

class Loading : public testing::TestWithParam<Way> {
 protected:
  Loading() {
    write_model(folder_.path(), GetParam());
    checkpoint_ = std::make_unique<Checkpoint>(folder_.path());
    options_.stored = GetParam().stored;
    expert_ =
        experts::PackedExpert::packed_bytes(checkpoint_->model().block().expert, options_.stored);
  }
  /// Heap at the height of what `load` does, beyond what there was. What it returns lives on.
  template <class F>
  std::int64_t height(const F& load) {
    const std::int64_t before = live;
    most = before;
    const auto kept = load();
    return most - before;
  }
  [[nodiscard]] std::int64_t share() const {
    const auto placement = Placement::linear(8, group_->size());
    return static_cast<std::int64_t>(placement.experts_of(group_->rank()).size()) * expert_;
  }

  std::unique_ptr<comm::MpiGroup> group_ = comm::MpiGroup::world();
  tests::TempFolder folder_;
  std::unique_ptr<Checkpoint> checkpoint_;
  LayerOptions options_;
  std::int64_t expert_ = 0;
};

TEST_P(Loading, OfALayerTakesItsShareAnExpertAndATenth) {
  for (const bool shared : {false, true}) {
    options_.node_queue = shared;
    const std::int64_t most_bytes = height([&] {
      return std::make_unique<MoeLayer>(*group_, checkpoint_->model().block(),
                                        std::shared_ptr(checkpoint_->block(0)),
                                        Placement::linear(8, group_->size()), options_);
    });
    // What a node shares is no heap.
    const std::int64_t own = shared && group_->size() > 1 ? 0 : share();
    EXPECT_GE(most_bytes, own);
    EXPECT_LE(most_bytes, own + expert_ + share() / 10) << "share " << share();
  }
}

TEST_P(Loading, AsNeededTakesNoShare) {
  options_.node_queue = false;
  options_.pack_budget = std::make_shared<PackBudget>(0);
  const std::int64_t most_bytes = height([&] {
    return std::make_unique<MoeLayer>(*group_, checkpoint_->model().block(),
                                      std::shared_ptr(checkpoint_->block(0)),
                                      Placement::linear(8, group_->size()), options_);
  });
  EXPECT_LE(most_bytes, expert_ / 2);
}

TEST_P(Loading, IntoACacheTakesAnExpertAtATime) {
  options_.node_queue = false;  // or ranks would look for experts in each other's folders
  options_.pack_cache = std::make_shared<PackCache>(folder_ / "cache", nullptr);
  for (const bool written : {false, true}) {
    const std::int64_t most_bytes = height([&] {
      return std::make_unique<MoeLayer>(*group_, checkpoint_->model().block(),
                                        std::shared_ptr(checkpoint_->block(0)),
                                        Placement::linear(8, group_->size()), options_);
    });
    // Packing itself may copy a matrix of the file, or all of them where they are misaligned.
    EXPECT_LE(most_bytes, written ? expert_ / 2 : 2 * expert_ + expert_ / 2);
  }
}

TEST_P(Loading, OfAWholeModelTakesItsWeightsAnExpertAndATenth) {
  options_.node_queue = false;
  std::int64_t weights = 0;
  const std::int64_t most_bytes = height([&] {
    auto model =
        std::make_unique<Transformer>(*group_, *checkpoint_, TransformerOptions{.layer = options_});
    weights = model->weight_bytes();
    return model;
  });
  EXPECT_GE(weights, 2 * share());
  EXPECT_LE(most_bytes, weights + expert_ + weights / 10) << "weights " << weights;
}

INSTANTIATE_TEST_SUITE_P(Ways, Loading,
                         testing::Values(Way{.name = "AsItIs"},
                                         Way{.name = "Widened", .stored = DType::kFloat32},
                                         Way{.name = "Quantised", .stored = DType::kInt8},
                                         Way{.name = "ToFp8", .file = "F32", .stored = DType::kFp8},
                                         Way{.name = "Narrowed", .file = "F32"},
                                         Way{.name = "Misaligned", .shifted = true}),
                         [](const auto& way) { return way.param.name; });
}  // namespace
}  // namespace switchyard::runtime
