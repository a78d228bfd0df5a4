#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# F5 on the real kernel: strace makes the nth system call of a save fail, for every n that there is.
# Whatever fails, what was saved stays good, a save says in a line that it failed, and the next run
# saves. Not a test: takes minutes.
# usage: strace_calls.sh PROGRAM        (build/release/tests/faults_save_steps)
set -euo pipefail
program=$1
command -v strace >/dev/null || { echo "SKIPPED: strace is not there"; exit 77; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cases=0 failed=0 noticed=0

complain() { echo "$1: $2"; failed=$((failed + 1)); }

try() {  # call error nth: returns 1 when the call was not made that often
  local call=$1 error=$2 nth=$3 said status=0
  rm -rf "$folder/c"
  "$program" "$folder/c" save >/dev/null
  said=$(timeout 20 strace -f -qq -o "$folder/trace" -e trace="$call" -e inject="$call:error=$error:when=$nth" \
    "$program" "$folder/c" save 2>&1) || status=$?
  grep -q INJECTED "$folder/trace" || return 1
  cases=$((cases + 1))
  ((status == 0 || status == 74)) || complain "$call $error $nth" "status $status: $said"
  ((status == 0)) && [[ $said != *"not saved"* ]] || noticed=$((noticed + 1))
  if [[ $error == EINTR && ($status != 0 || $said == *"not saved"*) ]]; then
    complain "$call $error $nth" "an interruption was noticed: $said"
  fi
  "$program" "$folder/c" verify >/dev/null || complain "$call $error $nth" "what was saved is not good: $said"
  "$program" "$folder/c" save >"$folder/after" || complain "$call $error $nth" "the next run failed: $(cat "$folder/after")"
  grep -q "not saved" "$folder/after" && complain "$call $error $nth" "the next save failed"
  [[ -z $(ls -A "$folder/c" | grep '^\.') ]] || complain "$call $error $nth" "left behind: $(ls -A "$folder/c")"
}

for call in pwrite64 fsync fallocate rename mkdir unlink rmdir statfs flock; do
  for error in ENOSPC EIO EDQUOT EROFS EINTR; do
    for nth in {1..60}; do try $call $error "$nth" || break; done
  done
done
echo "strace_calls: $cases failures of system calls, $noticed of them noticed; $failed failed"
((failed == 0))
