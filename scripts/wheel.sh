#!/bin/sh
# wheel.sh PYTHON: build sdist and wheel, install the wheel in an empty environment, run the quick tests against it
# from a folder where the sources cannot be imported.
set -eu
python="$1"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

.venv/bin/python -m build --outdir "$work/dist" . >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
ls -l "$work/dist"
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$work"/dist/*.whl pytest
mkdir "$work/run"
cp -R tests "$work/run/tests"
cp pyproject.toml "$work/run/"
cd "$work/run"
NERVURE_DIST="$work/dist" "$work/venv/bin/python" -m pytest -q -m "wheel or not (long or torch)" \
    tests/wheel tests/ir tests/frontend tests/passes -p no:cacheprovider
