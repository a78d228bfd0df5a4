// SPDX-License-Identifier: Apache-2.0
// SentencePiece models, built by hand. The rules were compared with Debian's spm_encode and
// spm_decode 0.1.97; these cases can be checked with pencil and paper.
#include <bit>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <random>

#include "runtime/text/tokenizer.hpp"
#include "runtime/text/utf8.hpp"

namespace switchyard::runtime {
namespace {
using testing::ElementsAre;
using testing::HasSubstr;

enum Type { kNormal = 1, kUnknown = 2, kControl = 3, kDefined = 4, kByte = 6 };

std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7U) bytes += static_cast<char>(value | 0x80U);
  return bytes + static_cast<char>(value);
}
std::string number(int field, std::uint64_t value) {
  return varint(static_cast<std::uint64_t>(field) << 3U) + varint(value);
}
std::string message(int field, const std::string& bytes) {
  return varint(static_cast<std::uint64_t>(field) << 3U | 2U) + varint(bytes.size()) + bytes;
}
std::string word(std::uint32_t value) {
  std::string bytes;
  for (int i = 0; i < 4; ++i) bytes += static_cast<char>(value >> (8 * i));
  return bytes;
}

std::string piece(const std::string& text, float score, Type type = kNormal) {
  return message(1, message(1, text) + varint(2 << 3 | 5) +
                        word(std::bit_cast<std::uint32_t>(score)) +
                        number(3, static_cast<std::uint64_t>(type)));
}

const std::string kSpecials =
    piece("<unk>", 0, kUnknown) + piece("<s>", 0, kControl) + piece("</s>", 0, kControl);

std::string trainer(int kind, bool bytes = false) {
  return message(2, number(3, static_cast<std::uint64_t>(kind)) + number(35, bytes ? 1 : 0));
}
std::string normalizer(bool prefix, bool extra, const std::string& charsmap = "") {
  return message(3, message(2, charsmap) + number(3, prefix ? 1 : 0) + number(4, extra ? 1 : 0));
}

std::unique_ptr<Tokenizer> made(const std::string& bytes) {
  return sentencepiece_tokenizer(bytes, "t.model");
}

/// Ids: 3 ▁, 4 a, 5 b, 6 ab, 7 ▁ab, 8 ba.
std::string small(int kind) {
  return kSpecials + piece("▁", -2) + piece("a", -3) + piece("b", -3) + piece("ab", -1) +
         piece("▁ab", -1.5F) + piece("ba", -4) + trainer(kind);
}

TEST(Bpe, TheBestScoreMergesFirst) {
  const auto tokenizer = made(small(2) + normalizer(true, false));
  EXPECT_THAT(tokenizer->encode("ab"), ElementsAre(7));
  EXPECT_THAT(tokenizer->encode("aba"), ElementsAre(7, 4));
  EXPECT_THAT(tokenizer->encode("ba"), ElementsAre(3, 8));
  EXPECT_THAT(tokenizer->encode(" ab"), ElementsAre(3, 7));
  EXPECT_THAT(tokenizer->encode(""), ElementsAre());
}

TEST(Bpe, ARunOfUnknownLettersIsOneToken) {
  const auto tokenizer = made(small(2) + normalizer(true, true));
  EXPECT_THAT(tokenizer->encode("xyz"), ElementsAre(3, 0));
  EXPECT_THAT(tokenizer->encode("xay"), ElementsAre(3, 0, 4, 0));
  EXPECT_EQ(decode(*tokenizer, {3, 0}), " ⁇ ");
}

TEST(Unigram, TheMostLikelyWayIsTaken) {
  // ▁ab + a = -4.5 beats ▁ + a + ba = -9 and ▁ + ab + a = -6.
  EXPECT_THAT(made(small(1) + normalizer(true, true))->encode("aba"), ElementsAre(7, 4));
  // bab: ▁ + b + ab = -6 beats ▁ + ba + b = -9.
  EXPECT_THAT(made(small(1) + normalizer(true, true))->encode("bab"), ElementsAre(3, 5, 6));
}

