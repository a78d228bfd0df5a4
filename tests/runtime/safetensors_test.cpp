// SPDX-License-Identifier: Apache-2.0
#include "runtime/model/safetensors.hpp"

#include <bit>
#include <cerrno>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <random>
#include <stdexcept>
#include <sys/stat.h>
#include <system_error>

#include "experts/dtype.hpp"
#include "tests/runtime/safetensors_writer.hpp"

namespace switchyard::runtime {
namespace {

using testing::HasSubstr;
using tests::file_of;
using tests::length_bytes;
using tests::SafetensorsWriter;
using tests::TempFolder;
using tests::write_file;

/// What opening these bytes as a file says, or "" if they are accepted.
std::string refusal(const std::string& bytes) {
  const TempFolder folder;
  const auto path = write_file(folder / "a.safetensors", bytes);
  try {
    const SafetensorsFile file(path);
    return {};
  } catch (const std::invalid_argument& problem) {
    EXPECT_THAT(problem.what(), testing::StartsWith(path.string() + ": "));
    return problem.what();
  }
}

/// One F32 tensor "a" whose entry is given.
std::string refusal_of_entry(const std::string& entry, std::size_t data_bytes = 16) {
  return refusal(file_of("{\"a\":" + entry + "}", std::string(data_bytes, 'x')));
}

/// A folder's refusal, with the type of exception in front.
std::string folder_refusal(const std::filesystem::path& folder) {
  try {
    static_cast<void>(TensorSet::open_directory(folder));
    return {};
  } catch (const std::invalid_argument& problem) {
    return std::string("data: ") + problem.what();
  } catch (const std::system_error& problem) {
    return std::string("io: ") + problem.what();
  }
}

SafetensorsWriter one_tensor(const std::string& name) {
  SafetensorsWriter writer;
  writer.add(name, "F32", {2}, std::vector<float>{1, 2});
  return writer;
}

TEST(Safetensors, TensorsAndMetadataAreReadWhereTheyLie) {
  const TempFolder folder;
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"I64","shape":[2],"data_offsets":[8,24]},)"
      R"("a":{"data_offsets":[0,8],"shape":[1,2],"dtype":"F32"},)"
      R"("scalar":{"dtype":"U8","shape":[],"data_offsets":[24,25]},)"
      R"("empty":{"dtype":"F32","shape":[0,7],"data_offsets":[24,24]}}   )";
  std::string data(25, '\0');
  const float one = 1;
  std::memcpy(data.data() + 4, &one, 4);
  data[8] = 9;
  const SafetensorsFile file(write_file(folder / "a.safetensors", file_of(header, data)));
  EXPECT_EQ(file.metadata().at("format"), "pt");
  ASSERT_EQ(file.tensors().size(), 4U);
  const Tensor& a = file.tensors().at("a");
  EXPECT_EQ(a.dtype, "F32");
  EXPECT_EQ(a.shape, (std::vector<std::int64_t>{1, 2}));
  EXPECT_EQ(a.elements(), 2);
  EXPECT_EQ(std::memcmp(a.data.data() + 4, &one, 4), 0);
  EXPECT_EQ(std::to_integer<int>(file.tensors().at("b").data[0]), 9);
  EXPECT_EQ(file.tensors().at("scalar").elements(), 1);
  EXPECT_EQ(file.tensors().at("empty").elements(), 0);
}

TEST(Safetensors, AFileWithoutTensorsIsSound) {
  EXPECT_EQ(refusal(file_of("{}", "")), "");
}

TEST(Safetensors, FilesThatAreNoFilesAreRefused) {
  EXPECT_THAT(refusal(""), HasSubstr("file in bytes, got 0, want at least 8"));
  EXPECT_THAT(refusal("1234567"), HasSubstr("file in bytes, got 7, want at least 8"));
  const TempFolder folder;
  try {
    const SafetensorsFile file(folder.path());
    FAIL() << "a directory was accepted";
  } catch (const std::invalid_argument& problem) {
    EXPECT_THAT(problem.what(), HasSubstr("a directory, want a regular file"));
  }
  const auto pipe = folder / "pipe.safetensors";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  try {
    const SafetensorsFile file(pipe);
    FAIL() << "a pipe was accepted";
  } catch (const std::invalid_argument& problem) {
    EXPECT_THAT(problem.what(), HasSubstr("not a regular file"));
  }
}

