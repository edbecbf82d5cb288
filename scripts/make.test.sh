#!/usr/bin/env bash
# `make run` ends in the binary itself: its arguments, and that signals reach it.
# Cargo and the binary are stand-ins.
set -euo pipefail
cd "$(dirname "$0")/.."

bed=$(mktemp -d)
make_pid=
trap 'rm -rf "$bed"; [[ -z $make_pid ]] || kill -KILL -- "-$make_pid" 2>/dev/null || true' EXIT
mkdir -p "$bed/bin" "$bed/target/release"
printf '#!/bin/sh\nexit 0\n' >"$bed/bin/cargo"
cat >"$bed/target/release/forebay" <<EOF
#!/bin/bash
echo "\$*" >"$bed/arguments"
trap 'echo TERM >"$bed/signal"; exit 0' TERM
trap 'echo INT >"$bed/signal"; exit 0' INT
touch "$bed/started"
while :; do sleep 0.05; done
EOF
chmod +x "$bed/bin/cargo" "$bed/target/release/forebay"

fail() {
    echo "make.test.sh: $1" >&2
    exit 1
}
wait_for() { # FILE
    local _
    for _ in {1..200}; do
        [[ ! -e $bed/$1 ]] || return 0
        sleep 0.05
    done
    fail "$1 never came"
}

for signal in TERM INT; do
    rm -f "$bed/started" "$bed/signal"
    # A process group of its own, as a terminal gives: Ctrl-C goes to the group. (A shell
    # ignores SIGINT in what it starts in the background.)
    PATH=$bed/bin:$PATH CARGO_TARGET_DIR=$bed/target env --default-signal=INT setsid make run LISTEN=127.0.0.1:1 >"$bed/out" 2>&1 &
    make_pid=$!
    wait_for started
    [[ $(cat "$bed/arguments") == "dev examples/shop --listen 127.0.0.1:1" ]] || fail "arguments: $(cat "$bed/arguments")"
    if [[ $signal == INT ]]; then kill -INT -- "-$make_pid"; else kill -TERM "$make_pid"; fi
    wait_for signal
    wait "$make_pid" || true
    [[ $(cat "$bed/signal") == "$signal" ]] || fail "$signal became $(cat "$bed/signal")"
done
