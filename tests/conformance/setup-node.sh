#!/bin/sh
# Installs the exact Node packages that the conformance tests drive into tests/conformance/node/node_modules.
# Run it as often as you like: it does nothing while package-lock.json has not changed.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
folder=$here/node
installed=$folder/node_modules/luna-package-lock.json

say() { printf '%s\n' "setup-node: $*" >&2; }

if cmp -s "$folder/package-lock.json" "$installed"; then
    exit 0
fi
for tool in node npm; do
    command -v "$tool" >/dev/null 2>&1 || {
        say "$tool is missing; install it: apt-get install nodejs npm"
        exit 1
    }
done
node -e 'process.exit(parseInt(process.versions.node, 10) < 18 ? 1 : 0)' || {
    say "Node $(node --version) is too old: the SDKs need 18 or newer"
    exit 1
}
(cd "$folder" && npm ci --silent --no-audit --no-fund) || {
    say "npm could not install $folder/package-lock.json; it needs to reach a registry (npm config set registry names another)"
    exit 1
}
cp "$folder/package-lock.json" "$installed"
say "the Node SDKs are ready in $folder/node_modules"
