// SPDX-License-Identifier: Apache-2.0
// The file of a routing trace: its bytes for ever, and what is refused of it, with where.
#include <cstring>
#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <span>
#include <system_error>
#include <unistd.h>
#include <zlib.h>

#include "comm/base/crc32c.hpp"
#include "runtime/trace/reader.hpp"
#include "runtime/trace/writer.hpp"

namespace switchyard::runtime {
namespace {
const std::string kGolden = std::string(SWITCHYARD_TEST_DATA) + "/golden/trace/v1.sytrace";

/// Two steps of two layers: README.md walks this one.
RoutingTrace small_trace() {
  RoutingTrace trace;
  trace.info = {.layers = 2,
                .experts = 300,
                .top_k = 2,
                .detail = TraceDetail::kWeights,
                .layer_numbers = {1, 4},
                .model = "m",
                .provenance = "by hand"};
  const auto layer = [](std::vector<std::int32_t> chosen, std::vector<float> weights) {
    TraceLayer made;
    made.tokens = std::ssize(chosen) / 2;
    made.counts = counts_of(chosen, 300);
    made.chosen = std::move(chosen);
    made.weights = std::move(weights);
    return made;
  };
  trace.steps = {{.number = 3,
                  .layers = {layer({299, 0, 1, kNoExpert}, {0.75F, 0.25F, 1, 0}),
                             layer({2, 1, 257, 2}, {0.5F, 0.5F, 0.5F, 0.5F})}},
                 {.number = 5, .layers = {layer({}, {}), layer({7, 8}, {1.5F, -1})}}};
  return trace;
}

void expect_equal(const RoutingTrace& got, const RoutingTrace& want) {
  EXPECT_EQ(got.info.layers, want.info.layers);
  EXPECT_EQ(got.info.experts, want.info.experts);
  EXPECT_EQ(got.info.top_k, want.info.top_k);
  EXPECT_EQ(got.info.detail, want.info.detail);
  EXPECT_EQ(got.info.layer_numbers, want.info.layer_numbers);
  EXPECT_EQ(got.info.model, want.info.model);
  EXPECT_EQ(got.info.provenance, want.info.provenance);
  ASSERT_EQ(got.steps.size(), want.steps.size());
  for (std::size_t s = 0; s < want.steps.size(); ++s) {
    EXPECT_EQ(got.steps[s].number, want.steps[s].number);
    ASSERT_EQ(got.steps[s].layers.size(), want.steps[s].layers.size());
    for (std::size_t l = 0; l < want.steps[s].layers.size(); ++l) {
      const TraceLayer& mine = got.steps[s].layers[l];
      const TraceLayer& other = want.steps[s].layers[l];
      EXPECT_EQ(mine.tokens, other.tokens);
      EXPECT_EQ(mine.counts, other.counts);
      EXPECT_EQ(mine.chosen, other.chosen);
      EXPECT_EQ(mine.weights, other.weights);
    }
  }
}

std::string bytes_of(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void write_bytes(const std::string& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary).write(bytes.data(), std::ssize(bytes));
}

class TraceFile : public testing::Test {
 protected:
  TraceFile() : file_(testing::TempDir() + "routing_trace_" + std::to_string(::getpid())) {}
  ~TraceFile() override { std::filesystem::remove(file_); }

  /// What opening and reading these bytes is refused with; the name of the file is left out.
  std::string refusal(const std::string& bytes) {
    write_bytes(file_, bytes);
    try {
      (void)read_trace(file_);
    } catch (const std::invalid_argument& error) {
      const std::string words = error.what();
      EXPECT_TRUE(words.starts_with(file_ + ": ")) << words;
      return words.substr(std::min(words.size(), file_.size() + 2));
    }
    return "accepted";
  }

