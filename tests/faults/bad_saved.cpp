// SPDX-License-Identifier: Apache-2.0
// Bad inputs 52 to 75: folders of saved steps. And what other tests prove.
#include "tests/faults/bad_inputs.hpp"

namespace switchyard::tests {

std::vector<BadCase> bad_saved() {
  return {};
}

std::vector<Elsewhere> proved_elsewhere() {
  std::vector<Elsewhere> all{
      {17, "learning rate: comes with training"},
      {34, "root without its opt-in: Doctor.EveryFaultIsNamedWithItsRemedy"},
      {35, "mpirun missing: tests of `supervise`"},
      {36, "np 0 or no number: tests of `supervise`"},
      {47, "NaN in gradients: comes with training"},
      {48, "more than 2^31 elements: comm.large, comm.big_counts"},
      {49, "broken wire header: Frame.EveryFlippedBitIsRefused, fuzz.replay"},
      {50, "message of an old epoch: Frame, tests of `--serve`"},
      {51, "dataset: comes with training"},
  };
  for (int number = 52; number <= 75; ++number) all.push_back({number, "store_test"});
  return all;
}
}  // namespace switchyard::tests
