// SPDX-License-Identifier: Apache-2.0
// tokenizer.json, built by hand: every id below can be checked with pencil and paper.
#include <gmock/gmock.h>
#include <random>

#include "runtime/text/text_steps.hpp"
#include "runtime/text/tokenizer.hpp"
#include "runtime/text/utf8.hpp"

namespace switchyard::runtime {
namespace {
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr const char* kGpt4 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";

json split(const std::string& regex, const std::string& behavior = "Isolated") {
  return {{"type", "Split"},
          {"pattern", {{"Regex", regex}}},
          {"behavior", behavior},
          {"invert", false}};
}

json byte_level(bool use_regex = false) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

/// Ids 0 to 255 are the letters of the bytes; 256 on are the merges of "hello" and " world".
json byte_level_json() {
  json vocab;
  for (int byte = 0; byte < 256; ++byte) {
    vocab[byte_letters(std::string(1, static_cast<char>(byte)))] = byte;
  }
  std::vector<std::string> merges{"h e", "l l", "he ll", "hell o", "Ġ w", "o r", "Ġw or"};
  std::int64_t id = 256;
  for (const std::string& merge : merges) vocab[replaced(merge, " ", "")] = id++;
  return {{"version", "1.0"},
          {"added_tokens",
           {{{"id", 300},
             {"content", "<|end|>"},
             {"single_word", false},
             {"lstrip", false},
             {"rstrip", false},
             {"normalized", false},
             {"special", true}}}},
          {"normalizer", nullptr},
          {"pre_tokenizer", byte_level(true)},
          {"post_processor", byte_level()},
          {"decoder", byte_level()},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}}}};
}

/// Like Llama's: a space is U+2581, one before the text; bytes where a letter has no id.
json sentencepiece_json() {
  json vocab{{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}};
  std::int64_t id = 3;
  for (int byte = 0; byte < 256; ++byte) vocab[byte_piece(static_cast<std::uint8_t>(byte))] = id++;
  for (const char* letter : {"▁", "a", "b", "c"}) vocab[letter] = id++;         // 259 to 262
  for (const char* word : {"▁a", "ab", "▁ab", "bc", "▁▁"}) vocab[word] = id++;  // 263 to 267
  const json merges = std::vector<std::vector<std::string>>{
      {"a", "b"}, {"▁", "ab"}, {"▁", "a"}, {"b", "c"}, {"▁", "▁"}};
  const auto special = [](int number, const char* name) {
    return json{{"id", number}, {"content", name}, {"special", true}, {"normalized", false}};
  };
  return {{"added_tokens", {special(0, "<unk>"), special(1, "<s>"), special(2, "</s>")}},
          {"normalizer",
           {{"type", "Sequence"},
            {"normalizers",
             {{{"type", "Prepend"}, {"prepend", "▁"}},
              {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}}}}}},
          {"pre_tokenizer", nullptr},
          {"post_processor",
           {{"type", "TemplateProcessing"},
            {"single",
             {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}},
              {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
            {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {1}}, {"tokens", {"<s>"}}}}}}}},
          {"decoder",
           {{"type", "Sequence"},
            {"decoders",
             {{{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}},
              {{"type", "ByteFallback"}},
              {{"type", "Fuse"}},
              {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}}},
          {"model",
           {{"type", "BPE"},
            {"unk_token", "<unk>"},
            {"fuse_unk", true},
            {"byte_fallback", true},
            {"vocab", vocab},
            {"merges", merges}}}};
}

std::unique_ptr<Tokenizer> made(const json& source) {
  return json_tokenizer(source.dump(), "t.json");
}

