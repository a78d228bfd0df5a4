// SPDX-License-Identifier: Apache-2.0
// The softmax of a row without its division. Part c of the sum, c in [0, 16), adds the elements
// c, c + 16, ...; the parts are added in order, so all instruction sets give the same bits.
namespace switchyard::experts::panel {
namespace {

constexpr std::int64_t kSumParts = 16;
constexpr std::int64_t kPartVectors = kSumParts / Simd::kLanes;

void exponentials(float* values, std::int64_t count, float* most, float* sum) {
  Float largest[kPartVectors];
  Float sums[kPartVectors];
  for (Float& each : largest) each = Simd::set(*most);
  for (Float& each : sums) each = Simd::set(0.0F);
  for (std::int64_t i = 0; i < count; i += kSumParts) {
    for (std::int64_t v = 0; v < kPartVectors; ++v) {
      largest[v] = Simd::max(largest[v], Simd::load_unaligned(values + i + v * Simd::kLanes));
    }
  }
  alignas(64) float parts[kSumParts];
  for (std::int64_t v = 0; v < kPartVectors; ++v) Simd::store(parts + v * Simd::kLanes, largest[v]);
  for (const float part : parts) *most = part > *most ? part : *most;
  const Float offset = Simd::set(*most);
  for (std::int64_t i = 0; i < count; i += kSumParts) {
    for (std::int64_t v = 0; v < kPartVectors; ++v) {
      float* const at = values + i + v * Simd::kLanes;
      const Float power = simd_exp(Simd::sub(Simd::load_unaligned(at), offset));
      Simd::store_unaligned(at, power);
      sums[v] = Simd::add(sums[v], power);
    }
  }
  for (std::int64_t v = 0; v < kPartVectors; ++v) Simd::store(parts + v * Simd::kLanes, sums[v]);
  for (const float part : parts) *sum += part;
}
}  // namespace
}  // namespace switchyard::experts::panel
