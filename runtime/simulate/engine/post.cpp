// SPDX-License-Identifier: Apache-2.0
#include "runtime/simulate/engine/post.hpp"

#include <algorithm>
#include <cstring>
#include <deque>
#include <simgrid/kernel/resource/Action.hpp>
#include <simgrid/s4u.hpp>
#include <smpi/smpi.h>
#include <utility>

#include "comm/base/hollow.hpp"

namespace switchyard::runtime {
namespace {
namespace s4u = simgrid::s4u;
using simgrid::kernel::resource::Action;

// Longer than anything a rank without messages can be waiting for: only a planned hang does.
constexpr double kIdle = 1e-3;

double now() {
  return s4u::Engine::get_clock();
}
}  // namespace

struct Part {
  Part* next = nullptr;      ///< in its queue
  Part* together = nullptr;  ///< in its bundle, of one that is sent
  Part* match = nullptr;     ///< the other end, once both are known
  Bundle* bundle = nullptr;  ///< of one that is sent, until it has arrived
  void* memory = nullptr;
  std::int64_t bytes = 0;
  Address peer;
  bool sends = false;
  bool through = false;           ///< for who holds it
  bool arrived = false;           ///< of one that is sent: its flow is through
  bool taken = false;             ///< of one that is sent: its sender knows that it is through
  std::vector<std::byte> kept{};  ///< contents, where nobody has asked for them yet
};

struct Bundle {
  int from = 0;
  int to = 0;
  Part* first = nullptr;
  Part* last = nullptr;
  std::int64_t bytes = 0;
  bool sealed = false;  ///< nothing more goes in
  bool begun = false;
  double begin_s = 0;
  Causes::Link cause;  ///< of its beginning
  s4u::CommPtr flow;
};

struct Post::Store {
  std::deque<Part> parts;
  std::vector<Part*> spare_parts;
  std::deque<Bundle> bundles;
  std::vector<Bundle*> spare_bundles;
  std::vector<Bundle*> ended;  ///< SimGrid still looks at their flows when they end
  std::unordered_map<const simgrid::kernel::activity::ActivityImpl*, Bundle*> under_way;
};

Post::Post(const Machine& machine, const std::vector<s4u::Host*>& hosts)
    : machine_(machine), hosts_(hosts), desks_(hosts.size()), store_(std::make_unique<Store>()) {
  // Called by SimGrid's own context, between two turns of the ranks.
  s4u::Link::on_communication_state_change_cb(
      [this](simgrid::kernel::resource::NetworkAction& action, Action::State) {
        // Its class is not in the installed headers; it derives from this one and nothing else.
        const auto& flow = reinterpret_cast<const Action&>(action);
        if (flow.get_state() != Action::State::FINISHED) return;
        const auto found = store_->under_way.find(flow.get_activity());
        if (found == store_->under_way.end()) return;
        Bundle& bundle = *found->second;
        store_->under_way.erase(found);
        arrive(bundle);
      });
}

Post::~Post() = default;

Part* Post::make_part() {
  if (store_->spare_parts.empty()) return &store_->parts.emplace_back();
  Part* const part = store_->spare_parts.back();
  store_->spare_parts.pop_back();
  *part = Part{};
  return part;
}

void Post::free_part(Part* part) {
  part->kept = {};
  store_->spare_parts.push_back(part);
}

Bundle* Post::make_bundle(int from, int to) {
  for (Bundle* const bundle : store_->ended) {
    bundle->flow.reset();
    store_->spare_bundles.push_back(bundle);
  }
  store_->ended.clear();
  Bundle* bundle = nullptr;
  if (store_->spare_bundles.empty()) {
    bundle = &store_->bundles.emplace_back();
  } else {
    bundle = store_->spare_bundles.back();
    store_->spare_bundles.pop_back();
  }
  *bundle = Bundle{};
  bundle->from = from;
  bundle->to = to;
  return bundle;
}

void Post::start_if_ready(Bundle& bundle, const Desk& by) {
  if (!bundle.sealed || bundle.begun || bundle.first->match == nullptr) return;
  bundle.begun = true;
  bundle.begin_s = now();
  bundle.cause = by.cause_;
  ++flows_;
  bundle.flow = s4u::Comm::sendto_init(hosts_[static_cast<std::size_t>(bundle.from)],
                                       hosts_[static_cast<std::size_t>(bundle.to)]);
  bundle.flow->set_payload_size(
      static_cast<std::uint64_t>(std::max<std::int64_t>(bundle.bytes, 1)));
  bundle.flow->start();
  store_->under_way.emplace(bundle.flow->get_impl(), &bundle);
}

void Post::deliver(const Part& sent, Part& wanted) {
  wanted.through = true;
  const bool fits = sent.bytes <= wanted.bytes;
  wanted.arrived = fits;
  wanted.bytes = sent.bytes;
  if (!fits || comm::is_hollow(wanted.memory) || sent.bytes == 0) return;
  const void* const from = sent.kept.empty() ? sent.memory : sent.kept.data();
  if (!comm::is_hollow(from)) {
    std::memcpy(wanted.memory, from, static_cast<std::size_t>(sent.bytes));
  }
}

void Post::arrive(Bundle& bundle) {
  Part* after = nullptr;
  for (Part* part = bundle.first; part != nullptr; part = after) {
    after = part->together;
    part->through = true;
    part->arrived = true;
    part->bundle = nullptr;
    if (part->match != nullptr) {
      deliver(*part, *part->match);
      part->match = nullptr;
      part->kept = {};
      part->taken = true;  // from here on its sender's alone
    } else if (!comm::is_hollow(part->memory) && part->bytes > 0) {
      const auto* const contents = static_cast<const std::byte*>(part->memory);
      part->kept.assign(contents, contents + part->bytes);
    }
  }
  desks_[static_cast<std::size_t>(bundle.from)]->wake(bundle);
  desks_[static_cast<std::size_t>(bundle.to)]->wake(bundle);
  bundle.cause = {};
  store_->ended.push_back(&bundle);
}

Desk::Desk(Post& post, int rank) : post_(post), rank_(rank), actor_(s4u::Actor::self()) {
  post.desks_[static_cast<std::size_t>(rank)] = this;
}

void Desk::leave() {
  seal();
  if (now() < post_.last_s_) return;
  post_.last_s_ = now();
  post_.last_cause_ = cause_;
}

Desk* Desk::mine() {
  if (!s4u::Engine::has_instance() || s4u::this_actor::get_pid() == 0) return nullptr;
  return static_cast<Desk*>(smpi_process_get_user_data());
}

Desk::Queue& Desk::queue(const Address& from) {
  return queues_[static_cast<std::uint64_t>(from.group) << 52 |
                 static_cast<std::uint64_t>(static_cast<std::uint32_t>(from.tag)) << 20 |
                 static_cast<std::uint64_t>(from.peer)];
}

void Desk::pay(int peer) {
  const Tier tier = std::min(post_.machine_.tier_of(rank_, peer), Tier::kRack);
  pass(post_.machine_.cost(tier).message_s, Cause::Kind::kMessages);
}

void Desk::pass(double seconds, Cause::Kind kind) {
  if (seconds <= 0) return;
  if (kind == Cause::Kind::kBusy) seal();
  const double begin = now();
  s4u::this_actor::sleep_for(seconds);
  cause_ = post_.causes_.after(
      cause_, {.kind = kind, .rank = rank_, .phase = phase_, .begin_s = begin, .end_s = now()});
}

Part* Desk::send(const void* memory, std::int64_t bytes, const Address& to) {
  const bool follows = writing_ != nullptr && writing_->to == to.peer &&
                       writing_->last->peer.tag == to.tag && writing_->last->peer.group == to.group;
  if (!follows) seal();
  pay(to.peer);
  Part* const part = post_.make_part();
  part->sends = true;
  part->memory = const_cast<void*>(memory);
  part->bytes = bytes;
  part->peer = to;
  if (writing_ == nullptr) writing_ = post_.make_bundle(rank_, to.peer);
  part->bundle = writing_;
  (writing_->first == nullptr ? writing_->first : writing_->last->together) = part;
  writing_->last = part;
  writing_->bytes += bytes;
  Queue& asked = post_.desks_[static_cast<std::size_t>(to.peer)]->queue(
      {.peer = rank_, .tag = to.tag, .group = to.group});
  if (asked.first != nullptr && !asked.first->sends) {
    part->match = std::exchange(asked.first, asked.first->next);
  } else {
    (asked.first == nullptr ? asked.first : asked.last->next) = part;
    asked.last = part;
  }
  ++open_;
  moved_ = true;
  return part;
}

Part* Desk::receive(void* memory, std::int64_t bytes, const Address& from) {
  Part* const part = post_.make_part();
  part->memory = memory;
  part->bytes = bytes;
  part->peer = from;
  Queue& sent = queue(from);
  if (sent.first != nullptr && sent.first->sends) {
    Part* const other = std::exchange(sent.first, sent.first->next);
    other->next = nullptr;
    if (other->arrived) {
      post_.deliver(*other, *part);
      if (other->taken) {
        post_.free_part(other);
      } else {
        other->taken = true;
      }
    } else {
      other->match = part;
      post_.start_if_ready(*other->bundle, *this);
    }
  } else {
    (sent.first == nullptr ? sent.first : sent.last->next) = part;
    sent.last = part;
  }
  ++open_;
  moved_ = true;
  return part;
}

std::int64_t Desk::first_unasked(const Address& from) {
  const Queue& sent = queue(from);
  return sent.first != nullptr && sent.first->sends ? sent.first->bytes : -1;
}

Desk::Through Desk::test(Part* part) {
  if (!part->through) return {};
  moved_ = true;
  --open_;
  const Through result{.yes = true,
                       .truncated = !part->sends && !part->arrived,
                       .from = part->peer,
                       .bytes = part->bytes};
  if (!part->sends) {
    post_.free_part(part);
    seal();
    pay(result.from.peer);
  } else if (part->taken) {
    post_.free_part(part);
  } else {
    part->taken = true;  // freed once somebody has asked for it
  }
  return result;
}

void Desk::seal() {
  if (writing_ == nullptr) return;
  Bundle& bundle = *std::exchange(writing_, nullptr);
  bundle.sealed = true;
  post_.start_if_ready(bundle, *this);
}

void Desk::wake(Bundle& by) {
  awake_ = true;
  if (!asleep_) return;
  asleep_ = false;
  cause_ = post_.causes_.after(by.cause, {.kind = Cause::Kind::kFlow,
                                          .rank = by.to,
                                          .from = by.from,
                                          .phase = phase_,
                                          .begin_s = by.begin_s,
                                          .end_s = now()});
  actor_->resume();
}

void Desk::sleep() {
  seal();
  if (std::exchange(moved_, false)) return;
  if (std::exchange(awake_, false)) return;
  if (open_ == 0) {
    s4u::this_actor::sleep_for(kIdle);
    return;
  }
  asleep_ = true;
  s4u::this_actor::suspend();
  awake_ = false;
}
}  // namespace switchyard::runtime