TEST(Spaces, AreKeptOrGatheredAsTheModelSays) {
  const auto gathers = made(small(2) + normalizer(true, true));
  EXPECT_EQ(gathers->encode("  ab   ab "), gathers->encode("ab ab"));
  EXPECT_EQ(decode(*gathers, gathers->encode("ab ab")), "ab ab");
  const auto keeps = made(small(2) + normalizer(false, false));
  EXPECT_THAT(keeps->encode("  ab"), ElementsAre(3, 7));
  EXPECT_EQ(decode(*keeps, keeps->encode("  ab ")), "  ab ");
}

TEST(Bytes, StandForLettersWithoutAPieceAndComeBack) {
  std::string bytes = kSpecials;
  for (int byte = 0; byte < 256; ++byte) {
    bytes += piece(byte_piece(static_cast<std::uint8_t>(byte)), 0, kByte);
  }
  bytes += piece("▁", -1) + trainer(2, true) + normalizer(true, false);
  const auto tokenizer = made(bytes);
  EXPECT_THAT(tokenizer->encode("é"), ElementsAre(259, 3 + 0xC3, 3 + 0xA9));
  EXPECT_EQ(decode(*tokenizer, tokenizer->encode("é 😁 \n")), "é 😁 \n");
  // What is no letter is U+FFFD, as in SentencePiece itself.
  EXPECT_EQ(decode(*tokenizer, tokenizer->encode("a\xff")), "a\uFFFD");
  std::mt19937 random(11);
  for (int round = 0; round < 200; ++round) {
    std::string text;
    for (std::uint64_t n = random() % 30; n > 0; --n) text += static_cast<char>(random() % 256);
    const std::string back = decode(*tokenizer, tokenizer->encode(text));
    EXPECT_EQ(decode(*tokenizer, tokenizer->encode(back)), back);
  }
}

TEST(DefinedByUser, PiecesAreWholeAndNeverMerged) {
  const auto tokenizer =
      made(kSpecials + piece("▁", -1) + piece("a", -2) + piece("<t>", 0, kDefined) +
           piece("▁<t>", -0.5F) + trainer(2) + normalizer(true, false));
  EXPECT_THAT(tokenizer->encode("a<t>a"), ElementsAre(3, 4, 5, 4));
  EXPECT_THAT(tokenizer->encode("<t>"), ElementsAre(3, 5));
}

TEST(Control, PiecesAreNeverReadFromText) {
  const auto tokenizer = made(small(2) + normalizer(true, true));
  EXPECT_THAT(tokenizer->encode("<s>"), ElementsAre(3, 0));
  EXPECT_EQ(tokenizer->bos(), 1);
  EXPECT_EQ(tokenizer->eos(), 2);
  EXPECT_EQ(decode(*tokenizer, {1, 7, 2}), "ab");
}

/// Units of a double array with "A" -> "a" and "AB" -> "ba": the root's children at 1 ^ letter, A's
/// at 0x240 ^ letter, and a value where the letter would be 0.
std::string charsmap() {
  std::vector<std::uint32_t> units(0x700);
  units[0] = 1U << 10U;
  units[0x40] = 512U << 10U | 1U << 8U | 'A';
  units[0x240] = 1U << 31U;
  units[0x202] = 1024U << 10U | 1U << 8U | 'B';
  units[0x602] = 1U << 31U | 2U;
  std::string bytes = word(static_cast<std::uint32_t>(4 * units.size()));
  for (const std::uint32_t unit : units) bytes += word(unit);
  return bytes + std::string("a\0ba\0", 5);
}

TEST(Charsmap, TheLongestKeyIsReplaced) {
  const auto tokenizer = made(small(2) + normalizer(true, true, charsmap()));
  EXPECT_EQ(tokenizer->encode("A"), tokenizer->encode("a"));
  EXPECT_EQ(tokenizer->encode("AB"), tokenizer->encode("ba"));
  EXPECT_EQ(tokenizer->encode("AAB"), tokenizer->encode("aba"));
}

TEST(Charsmap, ThatIsBrokenIsRefusedOrHarmless) {
  for (const std::string& bad : {std::string("abc"), word(1000) + "xxxx",
                                 word(6) + std::string(8, 'x'), charsmap() + "no end"}) {
    EXPECT_THROW(static_cast<void>(made(small(2) + normalizer(true, true, bad))),
                 std::invalid_argument);
  }
  std::mt19937 random(5);
  for (int round = 0; round < 100; ++round) {
    std::string bytes = charsmap();
    for (int i = 0; i < 600; ++i) bytes[4 + random() % 0x1c00] = static_cast<char>(random() % 256);
    static_cast<void>(made(small(2) + normalizer(true, true, bytes))->encode("ABAB xyz é"));
  }
}

