#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Law 11, no state without an owner: the libraries of comm, experts and runtime hold no writable data.
# Exempt: vtables and typeinfo (constant after loading), the guard object of <iostream>, and the code
# that protoc generates.
# usage: no_state.sh LIBRARY...
set -euo pipefail
found=$(for library in "$@"; do
  nm -C --defined-only "$library" 2>/dev/null |
    awk '/^[^ ]+\.o:$/ { object = $0 } / [BbCDdGgSs] / && object !~ /\.pb\.cc\.o:$/ { print object, $0 }'
done | grep -vE ' (vtable|typeinfo)( name)? for | std::__ioinit$' || true)
symbols=$(nm --defined-only "$@" 2>/dev/null | grep -c ' T ')
((symbols > 100)) || { echo "no_state: only $symbols functions in $*, want the three libraries"; exit 1; }
[[ -z $found ]] && { echo "no writable data among $symbols functions"; exit 0; }
echo "writable data without an owner:"
echo "$found"
exit 1
