// SPDX-License-Identifier: Apache-2.0
// Whatever a user can get wrong in options and the files they name: one message from one rank that
// says what it was, the right status on every rank, and no hang. Beside the 75 of
// tests/faults/bad_inputs.hpp; checkpoints: bad_checkpoint_test.
#include "tests/launch/bad_input.hpp"

#include <gmock/gmock.h>
#include <string>
#include <vector>

namespace {
using switchyard::tests::BadInput;
using switchyard::tests::data;
using switchyard::tests::expect_one_message;
using switchyard::tests::file_with;
using switchyard::tests::mpirun;
using switchyard::tests::Outcome;
using switchyard::tests::run;
using switchyard::tests::scratch;
using switchyard::tests::switchyard;
using switchyard::tests::tiny;
using testing::HasSubstr;

const std::vector<BadInput>& bad_inputs() {
  static const std::vector<BadInput> inputs{
      {"NumberWithLetters",
       [] {
         return tiny({"--steps", "12x"});
       },
       2, "--steps: got '12x', want"},
      {"ZeroThreads",
       [] {
         return tiny({"--threads-per-rank", "0"});
       },
       2, "--threads-per-rank"},
      {"TooManyLayers",
       [] {
         return tiny({"--layers", "17"});
       },
       2, "want 1 to 16"},
      {"UnknownModel",
       [] {
         return std::vector<std::string>{"run", "--model", "olmo2"};
       },
       2, "nearest is olmoe-1b-7b-0924"},
      {"AmbiguousModel",
       [] {
         return std::vector<std::string>{"run", "--model", "qwen"};
       },
       2, "qwen"},
      {"NoModelAtAll", [] { return std::vector<std::string>{"run"}; }, 2,
       "neither --model nor --checkpoint"},
      {"UnknownField",
       [] {
         return tiny({"--set", "topk=7"});
       },
       2, "nearest is top_k"},
      {"FieldWithoutValue",
       [] {
         return tiny({"--set", "top_k"});
       },
       2, "top_k"},
      {"FieldOfAnotherType",
       [] {
         return tiny({"--set", "top_k=many"});
       },
       2, "many"},
      {"GroupsThatDoNotDivide",
       [] {
         return tiny({"--set", "n_group=7"});
       },
       2, "group"},
      {"UnknownTransport",
       [] {
         return tiny({"--transport", "tcp"});
       },
       2, "--transport: got 'tcp'"},
      {"UnknownWeights",
       [] {
         return tiny({"--weights", "int3"});
       },
       2, "--weights: got 'int3'"},
      {"UnknownMath",
       [] {
         return tiny({"--math", "float16"});
       },
       2, "--math: got 'float16'"},
      {"ZipfWithoutNumber",
       [] {
         return tiny({"--routing", "zipf:"});
       },
       2, "want model, uniform or"},
      {"RuleThatNeedsAnotherK",
       [] {
         return tiny({"--capacity-rule", "deepspeed-top2", "--capacity-factor", "1"});
       },
       2, "top_k is 8, want 2"},
      {"RuleWithoutFactor",
       [] {
         return tiny({"--capacity-rule", "colossal"});
       },
       2, "--capacity-factor: got none"},
      {"FactorWithoutRule",
       [] {
         return tiny({"--capacity-factor", "1.5"});
       },
       2, "--capacity-rule: got none"},
      {"RuleThatNobodyHeeds",
       [] {
         return tiny(
             {"--capacity-rule", "colossal", "--capacity-factor", "1", "--routing", "uniform"});
       },
       2, "--routing: got uniform"},
      {"MoreTokensThanMemory",
       [] {
         return std::vector<std::string>{"run", "--model", "olmoe", "--tokens", "1099511627776"};
       },
       2, "--tokens: got 1099511627776, want at most about"},
      {"OneFileForTwoOutputs",
       [] {
         return tiny({"--output", scratch("same"), "--json", scratch("same")});
       },
       2, "want two files"},
      {"UnknownRule",
       [] {
         return tiny({"--capacity-rule", "fifo"});
       },
       2, "--capacity-rule"},
      {"UnknownPlacement",
       [] {
         return tiny({"--placement", "linaer"});
       },
       2, "want linear, round-robin or a file"},
      {"MissingInput",
       [] {
         return tiny({"--input", "/nowhere/rows"});
       },
       74, "/nowhere/rows"},
      {"OddSizedInput",
       [] {
         return tiny({"--input", file_with("rows", "12345")});
       },
       2, "want a multiple of 32"},
      {"NanInTheInput",
       [] {
         std::string rows(8 * 32, '\0');
         for (std::size_t i = 2; i < rows.size(); i += 4) rows[i] = '\xc0', rows[i + 1] = '\x7f';
         return tiny({"--input", file_with("nan_rows", rows)});
       },
       2, "token 0: logit of expert 0 is nan"},
      {"UnwritableOutput",
       [] {
         return tiny({"--output", "/nowhere/out"});
       },
       74, "/nowhere/out"},
      {"UnwritableJson",
       [] {
         return tiny({"--json", "/nowhere/out.json"});
       },
       74, "/nowhere/out.json"},
      {"OutputIsAFolder",
       [] {
         return tiny({"--output", "/tmp"});
       },
       74, "/tmp"},
      {"UnknownInjection",
       [] {
         return std::vector<std::string>{"verify", "golden", data("golden/moe/mixtral.safetensors"),
                                         "--inject", "ruoter"};
       },
       2, "--inject: got 'ruoter'"},
  };
  return inputs;
}

class BadInputs : public testing::TestWithParam<BadInput> {};

TEST_P(BadInputs, EndsOnTwoRanksWithOneMessageAndItsStatus) {
  expect_one_message(GetParam());
}
INSTANTIATE_TEST_SUITE_P(All, BadInputs, testing::ValuesIn(bad_inputs()),
                         [](const auto& input) { return input.param.name; });

TEST(FullDisk, EndsWithSeventyFourAndNamesTheFile) {
  const Outcome outcome = run({.words = mpirun(2, switchyard(tiny({"--output", "/dev/full"})))});
  EXPECT_EQ(outcome.status, 74) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("/dev/full"));
}
}  // namespace
