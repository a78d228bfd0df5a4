// SPDX-License-Identifier: Apache-2.0
// Packed experts in files: what is read back is what was packed; whatever is wrong with a file is
// said in a word and mended; another checkpoint never gets the packed experts of this one.
#include "runtime/packing/pack_cache.hpp"

#include <array>
#include <cstring>
#include <functional>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <system_error>
#include <thread>

#include "comm/base/crc32c.hpp"
#include "experts/ffn.hpp"
#include "experts/synthetic.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/packing/pack_cache.pb.h"
#include "tests/runtime/layout_block.hpp"

namespace switchyard::runtime {
namespace {
using experts::AlignedBuffer;
using experts::DType;
using experts::PackedExpert;
using layout_tests::open_block;
using testing::HasSubstr;
using tests::TempFolder;
namespace fs = std::filesystem;

std::string text_of(const std::byte* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// A cache with one expert in it.
class Cache : public testing::Test {
 protected:
  Cache() {
    spec_.hidden = 40;
    spec_.width = 24;
    experts::BlockSpec block;
    block.expert = spec_;
    block.router.hidden = spec_.hidden;
    block.router.experts = 4;
    source_ = std::make_unique<experts::SyntheticSource>(block, 5, 2, false, false);
    want_ = AlignedBuffer(bytes());
    PackedExpert::pack(spec_, source_->expert(3), kStored, want_.as<std::byte>());
  }

  [[nodiscard]] std::size_t bytes() const {
    return static_cast<std::size_t>(PackedExpert::packed_bytes(spec_, kStored));
  }
  [[nodiscard]] PackCache::Expert expert(std::int64_t logical = 3) const {
    return {.spec = spec_, .stored = kStored, .layer = 2, .logical = logical};
  }
  PackCache cache() {
    return {folder_ / "cache", [this](const std::string& note) { notes_.push_back(note); }};
  }
  /// Asks a new cache for the expert, as another start of the program would.
  void expect_block(std::int64_t read, std::int64_t written) {
    PackCache again = cache();
    AlignedBuffer room;
    const MappedBlock block = again.get(expert(), *source_, room);
    EXPECT_EQ(std::memcmp(block.data(), want_.as<std::byte>(), bytes()), 0);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block.data()) % 4096, 0U);
    EXPECT_EQ(again.read(), read);
    EXPECT_EQ(again.written(), written);
  }
  [[nodiscard]] fs::path file() const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(folder_ / "cache")) found.push_back(entry);
    EXPECT_EQ(found.size(), 1U) << "one expert, and nothing that was left over";
    return found.front();
  }

  static constexpr DType kStored = DType::kInt8;
  TempFolder folder_;
  experts::ExpertSpec spec_;
  std::unique_ptr<experts::SyntheticSource> source_;
  AlignedBuffer want_;
  std::vector<std::string> notes_;
};

TEST_F(Cache, GivesBackWhatWasPacked) {
  expect_block(0, 1);
  EXPECT_THAT(file().filename().string(), testing::StartsWith("layer-2.expert-3.int8."));
  expect_block(1, 0);
  EXPECT_THAT(notes_, testing::IsEmpty());
}

TEST_F(Cache, HoldsBlocksOfThisLayoutVersion) {
  // Blocks outlive the program: where one of these changes, PackedExpert::kLayoutVersion counts up.
  const std::vector<std::pair<DType, std::uint32_t>> sums{
      {DType::kFloat32, 944656827U},  {DType::kBfloat16, 1826734538U},
      {DType::kFloat16, 2108196127U}, {DType::kInt8, 1472848009U},
      {DType::kFp8, 3805364190U},     {DType::kMxfp4, 380088507U}};
  ASSERT_EQ(PackedExpert::kLayoutVersion, 1U);
  for (const auto& [stored, sum] : sums) {
    AlignedBuffer block(static_cast<std::size_t>(PackedExpert::packed_bytes(spec_, stored)));
    PackedExpert::pack(spec_, source_->expert(1), stored, block.as<std::byte>());
    EXPECT_EQ(comm::crc32c({block.as<std::byte>(), block.size()}), sum) << name_of(stored);
  }
}

TEST_F(Cache, MayBeFilledByManyAtOnce) {
  std::vector<std::thread> jobs;
  for (int job = 0; job < 8; ++job) {
    jobs.emplace_back([this] {
      PackCache mine(folder_ / "cache", {});
      AlignedBuffer room;
      for (int i = 0; i < 10; ++i) {
        const MappedBlock block = mine.get(expert(), *source_, room);
        EXPECT_EQ(std::memcmp(block.data(), want_.as<std::byte>(), bytes()), 0);
      }
    });
  }
  for (auto& job : jobs) job.join();
  static_cast<void>(file());
  expect_block(1, 0);
}

