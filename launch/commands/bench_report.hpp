// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// What the bench commands have in common: flags, tables, and a result that says how to get it
/// again.
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "launch/command.hpp"
#include "runtime/bench/timing.hpp"
#include "runtime/model/model.hpp"

namespace switchyard::launch {

/// --model, --set, --seed, --seconds and --repetitions.
[[nodiscard]] std::vector<Option> bench_options(double seconds);
/// --inject of the benches.
[[nodiscard]] Option bench_inject_option();
[[nodiscard]] runtime::Model bench_model(const Options& options);
[[nodiscard]] runtime::bench::Budget bench_budget(const Options& options);
/// Refuses models and lists that cannot be, before the ranks talk.
/// @param lists  names of options that are lists of whole numbers from 1
[[nodiscard]] std::vector<comm::Field> prepare_bench(const Options& options,
                                                     const std::vector<std::string>& lists);

/// "1,2,4" as numbers.
/// @throws std::invalid_argument  "--rows: got '1,x', want whole numbers from 1 with commas
/// between"
[[nodiscard]] std::vector<std::int64_t> counts_of(const Options& options, const std::string& name);
/// "ours,openblas" as words. @param known  empty: any
/// @throws std::invalid_argument  "--backend: got 'mkl', want ours or openblas"
[[nodiscard]] std::vector<std::string> words_of(const Options& options, const std::string& name,
                                                const std::vector<std::string>& known);

/// "12.3": so many digits after the point.
[[nodiscard]] std::string decimal(double value, int digits);
/// Four digits that count: "0.8123", "12.35", "1234".
[[nodiscard]] std::string figure(double value);

/// Columns as wide as their widest entry; numbers to the right.
class Table {
 public:
  explicit Table(std::vector<std::string> heads) : rows_{std::move(heads)} {}
  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  void print(std::ostream& out) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

/// What figures are from: "" where it is not known.
[[nodiscard]] std::string host_name();
[[nodiscard]] std::string processor_name();

/// "us_min", "us_median", "us_p99", "us_max" for prefix "us".
void put(nlohmann::ordered_json& json, const std::string& prefix,
         const runtime::bench::Summary& summary);

/// The head of a result: the line that gives it again, commit, host and processor, how steady it
/// was.
[[nodiscard]] nlohmann::ordered_json bench_header(const Context& context,
                                                  const std::string& command,
                                                  const runtime::bench::Summary& steadiness);
/// "machine  NAME, PROCESSOR, 2 processors; a fixed chain of arithmetic took 1.4 to 1.9 ms, ..."
void print_machine(const runtime::bench::Summary& steadiness, std::ostream& out);
}  // namespace switchyard::launch