std::string refusal(const json& source) {
  try {
    static_cast<void>(made(source));
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "no error";
}

/// The words that a pre-tokenizer cuts a text into.
std::vector<std::string> words(const json& step, const std::string& text) {
  std::vector<std::string> result;
  const auto pieces = pre_tokenizer_of(step, "t.json")({{.text = text, .first = true}});
  for (const TextPiece& piece : pieces) result.push_back(piece.text);
  return result;
}

TEST(ByteLevel, TheTableIsThatOfGpt2) {
  EXPECT_EQ(byte_letters("A !"), "AĠ!");
  EXPECT_EQ(byte_letters("\n"), "Ċ");
  EXPECT_EQ(byte_letters("\x7f"), "ġ");
  EXPECT_EQ(byte_letters(std::string(1, '\0')), "Ā");
  EXPECT_EQ(byte_letters("\xc2\xad"), "ÂŃ");
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  EXPECT_EQ(bytes_of_letters(byte_letters(all)), all);
  EXPECT_EQ(bytes_of_letters("<｜end▁of｜>"), "<｜end▁of｜>");
}

TEST(ByteLevel, MergesGoByRankAndThenFromTheLeft) {
  const auto tokenizer = made(byte_level_json());
  EXPECT_THAT(tokenizer->encode("hello"), ElementsAre(259));
  EXPECT_THAT(tokenizer->encode("hell"), ElementsAre(258));
  EXPECT_THAT(tokenizer->encode("lll"), ElementsAre(257, 'l'));
  EXPECT_THAT(tokenizer->encode("hello world"), ElementsAre(259, 262, 'l', 'd'));
  EXPECT_THAT(tokenizer->encode(""), ElementsAre());
}

TEST(ByteLevel, SpecialTokensOfTheTextAreOneIdAndHiddenWhenDecoded) {
  const auto tokenizer = made(byte_level_json());
  EXPECT_THAT(tokenizer->encode("hello<|end|>hell"), ElementsAre(259, 300, 258));
  EXPECT_EQ(decode(*tokenizer, {259, 300, 258}), "hellohell");
  EXPECT_EQ(decode(*tokenizer, {259, 300, 258}, true), "hello<|end|>hell");
  EXPECT_EQ(tokenizer->find("<|end|>"), 300);
  EXPECT_EQ(tokenizer->bos(), std::nullopt);
}

TEST(ByteLevel, AnyBytesComeBack) {
  const auto tokenizer = made(byte_level_json());
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    std::string bytes;
    for (std::uint64_t n = random() % 40; n > 0; --n) bytes += static_cast<char>(random() % 256);
    std::string back;
    for (const std::int64_t id : tokenizer->encode(bytes)) back += tokenizer->bytes_of(id);
    ASSERT_EQ(back, bytes) << "round " << round;
  }
}

TEST(SentencePieceLike, SpacesBytesAndTheBeginning) {
  const auto tokenizer = made(sentencepiece_json());
  EXPECT_THAT(tokenizer->encode("ab"), ElementsAre(265));
  EXPECT_THAT(tokenizer->encode("ab a"), ElementsAre(265, 263));
  EXPECT_THAT(tokenizer->encode("é"), ElementsAre(259, 3 + 0xC3, 3 + 0xA9));
  EXPECT_THAT(tokenizer->encode("  "), ElementsAre(267, 259));
  EXPECT_EQ(tokenizer->bos(), 1);
  EXPECT_EQ(decode(*tokenizer, tokenizer->encode("ab a é c")), "ab a é c");
  EXPECT_EQ(decode(*tokenizer, tokenizer->encode(" ab")), " ab");
}

TEST(SentencePieceLike, EveryPartBetweenSpecialTokensGetsItsSpace) {
  const auto tokenizer = made(sentencepiece_json());
  EXPECT_THAT(tokenizer->encode("<s>ab</s>ab"), ElementsAre(1, 265, 2, 265));
}

