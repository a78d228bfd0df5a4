// SPDX-License-Identifier: Apache-2.0
#include "comm/watch/watch.hpp"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <span>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "comm/base/words.hpp"
#include "comm/group/collective.hpp"

namespace switchyard::comm {
namespace {
using std::chrono::milliseconds;
constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr int kTemporary = 75;
constexpr milliseconds kTick{50};
/// What counts between two ticks: while a rank is itself stopped, nobody else is to blame.
constexpr milliseconds kAway{250};
/// Between two looks at the ranks: who moves meanwhile is not stuck.
constexpr milliseconds kSecondLook{100};
/// For the others to say whom they wait for.
constexpr milliseconds kOthersSpeak{200};
/// When a launcher ends a job, all ranks die within this; then no mate has anything to report.
constexpr milliseconds kDyingTogether{40};
/// How long whoever has no word waits to be ended by the one who has.
constexpr milliseconds kOtherEndsIt{2000};

/// FNV-1a over what is the same on all ranks in the same place.
std::uint64_t hash_of(const Position& at) {
  std::uint64_t hash = 14695981039346656037ULL;
  const auto add = [&hash](std::uint64_t byte) { hash = (hash ^ byte) * 1099511628211ULL; };
  for (const std::int64_t value : {at.step, at.layer}) {
    for (int shift = 0; shift < 64; shift += 8) {
      add(static_cast<std::uint64_t>(value) >> shift & 255U);
    }
  }
  for (const char letter : at.phase) add(static_cast<unsigned char>(letter));
  return hash;
}

int open_process(std::int64_t pid) {
  return static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(pid), 0));
}

/// "/proc/17/fd/5:TOKEN": memory of a supervisor, null where it is not to be seen.
std::byte* map_given(const std::string& given, std::int64_t bytes) {
  const std::size_t colon = given.rfind(':');
  if (colon == std::string::npos) return nullptr;
  std::uint64_t token = 0;
  const char* const end = given.data() + given.size();
  if (std::from_chars(given.data() + colon + 1, end, token).ptr != end) return nullptr;
  const int file = ::open(given.substr(0, colon).c_str(), O_RDWR | O_CLOEXEC);
  if (file < 0) return nullptr;
  std::byte* memory = nullptr;
  if (::lseek(file, 0, SEEK_END) >= bytes) {
    void* const got = ::mmap(nullptr, static_cast<std::size_t>(bytes), PROT_READ | PROT_WRITE,
                             MAP_SHARED, file, 0);
    if (got != MAP_FAILED) memory = static_cast<std::byte*>(got);
  }
  ::close(file);
  if (memory != nullptr && WatchBoard(memory).head().token.load(kRelaxed) != token) {
    ::munmap(memory, static_cast<std::size_t>(bytes));
    memory = nullptr;
  }
  return memory;
}
}  // namespace

Watch::Watch(milliseconds limit, WatchVoice voice) : limit_(limit), voice_(std::move(voice)) {
  // Signals are for the rank's own thread.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Watch::~Watch() {
  if (sees_mates()) slot().left.store(1, std::memory_order_release);
  stop_.store(true, std::memory_order_release);
  thread_.join();
  for (const int mate : mates_) {
    if (mate >= 0) ::close(mate);
  }
  if (mapped_ != nullptr) ::munmap(mapped_, static_cast<std::size_t>(mapped_bytes_));
}