/// The same header with something else in it, and its checksum made right again.
std::string with_header(const std::string& text,
                        const std::function<void(packing::v1::Header&)>& edit) {
  std::uint32_t length = 0;
  std::memcpy(&length, text.data() + 4, sizeof length);
  packing::v1::Header header;
  EXPECT_TRUE(header.ParseFromString(text.substr(12, length)));
  edit(header);
  const std::string changed = header.SerializeAsString();
  length = static_cast<std::uint32_t>(changed.size());
  const std::uint32_t sum = comm::crc32c(std::as_bytes(std::span(changed)));
  std::string made = "SYPE";
  made += text_of(reinterpret_cast<const std::byte*>(&length), 4);
  made += text_of(reinterpret_cast<const std::byte*>(&sum), 4);
  made += changed;
  made.resize(4096, '\0');
  return made + text.substr(4096);
}

struct Damage {
  std::string name;
  std::function<void(std::string&)> edit;
  std::string says;
};
void PrintTo(const Damage& damage, std::ostream* out) {
  *out << damage.name;
}
Damage header(const std::string& name, const std::function<void(packing::v1::Header&)>& edit,
              const std::string& says) {
  return {name, [edit](std::string& text) { text = with_header(text, edit); }, says};
}

std::vector<Damage> damages() {
  return {
      {"AFlippedBitInTheBlock", [](auto& t) { t[5000] = static_cast<char>(t[5000] ^ 4); },
       "bytes 0 and following of its block have another checksum"},
      {"AFlippedBitAtTheEnd", [](auto& t) { t.back() = static_cast<char>(t.back() ^ 128); },
       "another checksum"},
      {"AFlippedBitInTheHeader", [](auto& t) { t[20] = static_cast<char>(t[20] ^ 1); },
       "its header has another checksum"},
      {"ABlockCutShort", [](auto& t) { t.resize(t.size() - 1); }, "length"},
      {"NothingButTheHeader", [](auto& t) { t.resize(4096); }, "length"},
      {"AHeaderCutShort", [](auto& t) { t.resize(40); }, "cut short in its header"},
      {"AnEmptyFile", [](auto& t) { t.clear(); }, "no packed expert"},
      {"AFileOfSomethingElse", [](auto& t) { t.replace(0, 4, "PK\3\4"); }, "no packed expert"},
      {"AByteTooMany", [](auto& t) { t += 'x'; }, "length"},
      {"AnAbsurdHeader", [](auto& t) { t.replace(4, 4, "\xff\xff\xff\xff"); }, "cut short"},
      header(
          "ANewerFile", [](auto& h) { h.set_version(2); }, "file version 2, want 1"),
      header(
          "AnOlderLayout", [](auto& h) { h.set_layout(0); }, "layout version 0, want 1"),
      header(
          "AnotherType", [](auto& h) { h.set_stored("fp8"); }, "stored type fp8, want int8"),
      header(
          "AnotherModel", [](auto& h) { h.set_key(std::string(32, 'k')); }, "of other weights"),
      header(
          "AnotherSize", [](auto& h) { h.set_block_bytes(64); }, "bytes of its block 64"),
      header(
          "NoChecksums", [](auto& h) { h.clear_crc32c(); }, "checksums 0"),
      header(
          "NoPieces", [](auto& h) { h.set_piece_bytes(0); }, "pieces of 0 bytes"),
  };
}

class DamagedCache : public Cache, public testing::WithParamInterface<Damage> {};
TEST_P(DamagedCache, IsNamedAndWrittenAnew) {
  expect_block(0, 1);
  const fs::path file = this->file();
  std::string text = tests::read_file(file);
  GetParam().edit(text);
  tests::write_file(file, text);
  expect_block(0, 1);
  ASSERT_EQ(notes_.size(), 1U);
  EXPECT_THAT(notes_[0], HasSubstr(GetParam().says));
  EXPECT_THAT(notes_[0], HasSubstr(file.string()));
  EXPECT_THAT(notes_[0], HasSubstr("written anew"));
  expect_block(1, 0);
}
INSTANTIATE_TEST_SUITE_P(Files, DamagedCache, testing::ValuesIn(damages()),
                         [](const auto& damage) { return damage.param.name; });

