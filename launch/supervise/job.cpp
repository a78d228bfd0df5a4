// SPDX-License-Identifier: Apache-2.0
#include "launch/supervise/job.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <functional>
#include <optional>
#include <poll.h>
#include <random>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "launch/guarded_main.hpp"
#include "launch/supervise/leftovers.hpp"

namespace switchyard::launch {
namespace {
using Clock = std::chrono::steady_clock;

std::system_error failed(const char* what) {
  return {errno, std::generic_category(), what};
}

sigset_t supervised_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD}) sigaddset(&set, signal);
  return set;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> result;
  result.reserve(words.size() + 1);
  for (std::string& word : words) result.push_back(word.data());
  result.push_back(nullptr);
  return result;
}

/// mpirun in a process group of its own, which dies with this process.
pid_t start(const JobSettings& settings, int error_file) {
  std::vector<std::string> words = settings.words;
  std::vector<std::string> environment = settings.environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::string_view name = text.substr(0, text.find('=') + 1);
    const bool replaced = std::ranges::any_of(
        settings.environment, [name](const std::string& one) { return one.starts_with(name); });
    if (!replaced) environment.emplace_back(text);
  }
  const std::vector<char*> arguments = pointers(words);
  const std::vector<char*> variables = pointers(environment);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) throw failed("supervise: fork");
  if (child > 0) return child;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::setpgid(0, 0);
  const sigset_t set = supervised_signals();
  ::sigprocmask(SIG_UNBLOCK, &set, nullptr);
  const int nothing = ::open("/dev/null", O_RDONLY);
  ::dup2(nothing, STDIN_FILENO);
  if (settings.silent) ::dup2(::open("/dev/null", O_WRONLY), STDOUT_FILENO);
  ::dup2(error_file, STDERR_FILENO);
  if (::getppid() == parent) ::execvpe(arguments[0], arguments.data(), variables.data());
  ::_exit(127);
}

/// What the stream holds, a line at a time.
class Lines {
 public:
  explicit Lines(int file) : file_(file) {}
  /// @return  false: it has ended
  bool read(const std::function<void(const std::string&)>& each) {
    std::array<char, 8192> piece{};
    const ssize_t count = ::read(file_, piece.data(), piece.size());
    if (count < 0) return errno == EAGAIN || errno == EINTR;
    if (count == 0) {
      if (!held_.empty()) each(std::exchange(held_, {}));
      return false;
    }
    held_.append(piece.data(), static_cast<std::size_t>(count));
    for (std::size_t end = held_.find('\n'); end != std::string::npos; end = held_.find('\n')) {
      const std::string line = held_.substr(0, end);
      held_.erase(0, end + 1);
      each(line);
    }
    return true;
  }

 private:
  int file_;
  std::string held_;
};

/// "error: " and what is before it left out.
std::string without_prefix(const std::string& line) {
  constexpr std::string_view kMark = "switchyard: error: ";
  const std::size_t at = line.find(kMark);
  const std::string rank = line.substr(0, std::min(at, line.size()));
  if (at == std::string::npos) return line;
  // "[rank 2/4] " says who speaks, which is worth keeping.
  return (rank.starts_with("[rank ") ? rank : "") + line.substr(at + kMark.size());
}

std::string words_of(const Notice& notice, const std::string& place) {
  std::string words = "rank " + std::to_string(notice.rank);
  if (notice.signal > 0) {
    words += " was killed by signal " + std::to_string(notice.signal);
  } else if (notice.improper) {
    words += " ended without a word";
  } else {
    words += " left with status " + std::to_string(notice.status);
  }
  return words + (place.empty() ? "" : " in " + place);
}

bool in_a_step(const comm::WatchBoard& board, int ranks) {
  for (int rank = 0; rank < ranks; ++rank) {
    const comm::Slot& slot = board.slot(rank);
    if (slot.pid.load() != 0 && slot.step.load() >= 0) return true;
  }
  return false;
}