TEST(SentencePieceLike, UnknownLettersWithoutBytesAreOneTokenOrLost) {
  json source = sentencepiece_json();
  source["model"]["byte_fallback"] = false;
  EXPECT_THAT(made(source)->encode("axyzb"), ElementsAre(263, 0, 261));
  source["model"]["fuse_unk"] = false;
  EXPECT_THAT(made(source)->encode("axyzb"), ElementsAre(263, 0, 0, 0, 261));
  source["model"]["unk_token"] = nullptr;
  EXPECT_THAT(made(source)->encode("axyzb"), ElementsAre(265));
}

TEST(SentencePieceLike, AWordOfTheVocabularyIsTakenWholeWhereMergesAreIgnored) {
  json source = sentencepiece_json();
  source["normalizer"] = nullptr;
  source["model"]["vocab"]["abc"] = 268;
  EXPECT_THAT(made(source)->encode("abc"), ElementsAre(264, 262));
  source["model"]["ignore_merges"] = true;
  EXPECT_THAT(made(source)->encode("abc"), ElementsAre(268));
}

TEST(Merges, AreReadAsTextsAndAsPairs) {
  json source = byte_level_json();
  const auto as_texts = made(source)->encode("hello world");
  for (json& merge : source["model"]["merges"]) {
    const auto text = merge.get<std::string>();
    const auto space = text.find(' ');
    merge = json::array({text.substr(0, space), text.substr(space + 1)});
  }
  EXPECT_EQ(made(source)->encode("hello world"), as_texts);
}

TEST(AddedTokens, StripSpaceStandAloneAndTheLongestWins) {
  json source = byte_level_json();
  const auto add = [&](int id, const std::string& name, const json& more) {
    json token{{"id", id}, {"content", name}, {"special", true}, {"normalized", false}};
    token.update(more);
    source["added_tokens"].push_back(token);
  };
  add(301, "<|end|>more", json::object());
  add(302, "<m>", {{"lstrip", true}, {"rstrip", true}});
  add(303, "zz", {{"single_word", true}});
  const auto tokenizer = made(source);
  EXPECT_THAT(tokenizer->encode("<|end|>more<|end|>"), ElementsAre(301, 300));
  EXPECT_THAT(tokenizer->encode("a \t<m>\u3000 b"), ElementsAre('a', 302, 'b'));
  EXPECT_THAT(tokenizer->encode("zz azz"), ElementsAre(303, ' ', 'a', 'z', 'z'));
  EXPECT_THAT(tokenizer->encode("<|end"), ElementsAre('<', '|', 'e', 'n', 'd'));
}

TEST(PreTokenizers, Gpt4WordsNumbersSpacesAndContractions) {
  EXPECT_THAT(words(split(kGpt4), "I'LL pay 12345 dollars!\n\n  now"),
              ElementsAre("I", "'LL", " pay", " ", "123", "45", " dollars", "!\n\n", " ", " now"));
  EXPECT_THAT(words(split(kGpt4), "naïve 你好 ٣٤٥٦"),
              ElementsAre("naïve", " 你好", " ", "٣٤٥", "٦"));
  EXPECT_THAT(words(split(kGpt4), "a\u0085\u000bb"), ElementsAre("a", "\u0085", "\u000bb"));
}

TEST(PreTokenizers, Gpt2WordsKeepTheirSpace) {
  EXPECT_THAT(words(byte_level(true), "we've  got 100%"),
              ElementsAre("we", "'ve", "Ġ", "Ġgot", "Ġ100", "%"));
}

TEST(PreTokenizers, SplitHasFiveBehaviors) {
  EXPECT_THAT(words(split("-"), "a--b"), ElementsAre("a", "-", "-", "b"));
  EXPECT_THAT(words(split("-", "Removed"), "a--b"), ElementsAre("a", "b"));
  EXPECT_THAT(words(split("-", "Contiguous"), "a--b"), ElementsAre("a", "--", "b"));
  EXPECT_THAT(words(split("-", "MergedWithPrevious"), "a--b"), ElementsAre("a-", "-", "b"));
  EXPECT_THAT(words(split("-", "MergedWithNext"), "a--b"), ElementsAre("a", "-", "-b"));
  json inverted = split("[a-z]+");
  inverted["behavior"] = "Removed";
  inverted["invert"] = true;
  EXPECT_THAT(words(inverted, "ab, cd!"), ElementsAre("ab", "cd"));
}

