// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// How messages between ranks can fail, and the exit status that each failure stands for.
#include <stdexcept>
#include <string>

namespace switchyard::comm {

/// MPI itself returned an error; the group is unusable from here on. Status 70.
class MpiError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The peers do not keep to the protocol: a frame of another step, size or version. Status 70.
class ProtocolError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Something outside went wrong, and running it again may help: a hang, a lost peer. Status 75.
class TemporaryError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A wait took longer than its deadline: "30 s in combine, step 17, layer 0, waiting for rank 2".
class DeadlineError : public TemporaryError {
  using TemporaryError::TemporaryError;
};

/// Some ranks had a problem and all ranks throw this, with the same words and the same status.
class CollectiveError : public std::runtime_error {
 public:
  CollectiveError(int rank, int status, const std::string& message)
      : std::runtime_error(message), rank_(rank), status_(status) {}
  [[nodiscard]] int rank() const { return rank_; }      ///< lowest rank with a problem
  [[nodiscard]] int status() const { return status_; }  ///< exit status of its kind

 private:
  int rank_;
  int status_;
};
}  // namespace switchyard::comm
