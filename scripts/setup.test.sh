#!/usr/bin/env bash
# Tests of setup.sh with stand-ins for the programs that it looks for and calls:
# nothing is installed here.
set -euo pipefail
cd "$(dirname "$0")"

bed=$(mktemp -d)
trap 'rm -rf "$bed"' EXIT
real=$(dirname "$(command -v bash)"):/usr/bin:/bin

program() { # NAME SCRIPT
    printf '#!/bin/bash\n%s\n' "$2" >"$bed/bin/$1"
    chmod +x "$bed/bin/$1"
}
fresh() {
    rm -rf "$bed/bin" "$bed/calls"
    mkdir "$bed/bin"
    # Only these are seen, and the few tools of the script itself.
    local tool
    for tool in bash env sed cut sort head printf find test mktemp rm cat dirname; do
        ln -s "$(PATH=$real command -v "$tool" || echo "/usr/bin/$tool")" "$bed/bin/$tool"
    done
    for tool in cargo cc pkg-config initdb curl nginx wrk; do
        program "$tool" 'exit 0'
    done
    program rustc 'echo "rustc 99.0.0 (x)"'
    program sudo 'exec "$@"'
    program apt-get "echo \"\$*\" >>'$bed/calls'"
}
run() { # EXPECTED-STATUS ARGUMENTS...
    local expected=$1 status=0
    shift
    PATH=$bed/bin bash ./setup.sh "$@" >"$bed/out" 2>&1 || status=$?
    [[ $status == "$expected" ]] || fail "status $status, expected $expected"
}
fail() {
    echo "setup.test.sh: $case: $1" >&2
    cat "$bed/out" >&2
    exit 1
}
says() { grep -qF -- "$1" "$bed/out" || fail "it doesn't say: $1"; }
calls() { grep -qE -- "$1" "$bed/calls" || fail "apt-get isn't called with: $1"; }
silent() { [[ ! -s $bed/out && ! -e $bed/calls ]] || fail "it is not silent"; }

case="all there"
fresh
run 0
silent
run 0 bench
silent

case="no Rust"
fresh
rm "$bed/bin/cargo"
run 1
says "Rust is missing"
says "https://rustup.rs"

case="old Rust"
fresh
program rustc 'echo "rustc 1.70.0 (x)"'
run 1
says "Rust 1.70.0 is too old"

case="libraries missing"
fresh
program pkg-config '[[ $2 != hwloc ]]'
run 0
says "installing libhwloc-dev"
calls "install libhwloc-dev$"

case="benchmarks' peers only for bench"
fresh
rm "$bed/bin/wrk" "$bed/bin/nginx"
run 0
silent
run 0 bench
calls "install nginx-light wrk$"

case="old package lists"
fresh
rm "$bed/bin/curl"
program apt-get "echo \"\$*\" >>'$bed/calls'; [[ \$* == *update* ]] && : >'$bed/updated'; [[ -e '$bed/updated' ]]"
run 0
calls "update$"

case="apt-get fails"
fresh
rm -f "$bed/updated" "$bed/bin/curl"
program apt-get 'echo "E: no network"; exit 100'
run 1
says "E: no network"
says "could not install curl"

case="no apt-get"
fresh
rm "$bed/bin/apt-get" "$bed/bin/curl"
run 1
says "no apt-get to install them: curl"
