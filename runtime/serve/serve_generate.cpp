// SPDX-License-Identifier: Apache-2.0
#include "runtime/serve/serve_generate.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <set>
#include <span>
#include <utility>

#include "comm/base/error.hpp"
#include "comm/group/collective.hpp"
#include "runtime/generate/generation.hpp"
#include "runtime/serve/spare.hpp"

namespace switchyard::runtime {
namespace {
using Moment = std::chrono::steady_clock;

double seconds_from(Moment::time_point start) {
  return std::chrono::duration<double>(Moment::now() - start).count();
}

/// A model whose passes are closed by everybody and accounted for: each is a step.
class CountedModel final : public LanguageModel {
 public:
  CountedModel(comm::EnduringGroup& group, Crew& crew, const ServedModel& served)
      : group_(group), crew_(crew), model_(served.model), mark_(served.layers) {}

  [[nodiscard]] std::int64_t vocabulary() const override { return model_.vocabulary(); }
  [[nodiscard]] std::int64_t max_context() const override { return model_.max_context(); }
  [[nodiscard]] std::int64_t begin() override { return model_.begin(); }
  void end(std::int64_t sequence) override { model_.end(sequence); }
  [[nodiscard]] bool rewind(std::int64_t sequence, std::int64_t length) override {
    return model_.rewind(sequence, length);
  }
  [[nodiscard]] experts::Matrix forward(const Batch& batch, Witness* witness) override {
    if (crew_.masked()) incomplete_ = true;
    mark_.set();
    experts::Matrix rows = model_.forward(batch, witness);
    StepPart part = mark_.since();
    part.loading = crew_.keeper().loading();
    const auto loading = crew_.account().close(group_, step_, part, 1e3 * seconds_from(began_));
    began_ = Moment::now();
    ++step_;
    ready_ = ready_ || Keeper::all_ready(loading);
    return rows;
  }
  [[nodiscard]] experts::Matrix logits(experts::MatrixView<const float> rows) const override {
    return model_.logits(rows);
  }

  [[nodiscard]] std::int64_t step() const { return step_; }
  void go_on_at(std::int64_t step) {
    step_ = step;
    ready_ = false;
  }
  /// Time that passed while this rank waited as a spare is nobody's.
  void begin_now() { began_ = Moment::now(); }
  /// Whether the states are to be read anew: they were computed without experts that are back.
  [[nodiscard]] bool heals() {
    if (!incomplete_ || crew_.masked()) return false;
    incomplete_ = false;
    return true;
  }
  /// All that was lost has been loaded again somewhere.
  [[nodiscard]] bool ready() const { return ready_; }

 private:
  comm::EnduringGroup& group_;
  Crew& crew_;
  LanguageModel& model_;
  StepMark mark_;
  std::int64_t step_ = 0;  ///< passes through the model
  bool ready_ = false;
  bool incomplete_ = false;
  Moment::time_point began_ = Moment::now();
};

/// What some member knows all others know then: a token that was chosen stays.
void take_longest(comm::Group& group, Generated& result) {
  constexpr std::ptrdiff_t kFixed = 3;
  std::vector<std::int64_t> mine;  // of each prompt: ended, masked, count, ids
  for (const Continuation& one : result.continuations) {
    mine.insert(mine.end(), {one.ended ? 1 : 0, one.masked_ids, std::ssize(one.ids)});
    mine.insert(mine.end(), one.ids.begin(), one.ids.end());
  }
  for (const auto& words :
       comm::allgather_values<std::int64_t>(group, std::span(std::as_const(mine)))) {
    auto at = words.begin();
    for (Continuation& one : result.continuations) {
      if (words.end() - at < kFixed || words.end() - at - kFixed < at[2]) {
        throw comm::ProtocolError("serve: continuations that end too soon");
      }
      const auto first = at + kFixed;
      const auto end = first + at[2];
      if (at[2] > std::ssize(one.ids)) {
        one.ids.assign(first, end);
        one.ended = at[0] != 0;
        one.masked_ids = at[1];
      }
      at = end;
    }
  }
}

std::int64_t decoded(const Generated& result) {
  std::int64_t sum = 0;
  for (const Continuation& one : result.continuations) {
    sum += std::max<std::int64_t>(std::ssize(one.ids) - 1, 0);
  }
  return sum;
}

/// A generation that is served, on one rank.
class ServedGeneration {
 public:
  ServedGeneration(comm::EnduringGroup& group, Crew& crew, const ServedModel& served,
                   const std::vector<TokenIds>& prompts, const GenerateSettings& settings)
      : group_(group),
        crew_(crew),
        prompts_(prompts),
        settings_(settings),
        counted_(group, crew, served),
        sink_([this](std::int64_t sequence, std::int64_t) {
          if (crew_.masked())
            ++result_.continuations[static_cast<std::size_t>(sequence)].masked_ids;
        }),
        generation_(group, counted_, settings, sink_, nullptr, result_) {
    result_.continuations.resize(prompts.size());
    if (!group.takes_part()) counted_.go_on_at(Keeper::kNoStep);
  }

