# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034  # the arrays are used by whoever sources this
# Sourced by quickstart and check: packages, quiet steps, root's consent to mpirun. Needs bash.

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "error: $*"
  exit 1
}

# What this process may run on; nproc itself would take OMP_NUM_THREADS for an answer.
cores() { env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc; }

# The Debian packages that a build needs; `check` adds its own.
build_packages=(g++ cmake ninja-build pkg-config libopenmpi-dev openmpi-bin libopenblas-dev
  libprotobuf-dev protobuf-compiler libboost-program-options-dev libgtest-dev libgmock-dev
  nlohmann-json3-dev libssl-dev libicu-dev zlib1g-dev)

# missing_packages NAME...: those that dpkg does not have in full.
missing_packages() {
  local name
  for name in "$@"; do
    dpkg-query --show --showformat='${Status}\n' "$name" 2>/dev/null |
      grep -q 'install ok installed' || printf '%s\n' "$name"
  done
}

# install_packages NAME...: nothing when all are there; elsewhere than Debian, says what is needed.
install_packages() {
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    say "not a Debian or Ubuntu system: expecting your own packages for: $*"
    return 0
  fi
  local missing=() as_root=()
  mapfile -t missing < <(missing_packages "$@")
  ((${#missing[@]} > 0)) || return 0
  if ((EUID != 0)); then
    command -v sudo >/dev/null || fail "needs root or sudo to install: ${missing[*]}"
    as_root=(sudo)
  fi
  say "installing with apt-get: ${missing[*]}"
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq)
  quietly install-packages install_now "${missing[@]}"
}

install_now() {
  "${apt[@]}" update || { sleep 5 && "${apt[@]}" update; }
  "${apt[@]}" install --no-install-recommends -y "$@"
}

# quietly NAME COMMAND...: its output goes to build/log/NAME.log, and is shown if it fails.
quietly() {
  local log=build/log/$1.log
  shift
  mkdir -p build/log
  "$@" >"$log" 2>&1 && return 0
  local status=$?
  cat "$log" >&2
  say "failed: $*"
  say "log: $log"
  return "$status"
}

# configure_preset NAME: into build/NAME, with ccache if there is one.
configure_preset() {
  local cache=(-UCMAKE_CXX_COMPILER_LAUNCHER) # one that went since
  command -v ccache >/dev/null && cache=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  quietly "configure-$1" cmake --preset "$1" "${cache[@]}"
}

# build_preset NAME [TARGET...]: with all cores.
build_preset() {
  local preset=$1
  shift
  quietly "build-$preset" cmake --build "build/$preset" --parallel "$(cores)" ${1:+--target "$@"}
}

# mpirun refuses root unless told twice; in a container root is all there is.
allow_root() {
  ((EUID == 0)) || return 0
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  say "you are root: OMPI_ALLOW_RUN_AS_ROOT and OMPI_ALLOW_RUN_AS_ROOT_CONFIRM are set for mpirun"
}
