// SPDX-License-Identifier: Apache-2.0
/// @file
/// F19: what version 1 wrote is read for ever, and nobody changes the meaning of a field.
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/unknown_field_set.h>
#include <gtest/gtest.h>

#include "comm/base/crc32c.hpp"
#include "comm/group/local_group.hpp"
#include "runtime/checkpoint/checkpoint.pb.h"
#include "runtime/checkpoint/verify.hpp"
#include "tests/runtime/store_state.hpp"

namespace {
using namespace switchyard;
using namespace switchyard::runtime;
using store_tests::State;
using testing::HasSubstr;
namespace fs = std::filesystem;
namespace pb = google::protobuf;

const std::string kGolden = std::string(SWITCHYARD_TEST_DATA) + "/golden/checkpoint";
constexpr std::int64_t kWidth = 8;

std::string text_of(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

/// One line a field, of all messages of the format: "Shard.size = 2 uint64 optional".
std::string fields_of(const pb::FileDescriptor& file) {
  std::string lines;
  for (int e = 0; e < file.enum_type_count(); ++e) {
    const pb::EnumDescriptor& type = *file.enum_type(e);
    for (int v = 0; v < type.value_count(); ++v) {
      lines += type.name() + "." + type.value(v)->name() + " = " +
               std::to_string(type.value(v)->number()) + "\n";
    }
  }
  for (int m = 0; m < file.message_type_count(); ++m) {
    const pb::Descriptor& message = *file.message_type(m);
    for (int f = 0; f < message.field_count(); ++f) {
      const pb::FieldDescriptor& field = *message.field(f);
      const char* const label = field.is_repeated()            ? "repeated"
                                : field.has_optional_keyword() ? "optional"
                                                               : "one";
      lines += message.name() + "." + field.name() + " = " + std::to_string(field.number()) + " " +
               (field.message_type() != nullptr ? field.message_type()->full_name()
                : field.enum_type() != nullptr  ? field.enum_type()->full_name()
                                                : std::string(field.type_name())) +
               " " + label + "\n";
    }
    for (int r = 0; r < message.reserved_range_count(); ++r) {
      lines += message.name() + " reserves " + std::to_string(message.reserved_range(r)->start) +
               " to " + std::to_string(message.reserved_range(r)->end - 1) + "\n";
    }
  }
  return lines;
}

/// The manifest of the golden checkpoint, changed, in its frame again.
std::string reframed(const std::function<void(checkpoint::v1::Manifest&)>& change) {
  const std::string file = text_of(kGolden + "/v1/step-000000000002/MANIFEST");
  checkpoint::v1::Manifest message;
  EXPECT_TRUE(message.ParseFromString(file.substr(12, file.size() - 16)));
  change(message);
  const std::string bytes = message.SerializeAsString();
  std::string framed = file.substr(0, 8);
  const auto put = [&](std::size_t value) {
    for (unsigned i = 0; i < 4; ++i) framed += static_cast<char>((value >> (8 * i)) & 0xFFU);
  };
  put(bytes.size());
  framed += bytes;
  put(comm::crc32c(std::as_bytes(std::span(framed))));
  return framed;
}

Manifest decoded(const std::string& file) {
  return decode_manifest(std::as_bytes(std::span(file)), "MANIFEST");
}

TEST(CheckpointFormat, TheGoldenCheckpointOfVersionOneLoads) {
  const auto files = posix_file_system();
  // Writes it, once a version, when asked to; never over one that is there.
  if (std::getenv("SWITCHYARD_WRITE_GOLDEN") != nullptr && !fs::exists(kGolden + "/v1")) {
    comm::run_local(2, [&](comm::Group& group) {
      CheckpointStore store(group, *files, kGolden + "/v1", {.run_id = "r"});
      const State state(2, kWidth);
      ASSERT_TRUE(store.save(state.info(), state.pieces(group)).saved);
    });
    fs::remove(kGolden + "/v1/LOCK");
  }
  for (const Finding& finding : verify_checkpoint(*files, kGolden + "/v1", 2).findings) {
    ADD_FAILURE() << finding.words;
  }
  StoredCheckpoint stored(*files, kGolden + "/v1", 2);
  EXPECT_EQ(State(2, kWidth).differences(stored), "");
  const CheckpointInfo want = State(2, kWidth).info();
  EXPECT_EQ(stored.info().run_id, want.run_id);
  EXPECT_EQ(stored.info().model_text, want.model_text);
  EXPECT_EQ(stored.info().counters, want.counters);
  EXPECT_EQ(stored.info().load, want.load);
  EXPECT_EQ(stored.info().experts_of, want.experts_of);
  EXPECT_EQ(stored.info().labels, want.labels);
  EXPECT_EQ(stored.info().seed, want.seed);
  EXPECT_EQ(stored.info().placement_epoch, want.placement_epoch);
}

TEST(CheckpointFormat, NoFieldHasChangedItsNumberItsTypeOrItsName) {
  const std::string now = fields_of(*checkpoint::v1::Manifest::descriptor()->file());
  const std::string file = kGolden + "/fields.txt";
  if (std::getenv("SWITCHYARD_WRITE_GOLDEN") != nullptr && !fs::exists(file)) {
    std::ofstream(file) << now;
  }
  EXPECT_EQ(now, text_of(file)) << "a field may be added at the end of " << file
                                << "; a removed number must be reserved";
}

TEST(CheckpointFormat, ANewerVersionIsRefusedByItsNumbers) {
  const std::string newer = reframed([](auto& manifest) {
    manifest.set_format_version(3);
    manifest.set_min_reader_version(2);
  });
  try {
    static_cast<void>(decoded(newer));
    FAIL() << "read";
  } catch (const DamagedCheckpoint& error) {
    FAIL() << "taken for damage: " << error.what();
  } catch (const std::invalid_argument& error) {
    EXPECT_THAT(error.what(),
                HasSubstr("written by version 3, for readers from version 2; this one "
                          "is version 1"));
  }
  const std::string readable = reframed([](auto& manifest) { manifest.set_format_version(3); });
  EXPECT_EQ(decoded(readable).format_version, 3U);
}

TEST(CheckpointFormat, FieldsOfALaterVersionSurviveARoundTrip) {
  constexpr int kLater = 150;
  const auto add = [](pb::Message& message, std::uint64_t value) {
    message.GetReflection()->MutableUnknownFields(&message)->AddVarint(kLater, value);
  };
  const std::string later = reframed([&](auto& manifest) {
    add(manifest, 1);
    add(*manifest.mutable_model(), 2);
    add(*manifest.mutable_random()->mutable_counter(0), 3);
    add(*manifest.mutable_placement(), 4);
    add(*manifest.mutable_tensor(3), 5);
  });
  Manifest manifest = decoded(later);
  EXPECT_EQ(encode(manifest), later) << "not byte for byte";
  manifest.info.program_version = "9.9";  // a tool that changes something else
  const std::string changed = encode(manifest);
  checkpoint::v1::Manifest message;
  ASSERT_TRUE(message.ParseFromString(changed.substr(12, changed.size() - 16)));
  const auto has = [](const pb::Message& part) {
    return part.GetReflection()->GetUnknownFields(part).field_count();
  };
  EXPECT_EQ(has(message), 1);
  EXPECT_EQ(has(message.model()), 1);
  EXPECT_EQ(has(message.random().counter(0)), 1);
  EXPECT_EQ(has(message.placement()), 1);
  EXPECT_EQ(has(message.tensor(3)), 1);
}

struct Wrong {
  const char* name;
  std::function<void(checkpoint::v1::Manifest&)> change;
  const char* words;
};

TEST(CheckpointFormat, WhatCannotBeIsRefusedBeforeItIsUsed) {
  const Wrong wrongs[] = {
      {"gap", [](auto& m) { m.mutable_shard(0)->mutable_piece()->RemoveLast(); }, "size "},
      {"overlap", [](auto& m) { *m.mutable_shard(0)->mutable_piece(1) = m.shard(0).piece(0); },
       "piece at byte 4096, want "},
      {"type", [](auto& m) { m.mutable_tensor(0)->set_type(checkpoint::v1::DataType(99)); },
       "element type 99, want 1 to 8"},
      {"shape", [](auto& m) { m.mutable_tensor(1)->set_shape(0, std::uint64_t{1} << 61U); },
       "shape has more than 2^60 bytes"},
      {"dimensions",
       [](auto& m) {
         for (int i = 0; i < 9; ++i) m.mutable_tensor(1)->add_shape(1);
       },
       "dimensions"},
      {"duplicate", [](auto& m) { m.mutable_tensor(1)->set_name(m.tensor(0).name()); },
       "want rising names, none twice"},
      {"name", [](auto& m) { m.mutable_tensor(0)->set_name(std::string(513, 'a')); },
       "tensor's name of 513 bytes"},
      {"up", [](auto& m) { m.mutable_shard(0)->set_file("../secret"); }, "has another name"},
      {"world", [](auto& m) { m.set_writer_world(3); }, "shards 2, want 3"},
      {"none", [](auto& m) { m.clear_shard(); }, "no shards"},
      {"offset",
       [](auto& m) { m.mutable_shard(0)->mutable_piece(0)->set_file_offset(1ULL << 50U); },
       "piece at byte"},
      {"beyond", [](auto& m) { m.mutable_shard(0)->mutable_piece(0)->set_offset(0, 1000); },
       "of dimension 0"},
      {"tensor", [](auto& m) { m.mutable_shard(0)->mutable_piece(0)->set_tensor(4'000'000); },
       "tensor number 4000000"},
      {"sums", [](auto& m) { m.mutable_shard(0)->mutable_piece(0)->clear_block_crc32c(); },
       "checksums of a piece 0, want 1"},
      {"missing", [](auto& m) { m.mutable_shard(1)->clear_piece(); }, "size "},
      {"index", [](auto& m) { m.mutable_shard(1)->set_index_bytes(1ULL << 40U); },
       "bytes of index"},
      {"version", [](auto& m) { m.clear_format_version(); }, "no format_version"},
      {"content", [](auto& m) { m.mutable_shard(0)->mutable_piece(0)->set_block_crc32c(0, 1); },
       "content_sha256"},
      {"step", [](auto& m) { m.set_step(1ULL << 63U); }, "step: got"}};
  for (const Wrong& wrong : wrongs) {
    try {
      static_cast<void>(decoded(reframed(wrong.change)));
      ADD_FAILURE() << wrong.name << ": read";
    } catch (const DamagedCheckpoint& error) {
      EXPECT_THAT(error.what(), HasSubstr(wrong.words)) << wrong.name;
    }
  }
}

TEST(CheckpointFormat, AFrameThatLiesIsRefused) {
  const std::string good = text_of(kGolden + "/v1/step-000000000002/MANIFEST");
  std::string huge = good;
  for (std::size_t i = 8; i < 12; ++i) huge[i] = '\xff';
  for (const std::string& bad : {std::string(), good.substr(0, 15), "X" + good.substr(1), huge,
                                 good + "x", good.substr(0, good.size() - 1)}) {
    EXPECT_THROW(static_cast<void>(decoded(bad)), DamagedCheckpoint) << bad.size();
  }
}
}  // namespace
