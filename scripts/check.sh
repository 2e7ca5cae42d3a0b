#!/usr/bin/env bash
# What a change must pass before it is pushed. Stops at the first failure; says at the end what it did not look at.
#
#   scripts/check.sh            everything below
#   scripts/check.sh --fix      formats first
#
# The built program against official clients and browsers: tests/run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

skipped=()

say() { printf '\n== %s\n' "$*"; }

# skip WHAT WHY: it was not looked at.
skip() { skipped+=("$1: $2"); }

has() { command -v "$1" >/dev/null 2>&1; }

# check_unit FILE: systemd has nothing to say about it, wherever the program is installed.
check_unit() {
  local folder said
  folder=$(mktemp -d)
  sed 's|/usr/bin/frontdesk|/bin/true|' "$1" >"$folder/$(basename "$1")"
  said=$(systemd-analyze verify "$folder/$(basename "$1")" 2>&1) || true
  rm -r "$folder"
  [[ -z $said ]] || { printf '%s\n' "$said" && return 1; }
}

case ${1:-} in
  '') ;;
  --fix) cargo fmt --all ;;
  *)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
    exit 64
    ;;
esac

say "format"
cargo fmt --all --check

say "lints"
cargo clippy --locked --all-targets -- -D warnings

say "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items --quiet

say "tests"
if has cargo-nextest; then
  cargo nextest run --locked --lib --bins --tests
else
  cargo test --locked --lib --bins --tests
fi
cargo test --locked --doc --quiet

say "licences, advisories, banned crates"
if has cargo-deny; then
  cargo deny --locked check
else
  skip "licences, advisories, banned crates" "cargo-deny is not installed (cargo install --locked cargo-deny)"
fi

say "scripts"
if has shellcheck; then
  shellcheck scripts/*.sh tests/run .ci/run
else
  skip "scripts" "shellcheck is not installed"
fi

say "systemd unit"
if has systemd-analyze; then
  check_unit systemd/frontdesk.service
else
  skip "systemd unit" "systemd-analyze is not installed"
fi

say "passed"
if ((${#skipped[@]})); then
  printf 'skipped: %s\n' "${skipped[@]}"
fi
