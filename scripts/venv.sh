#!/bin/sh
# venv.sh EXTRAS [PYTHON]: make .venv and install this checkout with the extras, unless that was done before.
set -eu
extras="$1"
asked="${2:-}"

recent() {
    command -v "$1" >/dev/null 2>&1 && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

stamp=".venv/.installed-$(echo "$extras" | tr ',' '-')"
# a checkout that was moved holds an environment that still points to the old place
if [ -e .venv/.place ] && [ "$(cat .venv/.place)" != "$PWD" ]; then
    rm -rf .venv
fi
if [ -e "$stamp" ] && [ "$stamp" -nt pyproject.toml ]; then
    exit 0
fi

if [ ! -e .venv ]; then
    python=""
    if [ -n "$asked" ]; then
        recent "$asked" && python="$asked"
    else
        for name in python3 python3.14 python3.13 python3.12 python3.11; do
            if recent "$name"; then
                python="$name"
                break
            fi
        done
    fi
    if [ -z "$python" ]; then
        asked="${asked:-python3}"
        found="not there"
        command -v "$asked" >/dev/null 2>&1 && found="$("$asked" -V 2>&1 || true)"
        echo "nervure needs Python 3.11 or newer, $asked is $found" >&2
        echo "say which one to use: make PYTHON=/path/to/python3 ..." >&2
        exit 1
    fi
    if ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
        echo "$python has no venv module; on Debian or Ubuntu: apt install python3-venv" >&2
        exit 1
    fi
    "$python" -m venv .venv || { rm -rf .venv; exit 1; }
    echo "$PWD" >.venv/.place
fi
if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    echo ".venv is there, but has no working pip: run make clean, then this again" >&2
    exit 1
fi
echo "installing nervure[$extras] into .venv"
.venv/bin/python -m pip install --quiet --disable-pip-version-check -e ".[$extras]"
touch "$stamp"
