#!/usr/bin/env bash
# Every test: the workspace's, the documentation's, the scripts'. `make test`.
set -euo pipefail
cd "$(dirname "$0")/.."

if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --workspace --locked
else
    cargo test --workspace --locked --lib --bins --tests
fi
cargo test --workspace --locked --doc --quiet
# The SPSC ring under loom: another build of one small crate, in a folder of its own.
RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom" \
    cargo test -p forebay-bus --locked --release --quiet --test loom
cargo run --quiet --locked -p xtask -- promises
scripts/setup.test.sh
scripts/make.test.sh
deploy/test.sh
