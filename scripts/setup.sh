#!/usr/bin/env bash
# Makes this machine ready to build, run and test Forebay: looks first, installs
# only what is missing, says nothing if nothing is. `setup.sh bench` and
# `setup.sh bench-db` add the benchmarks' peers.
#
# Debian and Ubuntu by apt-get, as root or through sudo. Elsewhere it says what is
# missing. Rust is not installed, only asked for: how it comes is a person's choice.
set -euo pipefail
cd "$(dirname "$0")/.."

rust_min=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
if ! command -v cargo >/dev/null || ! command -v rustc >/dev/null; then
    echo "error: Rust is missing (cargo and rustc are not in PATH)" >&2
    echo "  Forebay needs Rust $rust_min or newer: https://rustup.rs" >&2
    exit 1
fi
rust_have=$(rustc --version | cut -d ' ' -f 2)
if [[ $(printf '%s\n' "$rust_min" "${rust_have%%-*}" | sort -V | head -n 1) != "$rust_min" ]]; then
    echo "error: Rust $rust_have is too old: Forebay needs $rust_min or newer (rustup update stable)" >&2
    exit 1
fi

missing=()
need() { # PACKAGE CHECK...
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}
has_postgres() {
    [[ -n $(find /usr/lib/postgresql -path '*/bin/initdb' -print -quit 2>/dev/null) ]] || command -v initdb
}

need gcc command -v cc
need libc6-dev test -e /usr/include/stdio.h
need pkg-config command -v pkg-config
need libhwloc-dev pkg-config --exists hwloc
need libudev-dev pkg-config --exists libudev
need postgresql has_postgres
need curl command -v curl
if [[ ${1:-} == bench ]]; then
    need nginx-light command -v nginx
    need wrk command -v wrk
fi
if [[ ${1:-} == bench-db ]]; then
    need nodejs command -v node
    need npm command -v npm
fi
((${#missing[@]})) || exit 0

if ! command -v apt-get >/dev/null; then
    echo "error: these are missing, and there is no apt-get to install them: ${missing[*]}" >&2
    echo "  (Debian's names; hwloc and libudev with their headers, a PostgreSQL server)" >&2
    exit 1
fi
sudo=()
if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
        echo "error: run this as root, or install sudo; missing: ${missing[*]}" >&2
        exit 1
    fi
    sudo=(sudo)
fi
echo "setup: installing ${missing[*]}"
install=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Package lists may be absent or old (a fresh container): a failed try updates them.
if ! "${install[@]}" install "${missing[@]}" >"$log" 2>&1; then
    if ! { "${sudo[@]}" apt-get -qq update && "${install[@]}" install "${missing[@]}"; } >"$log" 2>&1; then
        cat "$log" >&2
        echo "error: apt-get could not install ${missing[*]}" >&2
        exit 1
    fi
fi