TEST(PreTokenizers, DigitsAloneOrTogether) {
  EXPECT_THAT(words({{"type", "Digits"}, {"individual_digits", true}}, "a12½"),
              ElementsAre("a", "1", "2", "½"));
  EXPECT_THAT(words({{"type", "Digits"}, {"individual_digits", false}}, "a12b"),
              ElementsAre("a", "12", "b"));
}

TEST(PreTokenizers, MetaspaceMarksSpacesAndTheBeginning) {
  json step{{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "first"}};
  EXPECT_THAT(words(step, "a b"), ElementsAre("▁a", "▁b"));
  step["split"] = false;
  EXPECT_THAT(words(step, "a b"), ElementsAre("▁a▁b"));
  step["prepend_scheme"] = "never";
  EXPECT_THAT(words(step, "a b"), ElementsAre("a▁b"));
  EXPECT_THAT(
      words({{"type", "Metaspace"}, {"replacement", "▁"}, {"add_prefix_space", true}}, "a  b"),
      ElementsAre("▁a", "▁", "▁b"));
}

TEST(Normalizers, NormalFormsLeaveBytesThatAreNoLetterAlone) {
  const auto nfc = normalizer_of({{"type", "NFC"}}, "t");
  EXPECT_EQ(nfc("cafe\u0301"), "café");
  EXPECT_EQ(nfc("e\xff\u0301"), "e\xff\u0301");
  EXPECT_EQ(nfc(""), "");
  EXPECT_EQ(normalizer_of({{"type", "NFKC"}}, "t")("ﬁ①"), "fi1");
  EXPECT_EQ(normalizer_of({{"type", "NFD"}}, "t")("é"), "e\u0301");
}

TEST(TextStream, ALetterAppearsWhenItIsWhole) {
  const auto bytes = bytes_tokenizer();
  TextStream stream(*bytes);
  std::vector<std::string> shown;
  for (const int byte : {0x41, 0xF0, 0x9F, 0x98, 0x81, 0xC3, 0x42, 0xE2, 0x82}) {
    shown.push_back(stream.add(byte));
  }
  EXPECT_THAT(shown, ElementsAre("A", "", "", "", "😁", "",
                                 "\uFFFD"
                                 "B",
                                 "", ""));
  EXPECT_EQ(stream.finish(), "\uFFFD");
  EXPECT_EQ(stream.finish(), "");
}

TEST(TextStream, WhatComesOutIsUtf8WhateverComesIn) {
  const auto bytes = bytes_tokenizer();
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    std::vector<std::int64_t> ids;
    for (std::uint64_t n = random() % 30; n > 0; --n)
      ids.push_back(static_cast<std::int64_t>(random() % 400));
    const std::string text = decode(*bytes, ids);
    for (std::size_t at = 0; at < text.size();) {
      const Letter letter = letter_at(text, at);
      ASSERT_GE(letter.code, 0) << "round " << round;
      at += letter.bytes;
    }
  }
}

TEST(Utf8, OverlongFormsSurrogatesAndWhatIsTooLargeAreNoLetters) {
  for (const std::string bad : {"\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80",
                                "\x80", "\xFF", "\xF5\x80\x80\x80"}) {
    EXPECT_LT(letter_at(bad, 0).code, 0) << testing::PrintToString(bad);
  }
  EXPECT_TRUE(letter_at("\xF0\x9F\x98", 0).cut);
  EXPECT_FALSE(letter_at("\xF0\x9F\x41", 0).cut);
  EXPECT_EQ(letter_at("\xF0\x9F\x41", 0).bytes, 2U);
  for (const std::int32_t code : {0x41, 0xE9, 0x20AC, 0x1F601, 0x10FFFF}) {
    EXPECT_EQ(letter_at(utf8_of(code), 0).code, code);
  }
}