void Watch::join(Group& group, const std::string& given) {
  rank_ = group.rank();
  size_ = group.size();
  const std::int64_t bytes = WatchBoard::bytes(size_);
  std::byte* memory = given.empty() ? nullptr : map_given(given, bytes);
  const std::int32_t mine = memory != nullptr ? 1 : 0;
  bool all = true;
  for (const auto& rank : allgather_values<std::int32_t>(group, std::span(&mine, 1))) {
    all = all && rank[0] == 1;
  }
  if (memory != nullptr && all) {
    mapped_ = memory;
    mapped_bytes_ = bytes;
  } else {
    if (memory != nullptr) ::munmap(memory, static_cast<std::size_t>(bytes));
    if (size_ == 1) return;
    shared_ = group.share(bytes);
    const bool leads = group.nodes().mates_of(rank_).front() == rank_;
    if (leads) shared_->ensure(bytes);
    barrier(group);
    memory = shared_->of(0);
  }
  board_ = std::make_unique<WatchBoard>(memory);
  board_->head().ranks.store(size_, kRelaxed);
  Slot& own = slot();
  char state = '?';
  own.start.store(process_start(::getpid(), state), kRelaxed);
  own.heartbeat.store(steady_ns(), kRelaxed);
  own.waits_for.store(kNobody, kRelaxed);
  own.left.store(0, kRelaxed);
  own.told.store(0, kRelaxed);
  own.signal.store(0, kRelaxed);
  own.entered.store(0, kRelaxed);
  moved_on_board(group.deadline().position());
  own.pid.store(::getpid(), std::memory_order_release);
  barrier(group);
  std::vector<int> mates(static_cast<std::size_t>(size_), -1);
  for (const int mate : group.nodes().mates_of(rank_)) {
    if (mate == rank_) continue;
    mates[static_cast<std::size_t>(mate)] = open_process(board_->slot(mate).pid.load());
  }
  mates_ = std::move(mates);
  joined_.store(true, std::memory_order_release);
  group.deadline().observe(this);
  barrier(group);  // from here on all are numbered alike
}

void Watch::blocks(const char* phase, milliseconds least) {
  blocked_in_.store(phase, kRelaxed);
  blocked_limit_.store(std::max(limit_, least).count(), kRelaxed);
  if (sees_mates()) {
    // It waits, in MPI: whoever has not come is at work elsewhere.
    slot().waits_since.store(steady_ns(), kRelaxed);
    slot().waits_for.store(kSomebody, kRelaxed);
  }
  blocked_since_.store(steady_ns(), std::memory_order_release);
}

void Watch::flows() {
  blocked_since_.store(0, std::memory_order_release);
}

bool Watch::take_word() {
  if (!sees_mates()) return true;
  std::int32_t nobody = 0;
  return board_->head().reporter.compare_exchange_strong(nobody, rank_ + 1);
}

void Watch::moved_on_board(const Position& to) noexcept {
  Slot& own = slot();
  own.step.store(to.step, kRelaxed);
  own.layer.store(to.layer, kRelaxed);
  own.phase.set(to.phase);
  own.since.store(steady_ns(), kRelaxed);
}

void Watch::moved(const Position& to) {
  moved_on_board(to);
}

Attendance Watch::meets(const Position& at, const Meeting& meeting) {
  Slot& own = slot();
  const std::int64_t number = own.entered.load(kRelaxed);
  SharedMeeting& entry = own.meetings[static_cast<std::size_t>(number) % kMeetingsKept];
  entry.what.set(meeting.what);
  entry.channel.store(meeting.channel, kRelaxed);
  entry.round.store(meeting.round, kRelaxed);
  entry.where.store(hash_of(at), kRelaxed);
  own.entered.store(number + 1, std::memory_order_release);
  return Attendance::kEnter;
}

bool Watch::waits(int peer) noexcept {
  Slot& own = slot();
  const int before = own.waits_for.load(kRelaxed);
  if (before != peer) {
    if (before == kNobody) own.waits_since.store(steady_ns(), kRelaxed);
    own.waits_for.store(peer, kRelaxed);
  }
  return board_->head().called.load(kRelaxed) != 0;
}

void Watch::waited() noexcept {
  Slot& own = slot();
  own.since.store(steady_ns(), kRelaxed);
  own.waits_for.store(kNobody, kRelaxed);
}

void Watch::late() noexcept {
  if (!take_word()) return;
  before_ = look_at_all(*board_);
  std::this_thread::sleep_for(kSecondLook);
  now_ = look_at_all(*board_);
  first_called_ = true;
  board_->head().called.store(1, std::memory_order_release);
}

bool Watch::explain(const std::string& own_words) {
  if (!sees_mates()) return false;
  if (!first_called_) {
    // Somebody else has the word, and ends the job.
    voice_.line("waits: " + own_words);
    slot().told.store(1, std::memory_order_release);
    std::this_thread::sleep_for(kOtherEndsIt);
    return true;
  }
  voice_.line("waits: " + own_words);
  slot().told.store(1, std::memory_order_release);
  const auto all_told = [this] {
    return std::ranges::all_of(now_, [this](const RankView& view) {
      const bool mute = !view.known || view.left ||
                        std::string_view("RSD").find(view.state) == std::string_view::npos;
      return mute || board_->slot(view.rank).told.load(std::memory_order_acquire) != 0;
    });
  };
  const auto end = std::chrono::steady_clock::now() + kOthersSpeak;
  while (!all_told() && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(milliseconds(2));
  }
  for (const std::string& line : wait_matrix(now_)) voice_.line("hang: " + line);
  const Verdict verdict = judge(before_, now_, std::chrono::duration<double>(limit_).count());
  voice_.error("hang: " + verdict.words);
  return true;
}

