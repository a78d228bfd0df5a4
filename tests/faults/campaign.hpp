// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What the programs of fault campaigns have in common: a number of cases, a seed, and a last line.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

namespace switchyard::faults {

using Random = std::mt19937_64;

/// A whole number in [first, last].
inline std::int64_t draw(Random& random, std::int64_t first, std::int64_t last) {
  return std::uniform_int_distribution<std::int64_t>(first, last)(random);
}

/// usage: PROGRAM [CASES [SEED]]
class Campaign {
 public:
  Campaign(int argc, char** argv, std::int64_t cases)
      : name_(argv[0]),
        cases_(argc > 1 ? std::atoll(argv[1]) : cases),
        seed_(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1) {
    name_ = name_.substr(name_.find_last_of('/') + 1);
    if (cases_ < 1) {
      std::fprintf(stderr, "usage: %s [CASES [SEED]]\n", name_.c_str());
      std::exit(2);
    }
  }
  [[nodiscard]] std::int64_t cases() const { return cases_; }
  [[nodiscard]] std::uint64_t seed() const { return seed_; }
  /// Of one case: with the number that is printed when it fails, it can be run again.
  [[nodiscard]] Random random(std::int64_t number) const {
    return Random(seed_ * 1'000'003U + static_cast<std::uint64_t>(number));
  }

  void fail(std::int64_t number, const std::string& words) {
    constexpr int kTold = 10;
    if (++failures_ <= kTold) {
      std::printf("case %lld, seed %llu: %s\n", static_cast<long long>(number),
                  static_cast<unsigned long long>(seed_), words.c_str());
    }
  }
  [[nodiscard]] std::int64_t failures() const { return failures_; }
  /// The last line, and the exit status.
  int end(const std::string& words) const {
    std::printf("%s: %s; %lld failed\n", name_.c_str(), words.c_str(),
                static_cast<long long>(failures_));
    return failures_ == 0 ? 0 : 1;
  }

 private:
  std::string name_;
  std::int64_t cases_;
  std::uint64_t seed_;
  std::int64_t failures_ = 0;
};
}  // namespace switchyard::faults
