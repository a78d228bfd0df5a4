// SPDX-License-Identifier: Apache-2.0
#include "runtime/serve/serve_generate.hpp"

#include <optional>

#include "comm/endure/enduring_group.hpp"
#include "comm/group/collective.hpp"
#include "launch/commands/generate_parts.hpp"
#include "launch/commands/serve.hpp"
#include "launch/commands/whole_model.hpp"
#include "runtime/faults/injector.hpp"
#include "runtime/generate/prompts.hpp"
#include "runtime/status.hpp"

namespace switchyard::launch {
namespace {
void require_generate(const Options& options) {
  if (!options.flag("routing-stats")) return;
  throw std::invalid_argument(
      "--routing-stats: got it with --serve, want one of them: a lost rank's counts are lost");
}

/// One `generate --serve` on one rank: everything that outlives the loss of others.
class ServedGenerate {
 public:
  explicit ServedGenerate(Context& context)
      : context_(context),
        serving_(serve_settings(context.options)),
        base_(context.group()),
        settings_(generate_settings(context.options)),
        output_(context) {
    runtime::together(base_, [&] {
      require_generate(context.options);
      prompts_ = prompts_of(context.options);  // any rank may have to show them
    });
    prompts_.ids = runtime::shared(base_, prompts_.ids);
    membership_.emplace(base_, serving_.spares, serving_.silence);
    group_.emplace(base_, *membership_);
    context.leaves_alone = outlives_ranks(context);
    context.ranks = &*group_;
    runtime::load_apart(base_, [&] { load(); });
  }

  int serve() {
    context_.let_ranks_end();
    comm::barrier(base_);
    const comm::Observing observing(group_->deadline(), context_.faults);
    say_ready(context_, !group_->takes_part());
    const runtime::ServedModel served{
        .model = *whole_->model, .layers = kept_.layers, .plan = *plan_};
    const runtime::ServedEnd end{
        .show = [&](const runtime::Generated& result, const runtime::ReadAgain& again,
                    const runtime::ServeReport& report) { return show(result, again, report); },
        .failed = [&](const std::string& words) { context_.reporter.error(words); }};
    return unless_taken_for_lost(context_, [&] {
      return runtime::serve_generate(*membership_, *group_, *crew_, served, prompts_.ids, settings_,
                                     end);
    });
  }

 private:
  void load() {
    const int workers = membership_->workers();
    const bool works = group_->takes_part();
    whole_.emplace(
        context_,
        [&](const runtime::Model& model) {
          return prepare_prompts(context_.options, model, settings_, workers, prompts_);
        },
        works ? Served::kWorker : Served::kSpare);
    runtime::together(*group_, [&] {
      settings_.eos = ends_of(*whole_, context_.options);
      if (settings_.eos.empty() && prompts_.text && prompts_.text->eos) {
        settings_.eos = {*prompts_.text->eos};
      }
      kept_ = whole_->kept();
      plan_ = runtime::Placement::from_name(context_.options.text("placement"),
                                            whole_->of.block().router.experts, workers);
    });
    const auto held = kept_.layers.front()->placement().experts_of(group_->rank());
    crew_.emplace(*membership_, *group_, kept_, std::vector<std::int32_t>(held.begin(), held.end()),
                  serving_.reload,
                  [&](const std::string& words) { context_.reporter.warning(words); });
  }

  int show(const runtime::Generated& result, const runtime::ReadAgain& again,
           const runtime::ServeReport& report) {
    std::ostream& out = output_.out();
    Shown shown(prompts_, out);
    for (std::size_t i = 0; i < result.continuations.size(); ++i) {
      const auto sequence = static_cast<std::int64_t>(i);
      for (const std::int64_t id : result.continuations[i].ids) shown.add(sequence, id);
      shown.end(sequence);
    }
    out << '\n';
    print_whole(*whole_, group_->size(), {}, out);
    print_generated(result, out);
    print_serving(report, out);
    print_row(out, "read again",
              std::to_string(again.sequences) + " sequences, " + std::to_string(again.tokens) +
                  " tokens");
    auto json = whole_json(*whole_, {});
    json.update(generated_json(result, prompts_, shown));
    for (std::size_t i = 0; i < result.continuations.size(); ++i) {
      const std::int64_t masked = result.continuations[i].masked_ids;
      json["sequences"][i]["ids_while_masked"] = masked;
      if (masked == 0) continue;
      print_row(out, "sequence " + std::to_string(i),
                std::to_string(masked) + " of " +
                    std::to_string(result.continuations[i].ids.size()) +
                    " tokens were chosen while experts were masked");
    }
    json["read_again"] = {{"sequences", again.sequences}, {"tokens", again.tokens}};
    json["serve"] = serving_json(report);
    output_.finish(json);
    return runtime::kDone;
  }

  Context& context_;
  runtime::ServeSettings serving_;
  comm::Group& base_;
  runtime::GenerateSettings settings_;
  ServeOutput output_;
  Prompts prompts_;
  std::optional<comm::Membership> membership_;
  std::optional<comm::EnduringGroup> group_;
  std::optional<WholeModel> whole_;
  runtime::KeptLayers kept_;
  std::optional<runtime::Placement> plan_;
  std::optional<runtime::Crew> crew_;
};
}  // namespace

int serve_generate(Context& context) {
  comm::Group* const all = context.ranks;
  const int status = ServedGenerate(context).serve();
  context.ranks = all;
  return status;
}
}  // namespace switchyard::launch
