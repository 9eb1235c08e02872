#!/bin/sh
# pythons.sh PYTHON...: the tests of the call and of the threads under each of these interpreters, in environments of their own.
set -eu
[ $# -gt 0 ] || { echo "say which: make test-pythons PYTHONS='python3.12 python3.13'" >&2; exit 1; }
place="$(mktemp -d)"
trap 'rm -rf "$place"' EXIT
for python in "$@"; do
    name="$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
    "$python" -m venv "$place/$name"
    "$place/$name/bin/python" -m pip install --quiet --disable-pip-version-check -e ".[test]"
    echo "$("$python" -V)"
    "$place/$name/bin/python" -m pytest -q -p no:cacheprovider tests/llvm/test_call.py tests/llvm/test_call_state.py tests/llvm/test_pool.py
done
