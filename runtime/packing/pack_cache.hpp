// SPDX-License-Identifier: Apache-2.0
#pragma once
/// @file
/// Packed experts in a folder, one file each, so that no rank count, placement or node shows in
/// them: who needs one maps it, or packs and writes it first. Ranks and jobs need not know of each
/// other: a file appears whole, and whoever comes second writes the same bytes.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "experts/kernels/aligned.hpp"
#include "experts/weights.hpp"
#include "runtime/packing/packed_file.hpp"

namespace switchyard::runtime {

class PackCache {
 public:
  /// Makes the folder if it is not there.
  /// @param note  told what was wrong with a file that is written anew
  /// @throws std::system_error  "--pack-cache: cannot make DIR: ..."
  PackCache(std::filesystem::path folder, std::function<void(const std::string&)> note);

  /// Which expert is asked for.
  struct Expert {
    experts::ExpertSpec spec;
    experts::DType stored = experts::DType::kFloat32;
    std::int64_t layer = 0;  ///< of its name only
    std::int64_t logical = 0;
  };
  /// The packed expert, checked; packed and written before if it is not there, damaged or of
  /// something else.
  /// @param source  with identities
  /// @param room    where to pack; grown as needed
  /// @throws std::system_error  the file can be neither read nor written; names it
  [[nodiscard]] MappedBlock get(const Expert& expert, experts::WeightSource& source,
                                experts::AlignedBuffer& room);
  /// One that a rank of this node has got before: only its header is checked.
  /// @throws std::system_error  it is no longer there
  [[nodiscard]] MappedBlock of_mate(const Expert& expert, experts::WeightSource& source) const;

  [[nodiscard]] std::int64_t read() const { return read_; }  ///< experts that get() found
  [[nodiscard]] std::int64_t written() const { return written_; }

 private:
  [[nodiscard]] std::filesystem::path file_of(const Expert& expert, const PackedLabel& label) const;

  std::filesystem::path folder_;
  std::function<void(const std::string&)> note_;
  std::int64_t read_ = 0;
  std::int64_t written_ = 0;
};
}  // namespace switchyard::runtime
