// SPDX-License-Identifier: Apache-2.0
#include "launch/study/folder.hpp"

#include <cerrno>
#include <fcntl.h>
#include <sstream>
#include <stdexcept>
#include <sys/file.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "comm/base/error.hpp"
#include "launch/terminal.hpp"
#include "runtime/report/whole_file.hpp"
#include "runtime/text_proto.hpp"

namespace switchyard::launch {
namespace {
using Json = nlohmann::ordered_json;
constexpr int kFormat = 1;
constexpr const char* kLines = "points.jsonl";

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), "study: cannot " + what);
}

int open_file(const std::string& path, int flags) {
  const int file = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
  if (file < 0) fail("write " + path);
  return file;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

/// The first lines in which two identities differ, "nothing" where one has ended.
std::pair<std::string, std::string> first_difference(const std::string& there,
                                                     const std::string& here) {
  const auto old_lines = lines_of(there);
  const auto new_lines = lines_of(here);
  for (std::size_t i = 0; i < std::max(old_lines.size(), new_lines.size()); ++i) {
    const std::string before = i < old_lines.size() ? old_lines[i] : "nothing";
    const std::string now = i < new_lines.size() ? new_lines[i] : "nothing";
    if (before != now) return {before, now};
  }
  return {};
}

Json to_line(const FinishedStart& start) {
  return {{"point", start.point},     {"repetition", start.repetition}, {"status", start.status},
          {"message", start.message}, {"wall_s", start.wall_s},         {"result", start.result}};
}

FinishedStart start_from(const Json& line) {
  return {.point = line.at("point").get<std::string>(),
          .repetition = line.at("repetition").get<int>(),
          .status = line.at("status").get<int>(),
          .message = line.at("message").get<std::string>(),
          .wall_s = line.at("wall_s").get<double>(),
          .result = line.at("result")};
}

std::string owner_of(int lock) {
  char text[32] = {};
  const ssize_t got = ::pread(lock, text, sizeof text - 1, 0);
  return got > 0 ? "process " + std::string(text, static_cast<std::size_t>(got))
                 : "another process";
}
}  // namespace

StudyFolder::StudyFolder(const std::filesystem::path& folder, const std::string& identity)
    : folder_(folder) {
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error) throw std::system_error(error, "study: cannot make " + folder_.string());
  lock_ = open_file(path("lock"), O_RDWR | O_CREAT);
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    const std::string owner = owner_of(lock_);
    ::close(lock_);
    throw comm::TemporaryError("study: " + folder_.string() + " is in use by " + owner +
                               ", want it to end first, or another folder");
  }
  try {
    const std::string pid = std::to_string(::getpid());
    if (::ftruncate(lock_, 0) != 0 || ::pwrite(lock_, pid.data(), pid.size(), 0) < 0) {
      fail("write " + path("lock"));
    }
    file_ = open_file(path(kLines), O_RDWR | O_CREAT | O_APPEND);
    read(identity);
  } catch (...) {
    if (file_ >= 0) ::close(file_);
    ::close(lock_);
    throw;
  }
}

StudyFolder::~StudyFolder() {
  ::close(file_);
  ::close(lock_);  // which frees it
}

void StudyFolder::read(const std::string& identity) {
  const std::string name = path(kLines);
  const std::string text = runtime::read_text(name);
  const std::size_t whole = text.rfind('\n') + 1;  // 0 if there is none
  if (whole < text.size() && ::ftruncate(file_, static_cast<off_t>(whole)) != 0) {
    fail("mend " + name);
  }
  const auto lines = lines_of(text.substr(0, whole));
  if (lines.empty()) {
    append({{"format", kFormat}, {"study", identity}});
    return;
  }
  for (std::size_t i = 0; i < lines.size(); ++i) {
    try {
      const Json line = Json::parse(lines[i]);
      if (i > 0) {
        finished_.push_back(start_from(line));
        continue;
      }
      if (line.at("format").get<int>() > kFormat) {
        throw std::invalid_argument(
            "study: " + name + ": format: got " + std::to_string(line.at("format").get<int>()) +
            ", want at most " + std::to_string(kFormat) + ": it was written by a newer switchyard");
      }
      const auto [there, here] = first_difference(line.at("study").get<std::string>(), identity);
      if (there == here) continue;
      throw std::invalid_argument("study: " + folder_.string() + " has another study: there " +
                                  there + ", here " + here +
                                  ", want the same options and files, or another folder");
    } catch (const Json::exception&) {
      throw std::invalid_argument("study: " + name + ":" + std::to_string(i + 1) +
                                  ": got no line of a study, want it mended or taken out");
    }
  }
}

void StudyFolder::append(const Json& line) {
  const std::string text = line.dump() + "\n";
  errno = write_all(file_, text);
  if (errno != 0 || ::fdatasync(file_) != 0) fail("write " + path(kLines));
}

void StudyFolder::add(FinishedStart start) {
  append(to_line(start));
  finished_.push_back(std::move(start));
}

void StudyFolder::write(const std::string& name, const std::string& text) const {
  runtime::WholeFile file("study", path(name));
  file.write(std::as_bytes(std::span(text)));
  file.commit();
}
}  // namespace switchyard::launch