  void joined() { counted_.begin_now(); }

  /// From whatever state the members are in to the end of all sequences.
  /// @throws comm::MembershipChanged
  void go_on() {
    for (bool more = true; more;) {
      counted_.go_on_at(crew_.settle(counted_.step()));
      take_longest(group_, result_);
      const std::vector<std::int64_t> mine = generation_.keep(prompts_, !counted_.heals());
      const auto kept = comm::allgather_values<std::int64_t>(group_, std::span(mine));
      generation_.settle(kept);
      count_what_is_read(kept);
      more = generation_.prefill(prompts_);
      if (prefill_s_ == 0) prefill_s_ = seconds_from(start_);
      while (more && !counted_.ready()) more = generation_.decode();
    }
  }

  void changed() { crew_.change(counted_.step()); }

  /// Collective.
  [[nodiscard]] const Generated& finish() {
    const std::vector<double> mine{prefill_s_, seconds_from(start_)};
    for (const auto& rank : comm::allgather_values<double>(group_, std::span(mine))) {
      result_.prefill_s = std::max(result_.prefill_s, rank[0]);
      result_.decode_s = std::max(result_.decode_s, rank[1] - rank[0]);
    }
    result_.decoded_tokens = decoded(result_);
    return result_;
  }
  [[nodiscard]] const ReadAgain& read_again() const { return read_again_; }

 private:
  void count_what_is_read(const std::vector<std::vector<std::int64_t>>& kept) {
    if (first_time_) {
      first_time_ = false;
      return;
    }
    std::set<std::int64_t> stays;
    for (const auto& of_rank : kept) stays.insert(of_rank.begin(), of_rank.end());
    for (std::size_t i = 0; i < prompts_.size(); ++i) {
      const Continuation& one = result_.continuations[i];
      if (one.ended || std::ssize(one.ids) >= settings_.max_new_tokens) continue;
      if (stays.contains(static_cast<std::int64_t>(i))) continue;
      ++read_again_.sequences;
      read_again_.tokens += std::ssize(prompts_[i]) + std::ssize(one.ids);
    }
  }

  comm::EnduringGroup& group_;
  Crew& crew_;
  const std::vector<TokenIds>& prompts_;
  const GenerateSettings& settings_;
  Generated result_;
  CountedModel counted_;
  TokenSink sink_;
  Generation generation_;
  ReadAgain read_again_;
  bool first_time_ = true;
  Moment::time_point start_ = Moment::now();
  double prefill_s_ = 0;
};
}  // namespace

int serve_generate(comm::Membership& membership, comm::EnduringGroup& group, Crew& crew,
                   const ServedModel& served, const std::vector<TokenIds>& prompts,
                   const GenerateSettings& settings, const ServedEnd& end) {
  membership.expect_signs();
  ServedGeneration generation(group, crew, served, prompts, settings);
  while (true) {
    try {
      if (!group.takes_part()) {
        if (const auto status = crew.wait(served.plan)) return *status;
        generation.joined();
      }
      generation.go_on();
      const Generated& result = generation.finish();
      const ServeReport report = crew.report();
      comm::barrier(group);
      return leave_together(membership, group,
                            [&] { return end.show(result, generation.read_again(), report); });
    } catch (const comm::MembershipChanged&) {
      generation.changed();
    } catch (const comm::CollectiveError& error) {
      return leave_together(membership, group, [&] {
        end.failed(error.what());
        return error.status();
      });
    }
  }
}
}  // namespace switchyard::runtime
