// SPDX-License-Identifier: Apache-2.0
// Philox4x32-10 (Salmon et al. 2011) on many counters at once, written over the struct `Lanes` of
// the including file. A lane holds a word in its low 32 bits; what is above is never looked at.
namespace switchyard::experts::panel {
namespace {

void fill(const Uniform& u) {
  using Word = Lanes::Word;
  const Word multiplier0 = Lanes::set(0xd2511f53U);
  const Word multiplier1 = Lanes::set(0xcd9e8d57U);
  const auto blocks = static_cast<std::uint64_t>(u.blocks);
  for (std::uint64_t done = 0; done < blocks; done += Lanes::kBlocks) {
    const Word block = Lanes::count_from(u.block + done);
    // The block's bits 32 to 55 stand above the stream's 8.
    Word c0 = block;
    Word c1 = Lanes::set(u.layer);
    Word c2 = Lanes::set(u.id);
    Word c3 =
        Lanes::add(Lanes::multiply(Lanes::high(block), Lanes::set(256)), Lanes::set(u.stream));
    std::uint32_t key0 = u.key[0];
    std::uint32_t key1 = u.key[1];
    for (int round = 0; round < 10; ++round) {
      const Word product0 = Lanes::multiply(multiplier0, c0);
      const Word product1 = Lanes::multiply(multiplier1, c2);
      c0 = Lanes::exclusive_or(Lanes::high(product1), c1, Lanes::set(key0));
      c2 = Lanes::exclusive_or(Lanes::high(product0), c3, Lanes::set(key1));
      c1 = product1;
      c3 = product0;
      key0 += 0x9e3779b9U;
      key1 += 0xbb67ae85U;
    }
    float* out = u.out + 4 * done;
    if (blocks - done >= Lanes::kBlocks) {
      Lanes::store(c0, c1, c2, c3, 0x1p-23F, u.amplitude, out);
      continue;
    }
    float last[4 * Lanes::kBlocks];
    Lanes::store(c0, c1, c2, c3, 0x1p-23F, u.amplitude, last);
    __builtin_memcpy(out, last, 4 * (blocks - done) * sizeof(float));
  }
}
}  // namespace
}  // namespace switchyard::experts::panel