/// Whether all ranks have said that they are about to end as they should.
bool all_left(const comm::WatchBoard& board, int ranks) {
  for (int rank = 0; rank < ranks; ++rank) {
    const comm::Slot& slot = board.slot(rank);
    if (slot.pid.load() == 0 || slot.left.load() == 0) return false;
  }
  return true;
}

/// Threads of Open MPI 4.1's mpirun can wait for each other for ever when a rank dies or aborts.
/// Whoever has had children and has only dead ones will not come back; in a job that has failed,
/// whoever sleeps beside dead ones that it should have collected shows it sooner.
class LauncherCheck {
 public:
  /// @param pause  between two looks: cheap enough for many a second
  /// @return  true: it is to be killed
  bool hangs(pid_t launcher, bool failed, std::chrono::milliseconds pause) {
    const Clock::time_point now = Clock::now();
    if (now - looked_ < pause) return false;
    looked_ = now;
    const Children children = children_alive(launcher);
    had_children_ = had_children_ || children.all > 0;
    if (!had_children_ || children.alive > 0) {
      alone_ = asleep_ = 0;
      return false;
    }
    ++alone_;
    asleep_ = failed && children.all > 0 && sleeps(launcher) ? asleep_ + 1 : 0;
    return asleep_ > 8 || alone_ > 100;
  }
  /// Whether the last look found only dead children.
  [[nodiscard]] bool alone() const { return alone_ > 0; }

 private:
  bool had_children_ = false;
  Clock::time_point looked_;
  int alone_ = 0;   ///< looks in a row that found only dead ones
  int asleep_ = 0;  ///< looks in a row that found it asleep beside them
};

/// What happened, from what was said and from where the ranks were.
void explain(const Speech& speech, const comm::WatchBoard& board, const JobSettings& settings,
             JobResult& result) {
  for (int rank = 0; rank < settings.ranks; ++rank) {
    const comm::RankView view = comm::look(board, rank);
    if (!view.known) continue;
    result.started = true;
    result.step = std::max(result.step, view.at.step);
  }
  if (const auto& notice = speech.notice()) {
    result.rank = notice->rank;
    result.started = true;  // it may have died before it was on the board
    result.lost = notice->signal > 0 || notice->improper;
  }
  std::string place;
  if (result.rank >= 0 && result.rank < settings.ranks) {
    const comm::RankView view = comm::look(board, result.rank);
    if (view.known) {
      place = view.place();
      result.phase = view.phase;
      // Whatever status it chose: it left in the middle, and said nothing.
      result.lost = result.lost || (!view.left && speech.errors().empty());
    }
  }
  if (!speech.errors().empty()) {
    result.words = without_prefix(speech.errors().front());
  } else if (speech.notice()) {
    result.words = words_of(*speech.notice(), place);
  } else if (result.mpirun_status > 128) {
    result.started = true;
    result.words = "mpirun was killed by signal " + std::to_string(result.mpirun_status - 128);
  } else if (result.mpirun_status != 0) {
    result.words = "mpirun left with status " + std::to_string(result.mpirun_status);
  }
}
}  // namespace

SignalQueue::SignalQueue() {
  const sigset_t set = supervised_signals();
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  file_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (file_ < 0) throw failed("supervise: signalfd");
}

SignalQueue::~SignalQueue() {
  ::close(file_);
}