std::string Watch::hint() const {
  if (!sees_mates()) return "";
  const Verdict verdict = judge_meetings(look_at_all(*board_));
  return verdict.ranks.empty() ? "" : "; " + verdict.words;
}

void Watch::run() {
  std::int64_t ticked = steady_ns();
  std::int64_t blocked = 0;  // nanoseconds that count
  while (!stop_.load(std::memory_order_acquire)) {
    if (sees_mates()) {
      tick();
      watch_mates();
    } else {
      std::this_thread::sleep_for(milliseconds(5));
    }
    const std::int64_t since = blocked_since_.load(std::memory_order_acquire);
    const std::int64_t now = steady_ns();
    const std::int64_t most = kAway.count() * 1'000'000;
    blocked = since == 0 ? 0 : blocked + std::min(now - std::max(ticked, since), most);
    ticked = now;
    if (since != 0 && blocked > blocked_limit_.load(kRelaxed) * 1'000'000) call_blocked();
  }
}

void Watch::tick() {
  Slot& own = slot();
  own.heartbeat.store(steady_ns(), kRelaxed);
  if (board_->head().called.load(std::memory_order_acquire) == 0) return;
  if (blocked_since_.load(kRelaxed) != 0) return tell_blocked();
  // Whoever waits says so itself; whoever is at work cannot.
  if (own.waits_for.load(kRelaxed) != kNobody || own.told.exchange(1) != 0) return;
  const RankView view = look(*board_, rank_);
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", view.since_s);
  voice_.line("waits: for nobody, at work for " + std::string(text) + " s in " + view.place());
}

void Watch::tell_blocked() {
  if (slot().told.exchange(1) != 0) return;
  voice_.line("waits: in " + std::string(blocked_in_.load()) + ", for all ranks");
}

void Watch::watch_mates() {
  std::vector<pollfd> files;
  std::vector<int> ranks;
  for (std::size_t mate = 0; mate < mates_.size(); ++mate) {
    if (mates_[mate] < 0) continue;
    files.push_back({.fd = mates_[mate], .events = POLLIN, .revents = 0});
    ranks.push_back(static_cast<int>(mate));
  }
  // Short while leaving, so that nobody waits for this thread.
  const auto pause = blocked_since_.load(kRelaxed) != 0 ? milliseconds(1) : kTick;
  if (::poll(files.data(), files.size(), static_cast<int>(pause.count())) <= 0) return;
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (files[i].revents == 0) continue;
    const int mate = ranks[i];
    ::close(files[i].fd);
    mates_[static_cast<std::size_t>(mate)] = -1;
    if (board_->slot(mate).left.load(std::memory_order_acquire) != 0) continue;
    std::this_thread::sleep_for(kDyingTogether);
    if (mates_may_end_.load(std::memory_order_acquire)) continue;
    if (!take_word()) {
      // Somebody else has the word, and ends the job; a launcher that hangs would not.
      std::this_thread::sleep_for(kOtherEndsIt);
      voice_.abort(kTemporary);
      continue;
    }
    const RankView view = look(*board_, mate);
    voice_.error("rank " + std::to_string(mate) + " died" +
                 (view.signal != 0 ? " of signal " + std::to_string(view.signal) : "") + " in " +
                 view.place());
    voice_.abort(kTemporary);
  }
}

void Watch::call_blocked() {
  if (sees_mates()) {
    late();
    if (first_called_) {
      static_cast<void>(explain("in " + std::string(blocked_in_.load()) + ", for all ranks"));
    } else {
      tell_blocked();
      std::this_thread::sleep_for(kOtherEndsIt);
    }
  } else {
    voice_.error(std::string(blocked_in_.load()) + ": MPI has not come back within " +
                 std::to_string(blocked_limit_.load()) + " ms: some rank has not come");
  }
  voice_.abort(kTemporary);
  std::_Exit(kTemporary);
}
}  // namespace switchyard::comm
