// SPDX-License-Identifier: Apache-2.0
#include "launch/options.hpp"

#include <filesystem>
#include <fstream>
#include <gmock/gmock.h>
#include <set>
#include <system_error>

#include "launch/command.hpp"
#include "launch/config.hpp"

namespace {
using switchyard::launch::Options;
using switchyard::launch::Syntax;
using testing::HasSubstr;
using namespace switchyard::launch;  // NOLINT(google-build-using-namespace): the subject

Syntax syntax() {
  return {.command = "run",
          .summary = "a command of this test",
          .options = {integer_option("tokens", "TOKENS", "all ranks together", 1024),
                      integer_option("layers", "LAYERS", "how many", 1, {.least = 1, .most = 64}),
                      real_option("capacity-factor", "RATIO",
                                  "rows an expert accepts, over its fair share; 0: dropless", 1.25),
                      choice_option("math", {"float32", "native"}, "of products", "float32"),
                      text_option("model", "NAME|FILE", "what to run"),
                      flag_option("progress", "say how far it is"),
                      list_option("set", "FIELD=VALUE", "change one field"),
                      text_option("config", "FILE", "settings in protobuf text format"),
                      output_option("json", "FILE", "write the result as JSON as well")},
          .positionals = {.unit = "PATH", .help = "files", .least = 0, .most = 2}};
}

Options parse(const std::vector<std::string>& args,
              const std::vector<std::string>& environment = {}) {
  return Options::parse(syntax(), args, environment);
}

/// The words of the error that these arguments end in.
std::string refusal(const std::vector<std::string>& args,
                    const std::vector<std::string>& environment = {}) {
  try {
    static_cast<void>(parse(args, environment));
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "no error";
}

/// A file that is gone when the test is over.
class TextFile {
 public:
  explicit TextFile(const std::string& text)
      : path_(std::filesystem::path(testing::TempDir()) /
              ("options_" + std::to_string(::getpid()) + ".textproto")) {
    std::ofstream(path_) << text;
  }
  ~TextFile() { std::filesystem::remove(path_); }
  TextFile(const TextFile&) = delete;
  TextFile& operator=(const TextFile&) = delete;
  [[nodiscard]] std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

TEST(Options, DefaultsStandWhereNothingIsGiven) {
  const Options options = parse({});
  EXPECT_EQ(options.integer("tokens"), 1024);
  EXPECT_EQ(options.real("capacity-factor"), 1.25);
  EXPECT_EQ(options.text("math"), "float32");
  EXPECT_FALSE(options.flag("progress"));
  EXPECT_FALSE(options.has("model"));
  EXPECT_TRUE(options.list("set").empty());
}

TEST(Options, FlagsAreReadWithASpaceOrAnEqualsSign) {
  const Options options = parse({"--tokens", "7", "--model=olmoe", "--progress", "--set", "top_k=2",
                                 "--set=a=b", "--math", "native", "one", "two"});
  EXPECT_EQ(options.integer("tokens"), 7);
  EXPECT_EQ(options.text("model"), "olmoe");
  EXPECT_TRUE(options.flag("progress"));
  EXPECT_THAT(options.list("set"), testing::ElementsAre("top_k=2", "a=b"));
  EXPECT_THAT(options.positionals(), testing::ElementsAre("one", "two"));
}

TEST(Options, NumbersAreReadStrictly) {
  EXPECT_EQ(refusal({"--tokens", "12x"}), "--tokens: got '12x', want a whole number from 0");
  EXPECT_EQ(refusal({"--tokens", "-1"}), "--tokens: got '-1', want a whole number from 0");
  EXPECT_EQ(refusal({"--tokens", "1e3"}), "--tokens: got '1e3', want a whole number from 0");
  EXPECT_EQ(refusal({"--tokens", " 5"}), "--tokens: got ' 5', want a whole number from 0");
  EXPECT_EQ(refusal({"--layers", "65"}), "--layers: got '65', want a whole number from 1 to 64");
  EXPECT_EQ(refusal({"--tokens", "99999999999999999999"}),
            "--tokens: got '99999999999999999999', want a whole number from 0 to "
            "9223372036854775807");
  for (const std::string bad : {"nan", "inf", "-0.5", "1,5", "0x10", "1e999"}) {
    EXPECT_EQ(refusal({"--capacity-factor", bad}),
              "--capacity-factor: got '" + bad + "', want a number from 0");
  }
}

TEST(Options, AnEmptyOrMissingValueIsRefused) {
  EXPECT_EQ(refusal({"--tokens"}), "--tokens: got nothing, want a whole number from 0");
  EXPECT_EQ(refusal({"--tokens="}), "--tokens: got nothing, want a whole number from 0");
  EXPECT_EQ(refusal({"--model", ""}), "--model: got '', want NAME|FILE");
  EXPECT_EQ(refusal({"--progress=3"}), "--progress: got a value, want none");
  EXPECT_THAT(refusal({"--model", "--tokens", "3"}), HasSubstr("--model: got "));
}

TEST(Options, AChoiceListsWhatItTakes) {
  EXPECT_EQ(refusal({"--math", "float16"}), "--math: got 'float16', want float32 or native");
}

TEST(Options, UnknownFlagsNameTheNearestAndAbbreviationsAreUnknown) {
  EXPECT_EQ(refusal({"--tokns", "3"}), "run: no option --tokns, nearest is --tokens");
  EXPECT_EQ(refusal({"--tokns=3"}), "run: no option --tokns, nearest is --tokens");
  EXPECT_THAT(refusal({"--token", "3"}), HasSubstr("no option --token,"));
  EXPECT_THAT(refusal({"-t", "3"}), HasSubstr("no option -t"));
}

TEST(Options, AFlagGivenTwiceIsRefused) {
  EXPECT_EQ(refusal({"--tokens", "1", "--tokens", "1"}), "--tokens: got it twice, want it once");
}

TEST(Options, TooManyWordsAreRefused) {
  EXPECT_EQ(refusal({"a", "b", "c"}), "run: got 'c', want at most 2 PATH");
}

TEST(Options, LaterLayersWin) {
  const TextFile file("tokens: 1\nlayers: 2\ncapacity_factor: 0.5\nset: 'a=1'\nset: 'b=2'\n");
  const Options from_file = parse({"--config", file.path()});
  EXPECT_EQ(from_file.integer("tokens"), 1);
  EXPECT_EQ(from_file.real("capacity-factor"), 0.5);
  EXPECT_THAT(from_file.list("set"), testing::ElementsAre("a=1", "b=2"));

  const std::vector<std::string> environment{"SWITCHYARD_LAYERS=3", "SWITCHYARD_SET=c=3,d=4",
                                             "SWITCHYARD_CONFIG=" + file.path()};
  const Options from_environment = parse({}, environment);
  EXPECT_EQ(from_environment.integer("tokens"), 1);
  EXPECT_EQ(from_environment.integer("layers"), 3);
  EXPECT_THAT(from_environment.list("set"), testing::ElementsAre("c=3", "d=4"));

  const Options from_flags = parse({"--layers", "4", "--set", "e=5"}, environment);
  EXPECT_EQ(from_flags.integer("layers"), 4);
  EXPECT_THAT(from_flags.list("set"), testing::ElementsAre("e=5"));
}

TEST(Options, EveryLayerIsCheckedAlike) {
  EXPECT_EQ(refusal({}, {"SWITCHYARD_TOKENS=x"}),
            "SWITCHYARD_TOKENS: got 'x', want a whole number from 0");
  EXPECT_EQ(refusal({}, {"SWITCHYARD_PROGRESS=maybe"}),
            "SWITCHYARD_PROGRESS: got 'maybe', want true or false");
  const TextFile file("layers: 100\n");
  EXPECT_EQ(refusal({"--config", file.path()}),
            file.path() + ": layers: got '100', want a whole number from 1 to 64");
}

TEST(Options, AnUnknownFieldOfAConfigFileIsNamedWithLineColumnAndTheNearest) {
  const TextFile file("layers: 1\ntokns: 5\n");
  EXPECT_THAT(refusal({"--config", file.path()}),
              testing::AllOf(HasSubstr(file.path() + ":2:"), HasSubstr("no field tokns"),
                             HasSubstr("nearest is tokens")));
  const TextFile broken("tokens: {{{{");
  EXPECT_THAT(refusal({"--config", broken.path()}), HasSubstr(broken.path() + ":1:"));
}

TEST(Options, AConfigFileThatIsNotThereIsAnIoError) {
  EXPECT_THROW(static_cast<void>(parse({"--config", "/nowhere/run.textproto"})), std::system_error);
}

TEST(Options, SettingsOfAnotherCommandAreIgnoredAloud) {
  const TextFile file("transport: 'p2p'\n");
  const Options options = parse({"--config", file.path()});
  ASSERT_EQ(options.ignored().size(), 1U);
  EXPECT_THAT(options.ignored().front(), HasSubstr("transport"));
}

TEST(Options, EqualSettingsHaveEqualCanonicalForms) {
  const TextFile file("tokens: 7\ncapacity_factor: 1.5\n");
  const Options flags = parse({"--capacity-factor", "1.50", "--tokens", "007", "--json", "a"});
  const Options config = parse({"--config", file.path(), "--json", "b"});
  EXPECT_EQ(flags.canonical(), config.canonical());
  EXPECT_NE(flags.canonical(), parse({"--tokens", "8"}).canonical());
}

TEST(Options, UnknownVariablesAreNamedWithTheNearest) {
  const auto sentences =
      unknown_variables({"SWITCHYARD_TOKNS=1", "SWITCHYARD_TOKENS=1", "PATH=/bin"}, {"tokens"});
  ASSERT_EQ(sentences.size(), 1U);
  EXPECT_EQ(sentences.front(),
            "environment: SWITCHYARD_TOKNS is no option and was ignored, nearest is "
            "SWITCHYARD_TOKENS");
}

TEST(Options, HelpNamesUnitAndDefault) {
  const std::string help = help_text(syntax());
  EXPECT_THAT(help, HasSubstr("usage: switchyard run [PATH...] [options]"));
  EXPECT_THAT(help, HasSubstr("--capacity-factor RATIO (=1.25)"));
  EXPECT_THAT(help, HasSubstr("--math float32|native (=float32)"));
}

TEST(Options, EveryOptionOfACommandThatReadsConfigFilesHasAFieldThere) {
  const std::vector<std::string> fields = config_options();
  for (const Command& command : commands()) {
    if (command.name != "run" && command.name != "generate" && command.name != "eval") continue;
    for (const Option& option : command.syntax().options) {
      if (option.name == "config") continue;
      EXPECT_THAT(fields, testing::Contains(option.name));
    }
  }
}

/// Flags of the table in README.md, without the dashes.
std::set<std::string> flags_of_readme() {
  std::ifstream readme(std::string(SWITCHYARD_TEST_DATA) + "/../README.md");
  std::set<std::string> flags;
  for (std::string line; std::getline(readme, line);) {
    if (!line.starts_with("| `--")) continue;
    const std::string cell = line.substr(0, line.find(" | "));
    for (std::size_t at = cell.find("--"); at != std::string::npos; at = cell.find("--", at + 2)) {
      flags.insert(cell.substr(at + 2, cell.find_first_of(" `", at) - at - 2));
    }
  }
  return flags;
}

TEST(Options, TheReadmeNamesEveryFlagAndNoOther) {
  std::set<std::string> flags;
  for (const Command& command : commands()) {
    for (const Option& option : command.syntax().options) flags.insert(option.name);
  }
  EXPECT_EQ(flags_of_readme(), flags);
}

TEST(Options, EveryOptionOfEveryCommandHasAUnitUnlessItIsAFlag) {
  for (const Command& command : commands()) {
    for (const Option& option : command.syntax().options) {
      EXPECT_EQ(option.unit.empty(), option.kind == Kind::kFlag) << option.name;
      EXPECT_FALSE(option.help.empty()) << option.name;
    }
  }
}
}  // namespace
