#!/bin/sh
# Makes <repo>/.venv with the exact Python packages that the conformance tests drive.
# Run it as often as you like: it does nothing while requirements.txt has not changed.
# LUNA_PYTHON names another interpreter than python3.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
repo=$(CDPATH='' cd -- "$here/../.." && pwd)
venv=${LUNA_VENV:-$repo/.venv}
wanted=$here/requirements.txt
installed=$venv/luna-requirements.txt
python=${LUNA_PYTHON:-python3}

say() { printf '%s\n' "setup-python: $*" >&2; }

if [ -x "$venv/bin/python" ] && cmp -s "$wanted" "$installed"; then
    exit 0
fi

command -v "$python" >/dev/null 2>&1 || {
    say "$python is missing; install it: apt-get install python3 python3-venv"
    exit 1
}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
    say "$("$python" --version) is too old: the anthropic SDK needs Python 3.10 or newer"
    exit 1
}
# Debian splits the module that a venv gets its pip from into a package of its own.
"$python" -c 'import venv, ensurepip' 2>/dev/null || {
    say "$python cannot make a venv with pip; install the package that has it: apt-get install python3-venv"
    exit 1
}

# A venv that was begun and not finished is begun anew.
if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    "$python" -m venv --clear "$venv"
fi
rm -f "$installed"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$wanted" || {
    say "pip could not install $wanted; it needs to reach a package index (PIP_INDEX_URL names another)"
    exit 1
}
cp "$wanted" "$installed"
say "$venv is ready: $("$venv/bin/python" -c 'import anthropic, openai; print("anthropic", anthropic.__version__, "openai", openai.__version__)')"
