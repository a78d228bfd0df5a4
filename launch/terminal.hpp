// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// The two ways out of the program: messages on stderr and results on stdout.
#include <array>
#include <ostream>
#include <streambuf>
#include <string>
#include <string_view>

namespace switchyard::launch {

/// Messages for people: one write(2) a line, the rank in front. Cannot fail.
class Reporter {
 public:
  Reporter() = default;  ///< no bracket: without MPI
  Reporter(int rank, int size)
      : prefix_("[rank " + std::to_string(rank) + "/" + std::to_string(size) + "] ") {}

  void line(std::string_view text) const;     ///< "[rank 1/4] TEXT"
  void warning(std::string_view text) const;  ///< "[rank 1/4] switchyard: warning: TEXT"
  void error(std::string_view text) const;    ///< "[rank 1/4] switchyard: error: TEXT"

 private:
  std::string prefix_;
};

/// Results, to a file descriptor. Remembers the first failure with its errno, which std::cout does
/// not.
class Results final : public std::ostream {
 public:
  /// @param descriptor  -1: what is written goes nowhere
  explicit Results(int descriptor);
  /// Writes what is left. @throws std::system_error  "stdout: No space left on device"
  void finish();

 private:
  class Buffer final : public std::streambuf {
   public:
    explicit Buffer(int descriptor);
    [[nodiscard]] int error() const { return error_; }

   protected:
    int_type overflow(int_type letter) override;
    int sync() override;

   private:
    int descriptor_;
    int error_ = 0;
    std::array<char, 8192> held_{};
  };
  Buffer buffer_;
};

/// Writes all of it, however many calls that takes. Returns 0 or errno.
[[nodiscard]] int write_all(int descriptor, std::string_view text);

/// Makes sure that descriptors 0 to 2 are taken, so that no file of ours becomes stdout by
/// accident, and that a closed pipe and a file beyond its limit are errors of write(2) and no
/// signals.
void prepare_descriptors();
}  // namespace switchyard::launch