int SignalQueue::take() {
  signalfd_siginfo info{};
  return ::read(file_, &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
}

int SignalQueue::wait(double seconds) {
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  while (true) {
    for (int signal = take(); signal != 0; signal = take()) {
      if (signal != SIGCHLD) return signal;
    }
    const double left_ms = std::chrono::duration<double, std::milli>(end - Clock::now()).count();
    if (left_ms <= 0) return 0;
    pollfd file{.fd = file_, .events = POLLIN, .revents = 0};
    ::poll(&file, 1, static_cast<int>(left_ms) + 1);
  }
}

SharedBoard::SharedBoard(int ranks) : bytes_(comm::WatchBoard::bytes(ranks)) {
  file_ = ::memfd_create("switchyard-board", MFD_CLOEXEC);
  if (file_ < 0 || ::ftruncate(file_, bytes_) != 0) throw failed("supervise: memfd_create");
  void* const got = ::mmap(nullptr, static_cast<std::size_t>(bytes_), PROT_READ | PROT_WRITE,
                           MAP_SHARED, file_, 0);
  if (got == MAP_FAILED) throw failed("supervise: mmap");
  memory_ = static_cast<std::byte*>(got);
  std::random_device random;
  token_ = (std::uint64_t{random()} << 32U) | random() | 1U;
  board().head().token.store(token_);
}

SharedBoard::~SharedBoard() {
  ::munmap(memory_, static_cast<std::size_t>(bytes_));
  ::close(file_);
}

std::string SharedBoard::address() const {
  return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(file_) + ":" +
         std::to_string(token_);
}

JobResult run_job(const JobSettings& given, SignalQueue& signals) {
  const auto begin = Clock::now();
  const SharedBoard shared(given.ranks);
  JobSettings settings = given;
  settings.environment.push_back(std::string(kBoardVariable) + "=" + shared.address());
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) throw failed("supervise: pipe");
  ::fcntl(pipe[0], F_SETFL, O_NONBLOCK);
  const pid_t mpirun = start(settings, pipe[1]);
  ::close(pipe[1]);

  JobResult result;
  Speech speech;
  Lines lines(pipe[0]);
  const auto hear = [&](const std::string& line) {
    for (const std::string& out : speech.hear(line)) settings.say(out);
  };
  std::optional<Clock::time_point> asked_at;
  LauncherCheck launcher;
  bool killed = false;
  int state = 0;
  while (::waitpid(mpirun, &state, WNOHANG) != mpirun) {
    std::array<pollfd, 2> files{pollfd{.fd = pipe[0], .events = POLLIN, .revents = 0},
                                pollfd{.fd = signals.file(), .events = POLLIN, .revents = 0}};
    // Often until a step has begun, which is measured; then only when something happens.
    const bool ends = launcher.alone() || !speech.errors().empty();
    const std::chrono::milliseconds pause(ends ? 20 : 200);
    ::poll(files.data(), files.size(),
           result.first_step_s < 0 ? 5 : static_cast<int>(pause.count()));
    if (result.first_step_s < 0 && in_a_step(shared.board(), settings.ranks)) {
      result.first_step_s = std::chrono::duration<double>(Clock::now() - begin).count();
    }
    if (files[0].revents != 0 && !lines.read(hear)) {
      // All have closed it; mpirun itself is about to end.
      static_cast<void>(signals.wait(0.001));
    }
    for (int signal = signals.take(); signal != 0; signal = signals.take()) {
      if (signal == SIGCHLD) continue;
      result.asked = true;
      killed = asked_at.has_value() && signal != SIGUSR1;
      if (!asked_at) asked_at = Clock::now();
      ::kill(killed ? -mpirun : mpirun, killed ? SIGKILL : SIGUSR1);
    }
    if (!killed && launcher.hangs(mpirun, !all_left(shared.board(), settings.ranks), pause)) {
      killed = true;
      result.started = true;
      ::kill(-mpirun, SIGKILL);
    }
    const double lasted_s = std::chrono::duration<double>(Clock::now() - begin).count();
    if (!killed && settings.limit_s > 0 && lasted_s > settings.limit_s) {
      killed = result.late = true;
      ::kill(-mpirun, SIGKILL);
    }
    const auto grace = std::chrono::duration<double>(settings.grace_s);
    if (!killed && asked_at && Clock::now() - *asked_at > grace) {
      killed = true;
      ::kill(-mpirun, SIGKILL);
    }
  }
  end_descendants();
  while (lines.read(hear)) {
    pollfd file{.fd = pipe[0], .events = POLLIN, .revents = 0};
    if (::poll(&file, 1, 0) <= 0) break;
  }
  for (const std::string& out : speech.end()) settings.say(out);
  ::close(pipe[0]);
  result.mpirun_status = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
  explain(speech, shared.board(), settings, result);
  result.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return result;
}
}  // namespace switchyard::launch
