// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Reads what a job says on stderr: keeps its errors, understands mpirun's notices, lets the rest
/// through. Pure: lines in, lines out.
#include <optional>
#include <string>
#include <vector>

namespace switchyard::launch {

/// Which rank mpirun saw end first, and how.
struct Notice {
  int rank = -1;
  int signal = 0;         ///< that killed it
  int status = -1;        ///< that it left with; -1: it did not
  bool improper = false;  ///< it left without MPI_Finalize
};

class Speech {
 public:
  /// One line without its end. @return  lines that are for the user, now
  [[nodiscard]] std::vector<std::string> hear(const std::string& line);
  /// What is left when the stream ends.
  [[nodiscard]] std::vector<std::string> end();

  /// "[rank 1/4] switchyard: error: ...", in the order in which they came.
  [[nodiscard]] const std::vector<std::string>& errors() const { return errors_; }
  [[nodiscard]] const std::optional<Notice>& notice() const { return notice_; }

 private:
  void understand(const std::string& text);

  bool in_block_ = false;
  std::vector<std::string> block_;  ///< between two rules of dashes
  std::vector<std::string> errors_;
  std::optional<Notice> notice_;
};
}  // namespace switchyard::launch