TEST(Safetensors, AMissingFileIsAnIoErrorThatNamesIt) {
  const TempFolder folder;
  try {
    const SafetensorsFile file(folder / "none.safetensors");
    FAIL();
  } catch (const std::system_error& problem) {
    EXPECT_EQ(problem.code().value(), ENOENT);
    EXPECT_THAT(problem.what(), HasSubstr("none.safetensors: No such file"));
  }
}

TEST(Safetensors, HeaderLengthsThatLieAreRefused) {
  EXPECT_THAT(refusal(length_bytes(0) + "{}"), HasSubstr("header in bytes, got 0, want 2 to 2"));
  EXPECT_THAT(refusal(length_bytes(1) + "{}"), HasSubstr("header in bytes, got 1, want 2 to 2"));
  EXPECT_THAT(refusal(length_bytes(3) + "{}"), HasSubstr("header in bytes, got 3, want 2 to 2"));
  EXPECT_THAT(refusal(length_bytes(~std::uint64_t{0}) + "{}"),
              HasSubstr("got 18446744073709551615, want 2 to 2"));
  EXPECT_THAT(refusal(length_bytes(std::uint64_t{1} << 63U) + "{}"), HasSubstr("want 2 to 2"));
  EXPECT_THAT(refusal(length_bytes(2)), HasSubstr("header in bytes, got 2, want 2 to 0"));
  const TempFolder folder;  // a sparse file: the length fits it and is still too much
  const auto path = write_file(folder / "a.safetensors", length_bytes(100'000'001) + "{}");
  std::filesystem::resize_file(path, 200'000'000);
  try {
    const SafetensorsFile file(path);
    FAIL();
  } catch (const std::invalid_argument& problem) {
    EXPECT_THAT(problem.what(), HasSubstr("got 100000001, want 2 to 100000000"));
  }
}