TEST_F(Cache, LeavesAloneWhatIsNoFile) {
  expect_block(0, 1);
  const fs::path file = this->file();
  fs::remove(file);
  ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);
  EXPECT_THROW(expect_block(0, 0), std::system_error);
  fs::remove(file);
  fs::create_directory(file);
  EXPECT_THROW(expect_block(0, 0), std::system_error);
}

TEST_F(Cache, ThatCannotBeWrittenIsAnErrorOfItsOwn) {
  const auto folder = tests::write_file(folder_ / "file", "");
  EXPECT_THROW(PackCache(folder, {}), std::system_error);
  EXPECT_THROW(PackCache(folder / "below", {}), std::system_error);
  PackCache nowhere("/proc/self", {});
  AlignedBuffer room;
  try {
    static_cast<void>(nowhere.get(expert(), *source_, room));
    FAIL() << "want an error";
  } catch (const std::system_error& error) {
    EXPECT_THAT(error.what(), HasSubstr("--pack-cache: cannot write /proc/self/layer-2.expert-3"));
  }
}

TEST_F(Cache, KnowsExpertsSeedsAndShapesApart) {
  PackCache all = cache();
  AlignedBuffer room;
  static_cast<void>(all.get(expert(3), *source_, room));
  static_cast<void>(all.get(expert(2), *source_, room));
  experts::BlockSpec block;
  block.expert = spec_;
  block.router.experts = 4;
  experts::SyntheticSource other(block, 6, 2, false, false);
  static_cast<void>(all.get(expert(3), other, room));
  auto wide = expert(3);
  wide.stored = DType::kFloat32;
  static_cast<void>(all.get(wide, *source_, room));
  EXPECT_EQ(all.written(), 4);
  EXPECT_EQ(all.read(), 0);
}

TEST(Identity, OfAnExpertChangesWithItsFileAndItsBytes) {
  const auto file = layout_tests::mixtral();
  const TempFolder folder;
  const fs::path path = file.write(folder / "block.safetensors");
  const auto identity = [&](std::int64_t logical) {
    const auto mapped = std::make_shared<const SafetensorsFile>(path);
    return block_source(std::make_shared<const TensorSet>(mapped),
                        {.family = "mixtral", .prefix = "p.", .router = {}}, tests::small_spec(),
                        false, false, nullptr)
        ->identity(logical);
  };
  const std::string first = identity(1);
  EXPECT_EQ(identity(1), first) << "the same file, opened again";
  EXPECT_NE(identity(2), first) << "another expert";

  const auto when = fs::last_write_time(path);
  std::string bytes = tests::read_file(path);
  // All weights have other bits; size, header and even the time are what they were.
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof header);
  for (std::size_t i = 8 + header; i < bytes.size(); ++i) bytes[i] = static_cast<char>(~bytes[i]);
  tests::write_file(path, bytes);
  fs::last_write_time(path, when);
  const std::string other = identity(1);
  EXPECT_NE(other, first) << "other bytes";
  fs::last_write_time(path, when + std::chrono::milliseconds(1));
  EXPECT_NE(identity(1), other) << "another time";
}

/// Mixtral's block with one expert of another type.
DType type_of_block(std::int64_t bfloat16_from) {
  tests::SafetensorsWriter file;
  tests::add_router(file, "p.gate.weight");
  for (std::int64_t e = 0; e < tests::kExperts; ++e) {
    const bool narrow = e >= bfloat16_from;
    for (const std::string matrix : {"w1", "w2", "w3"}) {
      const bool down = matrix == "w2";
      file.add("p.experts." + std::to_string(e) + "." + matrix + ".weight", narrow ? "BF16" : "F32",
               {down ? tests::kHidden : tests::kWidth, down ? tests::kWidth : tests::kHidden},
               std::string(static_cast<std::size_t>(24 * (narrow ? 2 : 4)), '\0'));
    }
  }
  const auto opened = open_block(file, "mixtral", "p.", tests::small_spec());
  return own_type(*opened->source, tests::kExperts);
}

TEST(OwnType, IsThatOfAllExpertsOrFloat32) {
  EXPECT_EQ(type_of_block(0), DType::kBfloat16);
  EXPECT_EQ(type_of_block(3), DType::kFloat32);
  EXPECT_EQ(type_of_block(2), DType::kFloat32) << "the last one is narrower";
  EXPECT_EQ(type_of_block(1), DType::kFloat32) << "the first one is wider";
}
}  // namespace
}  // namespace switchyard::runtime
