// SPDX-License-Identifier: Apache-2.0
#include "launch/stop_signal.hpp"

#include <csignal>

namespace switchyard::launch {
namespace {
/// A handler reaches nothing but globals.
volatile std::sig_atomic_t stop_came = 0;

extern "C" void remember_stop(int /*signal*/) {
  stop_came = 1;
}

void handle(int signal, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;  // nobody's write is cut short
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
}
}  // namespace

StopSignal::StopSignal() {
  stop_came = 0;
  handle(SIGTERM, remember_stop);
  handle(SIGUSR1, remember_stop);
}

StopSignal::~StopSignal() {
  handle(SIGTERM, SIG_DFL);
  handle(SIGUSR1, SIG_DFL);
}

bool StopSignal::came() const {
  return stop_came != 0;
}
}  // namespace switchyard::launch