TEST(Safetensors, HeadersThatAreNoJsonAreRefused) {
  EXPECT_THAT(refusal(file_of("hello", "")), HasSubstr("header begins with 'h', want '{'"));
  EXPECT_THAT(refusal(file_of(" {}", "")), HasSubstr("header begins with ' '"));
  EXPECT_THAT(refusal(file_of("[]", "")), HasSubstr("header begins with '['"));
  EXPECT_THAT(refusal(file_of("{\"a\"", "")), HasSubstr("header is not JSON"));
  EXPECT_THAT(refusal(file_of("{}{}", "")), HasSubstr("header is not JSON"));
  EXPECT_THAT(refusal(file_of(std::string("{}\0xx", 5), "")), HasSubstr("NUL at byte 2"));
  EXPECT_THAT(refusal(file_of("{\"\xff\":1}", "")), HasSubstr("header is not JSON"));
  EXPECT_THAT(refusal(file_of("{\"a\":" + std::string(100'000, '[') + "}", "")),
              HasSubstr("got an array, want an object"));
}

TEST(Safetensors, WrongTypesInTheHeaderAreRefusedByTensorAndField) {
  EXPECT_THAT(refusal_of_entry("7"), HasSubstr("tensor a: got 7, want an object"));
  EXPECT_THAT(refusal_of_entry("null"), HasSubstr("tensor a: got null, want an object"));
  EXPECT_THAT(refusal_of_entry(R"({"dtype":4})"),
              HasSubstr("tensor a: dtype, got 4, want a string"));
  EXPECT_THAT(refusal_of_entry(R"({"shape":"4"})"),
              HasSubstr("shape, got a string, want at most 32 whole numbers"));
  EXPECT_THAT(refusal_of_entry(R"({"shape":[4.0]})"), HasSubstr("shape, got 4.0, want"));
  EXPECT_THAT(refusal_of_entry(R"({"shape":[true]})"), HasSubstr("shape, got true, want"));
  EXPECT_THAT(refusal_of_entry(R"({"shape":[[4]]})"), HasSubstr("shape, got an array, want"));
  EXPECT_THAT(refusal_of_entry(R"({"shape":{}})"), HasSubstr("shape, got an object, want"));
  EXPECT_THAT(refusal_of_entry(R"({"shape":[-4]})"), HasSubstr("shape, got -4, want"));
  EXPECT_THAT(refusal_of_entry(R"({"data_offsets":[-1,16]})"),
              HasSubstr("data_offsets, got -1, want two whole numbers"));
  EXPECT_THAT(refusal_of_entry(R"({"data_offsets":[0]})"), HasSubstr("got 1 numbers, want two"));
  EXPECT_THAT(refusal_of_entry(R"({"data_offsets":[0,8,16]})"), HasSubstr("got 3 numbers"));
  EXPECT_THAT(refusal_of_entry(R"({"data_offsets":[0,18446744073709551615]})"),
              HasSubstr("got 18446744073709551615"));
  EXPECT_THAT(refusal_of_entry(R"({"dtype":"F32","shape":[4]})"),
              HasSubstr("tensor a: data_offsets is missing"));
  EXPECT_THAT(refusal_of_entry(R"({"dtype":"F32","shape":[4],"data_offsets":[0,16],"x":1})"),
              HasSubstr("key 'x', want dtype, shape and data_offsets"));
  EXPECT_THAT(refusal(file_of(R"({"__metadata__":{"n":1}})", "")),
              HasSubstr("metadata 'n', got 1, want a string"));
  EXPECT_THAT(refusal(file_of(R"({"__metadata__":"n"})", "")), HasSubstr("want an object"));
}

TEST(Safetensors, MoreDimensionsThanAnythingHasAreRefused) {
  std::string ones = "1";
  for (int i = 0; i < 40; ++i) ones += ",1";
  EXPECT_THAT(refusal_of_entry(R"({"dtype":"F32","shape":[)" + ones + "]}"),
              HasSubstr("more than 32 numbers"));
}

TEST(Safetensors, NamesThatComeTwiceAreRefused) {
  const std::string entry = R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  EXPECT_THAT(refusal(file_of("{\"a\":" + entry + ",\"a\":" + entry + "}", std::string(8, 'x'))),
              HasSubstr("'a', got it twice"));
  EXPECT_THAT(refusal_of_entry(R"({"dtype":"F32","dtype":"F32"})"),
              HasSubstr("tensor a: 'dtype', got it twice"));
  EXPECT_THAT(refusal(file_of(R"({"__metadata__":{"k":"1","k":"2"}})", "")),
              HasSubstr("metadata: 'k', got it twice"));
  EXPECT_THAT(refusal(file_of(R"({"__metadata__":{},"__metadata__":{}})", "")),
              HasSubstr("'__metadata__', got it twice"));
}

TEST(Safetensors, SizesThatDisagreeAreRefused) {
  EXPECT_THAT(refusal_of_entry(R"({"dtype":"F33","shape":[4],"data_offsets":[0,16]})"),
              HasSubstr("dtype, got 'F33', want F64"));
  EXPECT_THAT(refusal_of_entry(R"({"dtype":"F32","shape":[5],"data_offsets":[0,16]})"),
              HasSubstr("data in bytes, got 16, want 20 by dtype and shape"));
  EXPECT_THAT(refusal_of_entry(R"({"dtype":"F32","shape":[],"data_offsets":[0,16]})"),
              HasSubstr("got 16, want 4"));
  EXPECT_THAT(refusal_of_entry(R"({"dtype":"F32","shape":[4],"data_offsets":[16,0]})"),
              HasSubstr("data_offsets, got 16 to 0, want a rising pair from 0 to 16"));
  EXPECT_THAT(refusal_of_entry(R"({"dtype":"F32","shape":[4],"data_offsets":[0,16]})", 15),
              HasSubstr("data_offsets, got 0 to 16, want a rising pair from 0 to 15"));
  EXPECT_THAT(
      refusal_of_entry(R"({"dtype":"F32","shape":[4294967296,2147483648],"data_offsets":[0,16]})"),
      HasSubstr("shape, got more than 2^63 bytes"));
  EXPECT_THAT(
      refusal_of_entry(R"({"dtype":"U8","shape":[9223372036854775807,2],"data_offsets":[0,16]})"),
      HasSubstr("shape, got more than 2^63 bytes"));
  EXPECT_THAT(  // wraps to 16 in 64 bits
      refusal_of_entry(R"({"dtype":"F32","shape":[4611686018427387908],"data_offsets":[0,16]})"),
      HasSubstr("shape, got more than 2^63 bytes"));
  EXPECT_THAT(
      refusal_of_entry(R"({"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,16]})"),
      HasSubstr("shape, got 9223372036854775808, want"));
}

TEST(Safetensors, OverlapsAndGapsAreRefused) {
  const auto two = [](const std::string& a, const std::string& b) {
    return refusal(file_of(R"({"a":{"dtype":"U8","shape":[8],"data_offsets":)" + a +
                               R"(},"b":{"dtype":"U8","shape":[8],"data_offsets":)" + b + "}}",
                           std::string(20, 'x')));
  };
  EXPECT_THAT(two("[0,8]", "[4,12]"), HasSubstr("tensor b: begins at byte 4, want 8 (it overlaps"));
  EXPECT_THAT(two("[0,8]", "[0,8]"), HasSubstr("tensor b: begins at byte 0, want 8 (it overlaps"));
  EXPECT_THAT(two("[0,8]", "[12,20]"),
              HasSubstr("begins at byte 12, want 8 (a gap after tensor a"));
  EXPECT_THAT(two("[4,12]", "[12,20]"), HasSubstr("begins at byte 4, want 0 (a gap after the hea"));
  EXPECT_THAT(two("[8,16]", "[0,8]"),
              HasSubstr("data in bytes, got 20, want 16, the end of tensor a"));
}

TEST(Safetensors, EveryTruncationOfASoundFileIsRefused) {
  const std::string sound = one_tensor("a").bytes();
  ASSERT_EQ(refusal(sound), "");
  for (std::size_t size = 0; size < sound.size(); ++size) {
    EXPECT_NE(refusal(sound.substr(0, size)), "") << size << " bytes";
  }
  EXPECT_THAT(refusal(sound + "x"), HasSubstr("data in bytes, got 9, want 8"));
}

TEST(Safetensors, DamagedFilesAreReadOrRefusedAndNothingElse) {
  SafetensorsWriter writer = one_tensor("a");
  writer.add("b", "BF16", {2, 3}, std::string(12, 'b'));
  const std::string sound = writer.bytes();
  std::mt19937 random(20240607);  // the same damage every time
  const std::string hot = "0123456789[]{}\",:-.e\\u ";
  int accepted = 0;
  for (int i = 0; i < 1500; ++i) {
    std::string damaged = sound;
    for (std::uint64_t changes = 1 + random() % 3; changes > 0; --changes) {
      char& byte = damaged[random() % (damaged.size() - 20)];
      byte = random() % 4 == 0 ? static_cast<char>(random() & 0xffU) : hot[random() % hot.size()];
    }
    accepted +=
        refusal(damaged).empty() ? 1 : 0;  // anything but a refusal fails the test by itself
  }
  EXPECT_GT(accepted, 0);  // a letter of a name, say
  EXPECT_LT(accepted, 500);
}

TEST(Safetensors, HostileNamesAreEscapedAndCutInMessages) {
  const std::string name = "\\n\\u001b[31m" + std::string(5000, 'n');
  const std::string message = refusal(file_of("{\"" + name + "\":1}", ""));
  EXPECT_THAT(message, HasSubstr("\\x0a\\x1b[31mnnn"));
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_LT(message.size(), 400U);
}

TEST(TensorSet, ShardsBecomeOneSetOfNames) {
  const TempFolder folder;
  one_tensor("a").write(folder / "s1.safetensors");
  one_tensor("b").write(folder / "s2.safetensors");
  write_file(folder / "model.safetensors.index.json",
             R"({"metadata":{},"weight_map":{"a":"s1.safetensors","b":"s2.safetensors"}})");
  const auto set = TensorSet::open_directory(folder.path());
  EXPECT_EQ(set->names(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(set->names("b"), (std::vector<std::string>{"b"}));
  EXPECT_THAT(set->at("b").file, testing::EndsWith("s2.safetensors"));
  EXPECT_EQ(set->find("c"), nullptr);
  EXPECT_THAT([&] { static_cast<void>(set->at("c")); },
              testing::ThrowsMessage<std::invalid_argument>("tensor c: missing in " +
                                                            folder.path().string()));
}

TEST(TensorSet, FoldersWithoutWeightsAreRefusedByWhatIsMissing) {
  const TempFolder folder;
  EXPECT_THAT(folder_refusal(folder.path()),
              HasSubstr("no weights, want model.safetensors or model.safetensors.index.json"));
  EXPECT_THAT(folder_refusal(folder / "none"), HasSubstr("none: No such file"));
  EXPECT_THAT(folder_refusal(one_tensor("a").write(folder / "file")), HasSubstr("not a directory"));
  one_tensor("a").write(folder / "model.safetensors");
  EXPECT_EQ(folder_refusal(folder.path()), "");
}

TEST(TensorSet, IndexesThatDoNotFitTheirShardsAreRefused) {
  const TempFolder folder;
  SafetensorsWriter both = one_tensor("b");
  both.add("a", "F32", {2}, std::vector<float>{1, 2});
  one_tensor("a").write(folder / "s1.safetensors");
  both.write(folder / "s2.safetensors");
  const auto with_index = [&](const std::string& index) {
    write_file(folder / "model.safetensors.index.json", index);
    return folder_refusal(folder.path());
  };
  EXPECT_THAT(with_index(R"({"weight_map":{"a":"s1.safetensors","b":"s3.safetensors"}})"),
              testing::AllOf(HasSubstr("io: "), HasSubstr("s3.safetensors, a shard of"),
                             HasSubstr("No such file")));
  EXPECT_THAT(with_index(R"({"weight_map":{"c":"s1.safetensors"}})"),
              HasSubstr("tensor c: missing in its shard s1.safetensors"));
  EXPECT_THAT(with_index(R"({"weight_map":{"a":"s1.safetensors","b":"s2.safetensors"}})"),
              HasSubstr("s2.safetensors: tensor a: the index has it in s1.safetensors"));
  EXPECT_THAT(with_index(R"({"weight_map":{"a":"s2.safetensors"}})"),
              HasSubstr("tensor b: the index has it nowhere"));
  for (const char* shard :
       {"../s1.safetensors", "/etc/passwd", "x/s1.safetensors", "..", "", ".safetensors", "s1.bin",
        "a..b.safetensors", "x\\\\s1.safetensors", "s1\\u0000.safetensors"}) {
    EXPECT_THAT(with_index(R"({"weight_map":{"a":")" + std::string(shard) + "\"}}"),
                HasSubstr("want the name of a .safetensors file in the same folder"))
        << shard;
  }
  EXPECT_THAT(with_index(R"({"weight_map":{"a":7}})"), HasSubstr("shard of tensor a, got 7"));
  EXPECT_THAT(with_index(R"({"weight_map":[]})"), HasSubstr("weight_map is missing"));
  EXPECT_THAT(with_index("[]"), HasSubstr("weight_map is missing"));
  EXPECT_THAT(with_index(R"({"weight_map":{"a":"s1.safetensors","a":"s2.safetensors"}})"),
              HasSubstr("key 'a', got it twice"));
  EXPECT_THAT(with_index("{"), HasSubstr("not JSON"));
  EXPECT_THAT(with_index(std::string("{\"weight_map\":{}}\0{", 19)), HasSubstr("NUL at byte 17"));
  EXPECT_THAT(with_index(std::string(100'000, '[')), HasSubstr("depth of the JSON"));
}
}  // namespace
}  // namespace switchyard::runtime
