#!/bin/sh
# pythons.sh [PYTHON...]: the tests of the call and of the threads under each of these interpreters, in environments of
# their own. Without a name: those of the versions with a native call that are found here, on the path or from pyenv.
set -eu

found() {
    for version in 3.11 3.12 3.13; do
        if "python$version" -V >/dev/null 2>&1; then
            echo "python$version"
        else
            for python in "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
                if [ -x "$python" ]; then echo "$python"; else echo "no python$version here, not tested" >&2; fi
            done
        fi
    done
}

[ $# -gt 0 ] || set -- $(found)
place="$(mktemp -d)"
trap 'rm -rf "$place"' EXIT
for python in "$@"; do
    name="$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
    "$python" -m venv "$place/$name"
    "$place/$name/bin/python" -m pip install --quiet --disable-pip-version-check -e ".[test]"
    "$python" -V
    "$place/$name/bin/python" -m pytest -q -p no:cacheprovider tests/llvm/test_call.py tests/llvm/test_call_state.py tests/llvm/test_placing.py tests/llvm/test_pool.py
done
