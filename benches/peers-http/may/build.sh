#!/usr/bin/env bash
# build.sh FOLDER OUT: builds peer-may with the copy of may_postgres in FOLDER, into OUT (a target folder).
# The repository that Cargo.toml names is not asked: a machine without a way to it can still measure.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
copy=$(realpath "$1") out=$2
mkdir -p "$out/peer-may"
cp -r "$here/src" "$out/peer-may/"
sed "s|^may_postgres = .*|may_postgres = { path = \"$copy\" }|" "$here/Cargo.toml" >"$out/peer-may/Cargo.toml"
cargo build --release --manifest-path "$out/peer-may/Cargo.toml" --target-dir "$out"
