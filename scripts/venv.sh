#!/bin/sh
# venv.sh PYTHON EXTRAS: make .venv and install this checkout with the extras, unless that was done before.
set -eu
python="$1"
extras="$2"

if ! command -v "$python" >/dev/null 2>&1; then
    echo "nervure needs Python 3.11 or newer, and there is no $python; say which: make PYTHON=/path/to/python3 ..." >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "nervure needs Python 3.11 or newer, $python is $("$python" -V 2>&1); say another: make PYTHON=python3.12 ..." >&2
    exit 1
fi
if ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
    echo "this Python has no venv module; on Debian or Ubuntu: apt install python3-venv" >&2
    exit 1
fi

stamp=".venv/.installed-$(echo "$extras" | tr ',' '-')"
if [ -e "$stamp" ] && [ "$stamp" -nt pyproject.toml ]; then
    exit 0
fi
[ -x .venv/bin/python ] || "$python" -m venv .venv
echo "installing nervure[$extras] into .venv"
.venv/bin/python -m pip install --quiet --disable-pip-version-check -e ".[$extras]"
touch "$stamp"