TEST(BadModels, AreRefusedWithFileAndPiece) {
  const auto refusal = [](const std::string& bytes) -> std::string {
    try {
      static_cast<void>(made(bytes));
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(refusal("not a model at all"), HasSubstr("t.model: got bytes that are no Sentence"));
  EXPECT_THAT(refusal(piece("a", 0) + trainer(2)), HasSubstr("t.model: got no unknown piece"));
  EXPECT_THAT(refusal(kSpecials + piece("a", 0) + piece("a", 1)),
              HasSubstr("piece 4: 'a', got it"));
  EXPECT_THAT(refusal(kSpecials + piece("", 0)), HasSubstr("piece 3: got no text"));
  EXPECT_THAT(refusal(kSpecials + piece("<0x1>", 0, kByte)), HasSubstr("want <0x00> to <0xFF>"));
  EXPECT_THAT(refusal(kSpecials + trainer(2, true)), HasSubstr("without a piece <0x00>"));
  EXPECT_THAT(refusal(kSpecials + trainer(3)), HasSubstr("got WORD, want BPE or UNIGRAM"));
  std::mt19937 random(9);
  for (int round = 0; round < 300; ++round) {
    std::string bytes = small(1 + static_cast<int>(random() % 2)) + normalizer(true, true);
    for (int i = 0; i < 3; ++i) bytes[random() % bytes.size()] = static_cast<char>(random() % 256);
    bytes.resize(random() % bytes.size() + 1);
    try {
      static_cast<void>(made(bytes)->encode("ab \xff ba é"));
    } catch (const std::invalid_argument& error) {
      EXPECT_THAT(error.what(), HasSubstr("t.model"));
    }
  }
}

/// A folder with the given files, gone when the test is over.
class Folder {
 public:
  Folder() : path_(testing::TempDir() + "tokenizer_" + std::to_string(::getpid())) {
    std::filesystem::create_directories(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  void put(const std::string& name, const std::string& bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
  }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

TEST(OpenTokenizer, FindsTheModelAndHeedsItsConfig) {
  const Folder folder;
  folder.put("tokenizer.model", small(2) + normalizer(true, true));
  EXPECT_EQ(open_tokenizer(folder.path(), "auto").bos, 1);
  EXPECT_EQ(open_tokenizer(folder.path(), "auto").eos, 2);
  folder.put("tokenizer_config.json", R"({"add_bos_token": false, "eos_token": "ab"})");
  EXPECT_EQ(open_tokenizer(folder.path(), "auto").bos, std::nullopt);
  EXPECT_EQ(open_tokenizer(folder.path(), "auto").eos, 6);
  folder.put("tokenizer_config.json",
             R"({"add_bos_token": true, "bos_token": {"content": "</s>"}, "eos_token": null})");
  EXPECT_EQ(open_tokenizer(folder.path(), "auto").bos, 2);
  folder.put("tokenizer_config.json", R"({"add_bos_token": "yes"})");
  EXPECT_THROW(static_cast<void>(open_tokenizer(folder.path(), "auto")), std::invalid_argument);
}

TEST(OpenTokenizer, WithoutAFileSaysWhatItLookedFor) {
  const Folder folder;
  try {
    static_cast<void>(open_tokenizer(folder.path(), "auto"));
    ADD_FAILURE() << "no error";
  } catch (const std::invalid_argument& error) {
    for (const char* words : {"tokenizer.json", "tokenizer.model", "--prompt-ids"}) {
      EXPECT_THAT(error.what(), HasSubstr(words));
    }
  }
  EXPECT_EQ(open_tokenizer(folder.path(), "bytes").tokenizer->encode("ab").size(), 2U);
  EXPECT_THROW(static_cast<void>(open_tokenizer(folder.path(), "x.txt")), std::invalid_argument);
}
}  // namespace
}  // namespace switchyard::runtime