  std::string file_;
};

/// The checksum of bytes [begin, end) in the four bytes behind them.
void sum_again(std::string& bytes, std::size_t begin, std::size_t end) {
  const std::uint32_t sum =
      comm::crc32c(std::as_bytes(std::span(bytes).subspan(begin, end - begin)));
  std::memcpy(bytes.data() + end, &sum, sizeof sum);
}

TEST_F(TraceFile, IsReadAsItWasWritten) {
  write_routing_trace(file_, small_trace());
  expect_equal(read_trace(file_), small_trace());
}

TEST_F(TraceFile, OfVersion1IsReadForEver) {
  expect_equal(read_trace(kGolden), small_trace());
}

TEST_F(TraceFile, HasTheBytesThatAreSpecified) {
  if (std::string(::zlibVersion()) != "1.2.13") GTEST_SKIP() << "zlib compresses in other ways";
  write_routing_trace(file_, small_trace());
  EXPECT_EQ(bytes_of(file_), bytes_of(kGolden));
}

TEST_F(TraceFile, IsReadALayerAtATimeInAnyOrder) {
  TraceReader reader(kGolden);
  EXPECT_EQ(reader.steps(), 2);
  EXPECT_EQ(reader.number(1), 5);
  EXPECT_EQ(reader.tokens(1, 0), 0);
  EXPECT_EQ(reader.layer(1, 1).chosen, small_trace().steps[1].layers[1].chosen);
  EXPECT_EQ(reader.layer(0, 0).weights, small_trace().steps[0].layers[0].weights);
  EXPECT_EQ(load_of(reader, 0, 2), load_of(small_trace(), 0, 2));
  EXPECT_THROW((void)reader.tokens(1), std::invalid_argument) << "layers of unequal tokens";
  EXPECT_THROW((void)reader.layer(2, 0), std::invalid_argument);
}

TEST_F(TraceFile, OfCountsAloneKeepsThem) {
  RoutingTrace trace = small_trace();
  trace.info.detail = TraceDetail::kCounts;
  for (TraceStep& step : trace.steps) {
    for (TraceLayer& layer : step.layers) {
      layer.chosen.clear();
      layer.weights.clear();
    }
  }
  write_routing_trace(file_, trace);
  expect_equal(read_trace(file_), trace);
}

TEST_F(TraceFile, IsAbsentUntilItIsWhole) {
  {
    TraceWriter writer("--output", file_, small_trace().info);
    writer.add(small_trace().steps[0]);
  }
  EXPECT_FALSE(std::filesystem::exists(file_));
}

TEST_F(TraceFile, CutAnywhereIsRefusedWithTheByte) {
  const std::string whole = bytes_of(kGolden);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THAT(refusal(whole.substr(0, size)), testing::MatchesRegex("byte [0-9]+: .*")) << size;
  }
}

TEST_F(TraceFile, WithAnyBitFlippedIsRefusedWithTheByte) {
  const std::string whole = bytes_of(kGolden);
  for (std::size_t bit = 0; bit < whole.size() * 8; bit += 3) {
    std::string bytes = whole;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_THAT(refusal(bytes), testing::MatchesRegex("byte [0-9]+: .*")) << bit;
  }
}

TEST_F(TraceFile, ThatIsBadIsRefusedInTheseWords) {
  const std::string whole = bytes_of(kGolden);
  const std::size_t first = whole.find("SYFR");
  const std::size_t end = whole.find("SYTEND01");
  const auto at = [](std::size_t byte) { return "byte " + std::to_string(byte) + ": "; };
  EXPECT_EQ(refusal(""), "byte 0: got a file of 0 bytes, want a routing trace");
  EXPECT_EQ(refusal(std::string(100, 'x')),
            "byte 0: got a file that does not begin with SYTRAC01, want a routing trace");
  EXPECT_EQ(refusal(whole + "more"), at(whole.size()) + "got 4 bytes after the trailer, want none");
  EXPECT_EQ(refusal(whole.substr(0, first + 9)),
            at(first) + "the file ends here, want a frame or the trailer: it has been cut");
  EXPECT_EQ(refusal(whole.substr(0, end)),
            at(whole.rfind("SYFR")) +
                "the file ends inside a frame, want 48 bytes of it and the trailer: it has been "
                "cut");
  {
    std::string bytes = whole;
    bytes[8] = bytes[9] = bytes[10] = '\xff';
    bytes[11] = '\0';
    EXPECT_EQ(refusal(bytes), "byte 8: header of 16777215 bytes, want at most " +
                                  std::to_string(whole.size() - 16));
  }
  {
    std::string bytes = whole;  // Header.min_reader_version: tag 10, 01
    ASSERT_EQ(bytes.substr(12, 4), std::string("\x08\x01\x10\x01"));
    bytes[13] = '\x03';
    bytes[15] = '\x02';
    sum_again(bytes, 0, first - 4);
    EXPECT_EQ(refusal(bytes),
              "byte 12: format version 3, whose readers have version 2 or later, want at most 1: a "
              "newer switchyard wrote this");
  }
  const auto changed = [&](std::size_t place, char value) {
    std::string bytes = whole;
    bytes[first + place] = value;
    sum_again(bytes, first, first + 44);
    return refusal(bytes);
  };
  EXPECT_EQ(changed(4, 1), at(first) + "layer, got 1, want 0");
  EXPECT_EQ(changed(16, 3), at(first) + "payload of 24 bytes for 3 tokens, want 36");
  EXPECT_EQ(changed(23, '\x7f'),
            at(first) +
                "payload of 24 bytes for 4611686018427387904 tokens, want fewer tokens, of "
                "at most 1073741824 bytes");
  EXPECT_THAT(changed(35, '\x7f'), testing::StartsWith(at(first) + "frame of 21307064"));
  {
    std::string bytes = whole;
    bytes[first] = 'X';
    EXPECT_EQ(refusal(bytes),
              at(first) + "got neither a frame nor the trailer, want SYFR or SYTEND01");
  }
  {
    std::string bytes = whole;
    bytes[end + 8] = 7;
    sum_again(bytes, end, end + 28);
    EXPECT_EQ(refusal(bytes), at(end) +
                                  "trailer of 7 steps and 4 frames, want 2 and 4, which the "
                                  "file has");
  }
  {
    std::string bytes = whole;
    bytes[end + 24] = static_cast<char>(bytes[end + 24] ^ 1);
    sum_again(bytes, end, end + 28);
    EXPECT_EQ(refusal(bytes),
              at(end) + "trailer of other frames, want the one that was written behind these");
  }
}

TEST_F(TraceFile, ThatIsNotThereIsAnErrorOfTheSystem) {
  EXPECT_THROW(TraceReader("/nonexistent/trace"), std::system_error);
  EXPECT_THROW(TraceReader{testing::TempDir()}, std::system_error);
}

TEST_F(TraceFile, IsNotWrittenWithWhatIsWrong) {
  const auto refused = [&](auto change) {
    RoutingTrace trace = small_trace();
    change(trace);
    try {
      write_routing_trace(file_, trace);
    } catch (const std::invalid_argument& error) {
      return std::string(error.what());
    }
    return std::string("written");
  };
  EXPECT_EQ(refused([](auto& trace) { trace.info.layers = 0; }),
            "trace: 0 layers, want 1 to 65536");
  EXPECT_EQ(refused([](auto& trace) { trace.info.experts = 70000; }),
            "trace: 70000 experts, want 1 to 65535");
  EXPECT_EQ(refused([](auto& trace) { trace.info.top_k = 301; }),
            "trace: 301 slots a token, want 1 to the 300 experts");
  EXPECT_EQ(refused([](auto& trace) { trace.info.layer_numbers = {1}; }),
            "trace: 1 layer numbers, want none or 2");
  EXPECT_EQ(refused([](auto& trace) { trace.steps[0].layers[0].chosen[1] = 299; }),
            "trace: step 3, layer 0: token 0 chose expert 299 twice, want each at most once");
  EXPECT_EQ(refused([](auto& trace) { trace.steps[0].layers[1].chosen[0] = 300; }),
            "trace: step 3, layer 1: token 0 chose expert 300, want 0 to 299, or -1 for none");
  EXPECT_EQ(refused([](auto& trace) { trace.steps[0].layers[1].counts[9] = 3; }),
            "trace: step 3, layer 1: expert 9 was chosen 3 times by 2 tokens, want each at most "
            "once a token");
  EXPECT_EQ(refused([](auto& trace) { trace.steps[0].layers[1].weights.pop_back(); }),
            "trace: step 3, layer 1: 3 weights, want 4");
  EXPECT_EQ(refused([](auto& trace) { trace.steps[1].number = 3; }),
            "trace: step 3 after 3, want a larger one");
  EXPECT_EQ(refused([](auto& trace) { trace.steps[1].layers.pop_back(); }),
            "trace: step 5 has 1 layers, want 2");
}
}  // namespace
}  // namespace switchyard::runtime