TEST(BadJson, EndsWithFileKeyAndWhatWasWanted) {
  const json good = byte_level_json();
  EXPECT_EQ(refusal(good), "no error");
  const auto changed = [&](const std::string& pointer, const json& value) {
    json bad = good;
    bad[json::json_pointer(pointer)] = value;
    return refusal(bad);
  };
  EXPECT_THAT(changed("/model", 3), HasSubstr("t.json.model: got 3, want an object"));
  EXPECT_THAT(changed("/model/type", "Unigram"), HasSubstr("t.json: model.type: got \"Unigram\""));
  EXPECT_THAT(changed("/model/vocab", json::array()), HasSubstr("model.vocab: got [], want an"));
  EXPECT_THAT(changed("/model/vocab/h", -1), HasSubstr("model.vocab.h: got -1, want a whole"));
  EXPECT_THAT(changed("/model/vocab/h", "x"), HasSubstr("model.vocab.h: got \"x\""));
  EXPECT_THAT(changed("/model/vocab/h", 97), HasSubstr("want one of its own"));
  EXPECT_THAT(changed("/model/merges", "h e"), HasSubstr("model.merges: got \"h e\", want a list"));
  EXPECT_THAT(changed("/model/merges/3", "hello"), HasSubstr("model.merges[3]: got \"hello\""));
  EXPECT_THAT(changed("/model/merges/3", json::array({"h"})), HasSubstr("want two tokens"));
  EXPECT_THAT(changed("/model/merges/0", "h z"), HasSubstr("model.merges[0]: 'hz', got no id"));
  EXPECT_THAT(changed("/model/unk_token", "?!"), HasSubstr("model.unk_token: got \"?!\""));
  EXPECT_THAT(changed("/model/dropout", 0.1), HasSubstr("model.dropout: got 0.1, want null"));
  EXPECT_THAT(changed("/model/byte_fallback", 1), HasSubstr("model.byte_fallback: got 1, want t"));
  EXPECT_THAT(changed("/normalizer", {{"type", "Precompiled"}}),
              HasSubstr("normalizer.type: got \"Precompiled\", want NFC"));
  EXPECT_THAT(changed("/pre_tokenizer", {{"type", "Bert"}}), HasSubstr("want ByteLevel"));
  EXPECT_THAT(changed("/pre_tokenizer", split("[a")), HasSubstr("pre_tokenizer.pattern.Regex"));
  EXPECT_THAT(changed("/pre_tokenizer", split("a", "Sideways")), HasSubstr("behavior: got"));
  EXPECT_THAT(changed("/decoder", {{"type", "WordPiece"}}), HasSubstr("decoder.type"));
  EXPECT_THAT(changed("/post_processor", {{"type", "BertProcessing"}}),
              HasSubstr("post_processor"));
  EXPECT_THAT(changed("/added_tokens/0/id", nullptr), HasSubstr("added_tokens[0].id: got nothing"));
  EXPECT_THAT(changed("/added_tokens/0/content", ""), HasSubstr("added_tokens[0].content"));
}

TEST(BadJson, CutAnywhereItIsRefusedAndNeverRead) {
  const std::string text = byte_level_json().dump();
  for (std::size_t keep = 0; keep < text.size(); keep += 37) {
    EXPECT_THROW(static_cast<void>(json_tokenizer(text.substr(0, keep), "t.json")),
                 std::invalid_argument)
        << keep;
  }
}

TEST(BadRegex, ThatNeverEndsIsStopped) {
  const Regex regex("(a*)*b", "t.json");
  EXPECT_THROW(static_cast<void>(regex.matches(std::string(60, 'a'))), std::invalid_argument);
}
}  // namespace
}  // namespace switchyard::runtime
