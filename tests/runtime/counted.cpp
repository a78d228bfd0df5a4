// SPDX-License-Identifier: Apache-2.0
#include "tests/runtime/counted.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <execinfo.h>
#include <new>
#include <pthread.h>
#include <sstream>

namespace switchyard::tests {

Counters& counters() {
  static Counters all;
  return all;
}

void Counters::start() {
  allocations = locks = protobufs = 0;
  kept_ = 0;
  on = true;
}

void Counters::count(std::atomic<std::int64_t>& what) {
  if (!on.load(std::memory_order_relaxed)) return;
  ++what;
  int slot = kept_.load();
  if (&what == &locks && !locks_matter) return;
  if (slot >= kKept || !kept_.compare_exchange_strong(slot, slot + 1)) return;
  on = false;  // what backtrace itself needs is not ours
  ::backtrace(stacks_[static_cast<std::size_t>(slot)].data(), kFrames);
  on = true;
}

std::string Counters::who() {
  on = false;
  std::ostringstream words;
  for (int i = 0; i < kept_; ++i) {
    const auto& stack = stacks_[static_cast<std::size_t>(i)];
    const int frames = static_cast<int>(std::ranges::find(stack, nullptr) - stack.begin());
    char** const names = ::backtrace_symbols(stack.data(), frames);
    words << "\nfrom\n";
    for (int f = 2; f < frames && names != nullptr; ++f) {
      const std::string name = names[f];
      if (name.find("testing") != std::string::npos) break;
      words << "  " << name << '\n';
    }
    std::free(names);
  }
  return words.str();
}

namespace {
void* allocate(std::size_t bytes, std::size_t align) {
  counters().count(counters().allocations);
  void* memory = nullptr;
  if (::posix_memalign(&memory, std::max(align, sizeof(void*)), std::max<std::size_t>(bytes, 1)) !=
      0) {
    throw std::bad_alloc();
  }
  return memory;
}
}  // namespace
}  // namespace switchyard::tests

void* operator new(std::size_t bytes) {
  return switchyard::tests::allocate(bytes, alignof(std::max_align_t));
}
void* operator new(std::size_t bytes, std::align_val_t align) {
  return switchyard::tests::allocate(bytes, static_cast<std::size_t>(align));
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

// NOLINTBEGIN(bugprone-reserved-identifier): the linker's names for --wrap
extern "C" {
int __real_pthread_mutex_lock(pthread_mutex_t* mutex);
int __wrap_pthread_mutex_lock(pthread_mutex_t* mutex) {
  auto& all = switchyard::tests::counters();
  all.count(all.locks);
  return __real_pthread_mutex_lock(mutex);
}
void* __real_aligned_alloc(std::size_t align, std::size_t bytes);
void* __wrap_aligned_alloc(std::size_t align, std::size_t bytes) {
  auto& all = switchyard::tests::counters();
  all.count(all.allocations);
  return __real_aligned_alloc(align, bytes);
}
void* __real_memalign(std::size_t align, std::size_t bytes);
void* __wrap_memalign(std::size_t align, std::size_t bytes) {
  auto& all = switchyard::tests::counters();
  all.count(all.allocations);
  return __real_memalign(align, bytes);
}
// google::protobuf::MessageLite: bool ParseFromArray(const void*, int).
bool __real__ZN6google8protobuf11MessageLite14ParseFromArrayEPKvi(void* self, const void* data,
                                                                  int size);
bool __wrap__ZN6google8protobuf11MessageLite14ParseFromArrayEPKvi(void* self, const void* data,
                                                                  int size) {
  auto& all = switchyard::tests::counters();
  all.count(all.protobufs);
  return __real__ZN6google8protobuf11MessageLite14ParseFromArrayEPKvi(self, data, size);
}
}
// NOLINTEND(bugprone-reserved-identifier)
