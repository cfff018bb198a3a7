#!/bin/sh
# Builds progjar in release and runs one of its topics, from any directory.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

usage() {
	cat <<'EOF'
usage: ./run.sh TOPIC [options]

  all            the whole assignment: servers, page, rotation, tables, report/
  test           format, lints, tests, documentation: is all well?
  notes          all, peers and exhibit all, and the results blocks of notes/*.md from them
  compare        this project beside nginx and HAProxy: requests/s, CPU, ratios, verdicts;
                 compare pollers: scan, poll and epoll from 1 to 10,000 connections;
                 compare tricks: this program beside itself without each of its tricks
  peers          the judge on nginx, HAProxy, Node and Python, beside our own servers
  async_server, thread_server, lb, bench, judge, exhibit, ...
                 one program by hand
  help [TOPIC]   this and the program's help, or a topic's options

EOF
}

need_cargo() {
	if ! command -v cargo >/dev/null 2>&1 && [ -x "${HOME:-}/.cargo/bin/cargo" ]; then
		PATH=$HOME/.cargo/bin:$PATH
	fi
	if ! command -v cargo >/dev/null 2>&1; then
		echo "run.sh: cargo is missing; get Rust 1.88 or newer from https://rustup.rs, then open a new terminal" >&2
		exit 1
	fi
}

# Cargo's own words appear only when the first build takes long, or fails.
build() {
	need_cargo
	target=${CARGO_TARGET_DIR:-$here/target}
	program=$target/release/progjar
	[ -x "$program" ] || echo "building progjar, this takes about a minute ..." >&2
	cargo build --quiet --release --manifest-path "$here/Cargo.toml"
}

# The program once more without each of its tricks.
build_without() {
	copy=$target/without/source
	for patch in "$here"/notes/tricks/*.patch; do
		name=$(basename "$patch" .patch)
		echo "building progjar without $name ..." >&2
		rm -rf "$copy"
		mkdir -p "$copy"
		cp -R "$here/Cargo.toml" "$here/Cargo.lock" "$here/src" "$copy"
		# Without the ceiling git would look for the files from the top of the project.
		(cd "$copy" && GIT_CEILING_DIRECTORIES=$target/without git apply "$patch")
		cargo build --quiet --release --manifest-path "$copy/Cargo.toml" --target-dir "$target/without/target" 2>/dev/null ||
			cargo build --release --manifest-path "$copy/Cargo.toml" --target-dir "$target/without/target"
		cp "$target/without/target/release/progjar" "$target/without/$name"
	done
}

# One step of the test, with its name above its output.
check() {
	echo "== $*"
	if ! "$@"; then
		echo "Not well: '$*' failed; what is wrong stands above."
		exit 1
	fi
}

run_tests() {
	need_cargo
	cd "$here"
	check cargo fmt --check
	check cargo clippy --quiet --all-targets -- -D warnings
	if command -v shellcheck >/dev/null 2>&1; then
		check shellcheck run.sh .ci/run
	elif [ -n "${PROGJAR_REQUIRE_TOOLS:-}" ]; then
		echo "Not well: shellcheck is missing; apt install shellcheck."
		exit 1
	else
		echo "== SKIPPED: shellcheck is not installed (apt install shellcheck)"
	fi
	# More at once than there are cores: most tests wait.
	check env RUST_TEST_THREADS="${RUST_TEST_THREADS:-8}" cargo test "$@"
	check env RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps --document-private-items
	echo "All is well: format, lints, tests and documentation are in order."
}

topic=${1:-help}
[ $# -eq 0 ] || shift
# Defaults come first: what is typed after them counts.
case $topic in
test)
	run_tests "$@"
	;;
all)
	build
	exec "$program" all --root "$here/www" --report "$here/report" "$@"
	;;
notes)
	build
	"$program" all --root "$here/www" --report "$here/report" --notes "$here/notes" "$@"
	"$program" peers --root "$here/www" --notes "$here/notes"
	exec "$program" exhibit all --notes "$here/notes"
	;;
compare)
	build
	[ "${1:-}" != tricks ] || build_without
	exec "$program" compare --root "$here/www" --report "$here/report" \
		--patches "$here/notes/tricks" --without "$target/without" "$@"
	;;
async_server | thread_server | peers)
	build
	exec "$program" "$topic" --root "$here/www" "$@"
	;;
help | --help | -h)
	[ $# -gt 0 ] || usage
	build
	exec "$program" help "$@"
	;;
*)
	build
	exec "$program" "$topic" "$@"
	;;
esac
