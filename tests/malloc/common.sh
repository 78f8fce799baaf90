# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034
# For the tests of this folder: where the libraries are, how programs are built and compared.
malloc_library=$STAGE/lib/libheapwright.so
guard_library=$STAGE/lib/libgmalloc.so
archive=$STAGE/lib/libheapwright.a
failed=0

skip() {
	echo "skipped: $1"
	exit 77
}

# build NAME [CC-ARGUMENTS]: the program NAME of this folder, in TMPDIR. The compiler must not know
# what malloc does.
build() {
	local name=$1
	shift
	cc -O1 -g -fno-builtin -w -pthread -o "$TMPDIR/$name" "$SRC/tests/malloc/$name.c" "$@"
}

complain() {
	echo "$1"
	failed=1
}

# expect_fine WHAT COMMAND...: status 0; what it printed is shown otherwise.
expect_fine() {
	local what=$1 status=0
	shift
	"$@" >"$TMPDIR/output" 2>&1 || status=$?
	[ "$status" = 0 ] && return
	complain "$what: status $status"
	tail -n 20 "$TMPDIR/output"
}

# expect_text WHAT TEXT: the last output holds TEXT.
expect_text() {
	grep -qF -- "$2" "$TMPDIR/output" && return
	complain "$1: no '$2' in"
	tail -n 20 "$TMPDIR/output"
}

under() {
	env LD_PRELOAD="$malloc_library" "$@"
}
