#!/usr/bin/env bash
# The unit, the user and the folders, checked without installing them.
set -euo pipefail
cd "$(dirname "$0")"

if ! command -v systemd-analyze >/dev/null; then
    echo "deploy/test.sh: skipped, there is no systemd-analyze on this machine"
    exit 0
fi
bed=$(mktemp -d)
trap 'rm -rf "$bed"' EXIT

fail() {
    echo "deploy/test.sh: $1" >&2
    cat "$bed/out" >&2
    exit 1
}

# verify wants the program to be there. It ends with 0 on unknown keys: any word is a failure.
printf '#!/bin/sh\n' >"$bed/forebay"
chmod +x "$bed/forebay"
sed "s|/usr/bin/forebay|$bed/forebay|" forebay.service >"$bed/forebay.service"
systemd-analyze verify --man=no "$bed/forebay.service" >"$bed/out" 2>&1 || fail "the unit is wrong"
[[ ! -s $bed/out ]] || fail "the unit has warnings"

# The test can fail: an unknown key is found.
sed 's|^\[Install\]|Nonsense=yes\n[Install]|' "$bed/forebay.service" >"$bed/broken.service"
systemd-analyze verify --man=no "$bed/broken.service" >"$bed/out" 2>&1 || true
grep -q Nonsense "$bed/out" || fail "an unknown key is not found"

systemd-analyze security --offline=true --threshold=25 --no-pager "$bed/forebay.service" >"$bed/out" 2>&1 ||
    fail "the unit is more exposed than 2.5"

if command -v systemd-sysusers >/dev/null && command -v systemd-tmpfiles >/dev/null; then
    mkdir -p "$bed/root/etc"
    systemd-sysusers --root="$bed/root" "$PWD/sysusers.conf" >"$bed/out" 2>&1 || fail "sysusers.conf is wrong"
    grep -q '^forebay:' "$bed/root/etc/passwd" || fail "there is no user"
    ((EUID != 0)) || systemd-tmpfiles --root="$bed/root" --create "$PWD/tmpfiles.conf" >"$bed/out" 2>&1 ||
        fail "tmpfiles.conf is wrong"
fi
