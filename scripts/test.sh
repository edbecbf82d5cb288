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
scripts/setup.test.sh
scripts/make.test.sh
deploy/test.sh
