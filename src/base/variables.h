// SPDX-License-Identifier: MIT
// The environment variables of the malloc library, one row each. The library reads them and prints
// them as MallocHelp; `heapwright run` and `heapwright env` make their options, and so their man
// pages, of the same rows.
//
// A row: X(identifier, variable, option, type, argument, help). A flag counts when the variable is
// there, whatever its value, even 0.
#pragma once

enum variable_type {
	VARIABLE_FLAG,
	VARIABLE_CHOICE, // a flag with an optional word as its value
	VARIABLE_TEXT,
	VARIABLE_NUMBER, // decimal digits only
	VARIABLE_SIGNED_NUMBER,
	VARIABLE_BYTES, // a number, optionally with k, M or G
};

// clang-format off
#define MALLOC_VARIABLES(X) \
	X(SCRIBBLE, "MallocScribble", "scribble", VARIABLE_FLAG, NULL, \
	  "Fill each freed block with 0x55, and report blocks that were written to after that.") \
	X(PRE_SCRIBBLE, "MallocPreScribble", "pre-scribble", VARIABLE_FLAG, NULL, \
	  "Fill each new block with 0xAA, so that a program that takes it for zeroed fails soon.") \
	X(ZERO_ON_FREE, "MallocZeroOnFree", "zero-on-free", VARIABLE_FLAG, NULL, \
	  "Fill each freed block with zeros, and report blocks that were written to after that.") \
	X(GUARD_EDGES, "MallocGuardEdges", "guard-edges", VARIABLE_CHOICE, "all", \
	  "Put a page that faults before and behind each large block; with the value all around " \
	  "every block.") \
	X(NO_PRELUDE, "MallocDoNotProtectPrelude", "do-not-protect-prelude", VARIABLE_FLAG, NULL, \
	  "With guarded edges: no page that faults before a block.") \
	X(NO_POSTLUDE, "MallocDoNotProtectPostlude", "do-not-protect-postlude", VARIABLE_FLAG, NULL, \
	  "With guarded edges: no page that faults behind a block.") \
	X(CHECK_START, "MallocCheckHeapStart", "check-heap-start", VARIABLE_NUMBER, "N", \
	  "Check the heap from the Nth allocation on. Needs the next one, too.") \
	X(CHECK_EACH, "MallocCheckHeapEach", "check-heap-each", VARIABLE_NUMBER, "N", \
	  "Check the heap at every Nth allocation. Needs the one before, too.") \
	X(CHECK_SLEEP, "MallocCheckHeapSleep", "check-heap-sleep", VARIABLE_SIGNED_NUMBER, "SECONDS", \
	  "Sleep so long when a heap check fails, so that a debugger can be attached (100); negative: " \
	  "only the first time.") \
	X(CHECK_ABORT, "MallocCheckHeapAbort", "check-heap-abort", VARIABLE_FLAG, NULL, \
	  "End the program when a heap check fails, instead of sleeping.") \
	X(CHECK_EDGES, "MallocCheckEdges", "check-edges", VARIABLE_FLAG, NULL, \
	  "Put a pattern before and behind each block and report what overwrote it, when the block is " \
	  "freed, at the end, and to heap --damage. Freed blocks are scribbled and kept back.") \
	X(KEEP_BACK, "MallocKeepBack", "keep-back", VARIABLE_BYTES, "BYTES", \
	  "With checked edges: keep so many bytes of freed blocks from being used again (32M).") \
	X(CHECK_COPIES, "MallocCheckCopies", "check-copies", VARIABLE_FLAG, NULL, \
	  "Report each memcpy whose source and destination overlap.") \
	X(ERROR_ABORT, "MallocErrorAbort", "error-abort", VARIABLE_FLAG, NULL, \
	  "End the program at every error, also when there is no memory left.") \
	X(CORRUPTION_ABORT, "MallocCorruptionAbort", "corruption-abort", VARIABLE_FLAG, NULL, \
	  "End the program when the heap was misused or damaged. That is so anyway, unless MallocContinue " \
	  "is set, too.") \
	X(CONTINUE, "MallocContinue", "continue", VARIABLE_FLAG, NULL, \
	  "Go on after an error was reported, instead of ending the program.") \
	X(ERROR_STOP, "MallocErrorStop", "error-stop", VARIABLE_FLAG, NULL, \
	  "Stop the program (SIGSTOP) when an error is reported, so that a debugger can be attached.") \
	X(ERROR_SLEEP, "MallocErrorSleep", "error-sleep", VARIABLE_FLAG, NULL, \
	  "Sleep an hour when an error is reported, so that a debugger can be attached.") \
	X(LOG_FILE, "MallocLogFile", "log", VARIABLE_TEXT, "FILE", \
	  "Append messages to FILE instead of writing them to the standard error.") \
	X(DEBUG_REPORT, "MallocDebugReport", "report", VARIABLE_TEXT, "WHERE", \
	  "Where messages go: stderr, none, or crash (kept in memory, where leaks and heap show them in " \
	  "a core).") \
	X(STACK_LOGGING, "MallocStackLogging", "stack-logging", VARIABLE_CHOICE, "MODE", \
	  "Keep the call stack of each live block, for leaks, heap and malloc_history; with the value " \
	  "full write every allocation and every free to a log.") \
	X(STACK_LOGGING_ALL, "MallocStackLoggingNoCompact", "stack-logging-no-compact", VARIABLE_FLAG, \
	  NULL, "As MallocStackLogging=full.") \
	X(STACK_LOGGING_DIRECTORY, "MallocStackLoggingDirectory", "stack-logging-directory", \
	  VARIABLE_TEXT, "DIRECTORY", "Where such a log is put ($TMPDIR, or /tmp).") \
	X(PROB_GUARD, "MallocProbGuard", "sample-guard", VARIABLE_FLAG, NULL, \
	  "Give a sample of the blocks guard pages, in bounded memory: Guard Malloc for production.") \
	X(PROB_GUARD_RATE, "MallocProbGuardSampleRate", "sample-rate", VARIABLE_NUMBER, "N", \
	  "With it: guard one block in N (1000).") \
	X(PROB_GUARD_BUDGET, "MallocProbGuardMemoryBudgetInKB", "sample-budget", VARIABLE_NUMBER, "KIB", \
	  "With it: use at most so much memory for live guarded blocks (8192).") \
	X(NO_CHILDREN, "MallocNoChildren", "no-children", VARIABLE_FLAG, NULL, \
	  "The programs that the program starts run without the library and its variables.") \
	X(HELP, "MallocHelp", "variables", VARIABLE_FLAG, NULL, \
	  "Print this list of variables when the program starts.")

// Variables that no option of a command stands for.
#define MALLOC_OTHER_VARIABLES(X) \
	X(STACK_LOGGING_KEEP, "MallocStackLoggingNoReaping", NULL, VARIABLE_FLAG, NULL, \
	  "Accepted: logs of ended programs are never removed anyway.")

// Of libgmalloc.so, which takes MallocLogFile, MallocNoChildren and the like as well.
#define GUARD_VARIABLES(X) \
	X(PROTECT_BEFORE, "MALLOC_PROTECT_BEFORE", "protect-before", VARIABLE_FLAG, NULL, \
	  "Guard Malloc: put each block at the start of its pages, so that reading before it faults.") \
	X(FILL_SPACE, "MALLOC_FILL_SPACE", "fill-space", VARIABLE_FLAG, NULL, \
	  "Guard Malloc: fill new blocks with 0x55.") \
	X(ALLOW_READS, "MALLOC_ALLOW_READS", "allow-reads", VARIABLE_FLAG, NULL, \
	  "Guard Malloc: let the program read the pages around blocks and freed blocks.") \
	X(VECTOR_SIZE, "MALLOC_VECTOR_SIZE", "vector-size", VARIABLE_NUMBER, "BYTES", \
	  "Guard Malloc: align blocks to so many bytes (16).") \
	X(WORD_SIZE, "MALLOC_WORD_SIZE", "word-size", VARIABLE_FLAG, NULL, \
	  "Guard Malloc: align blocks to 4 bytes.") \
	X(POINTER_SIZE, "MALLOC_POINTER_SIZE", "pointer-size", VARIABLE_FLAG, NULL, \
	  "Guard Malloc: align blocks to the size of a pointer.") \
	X(STRICT_SIZE, "MALLOC_STRICT_SIZE", "strict-size", VARIABLE_FLAG, NULL, \
	  "Guard Malloc: let blocks end at the very byte before the page that faults, unaligned.") \
	X(LARGE_REQUESTS, "MALLOC_ALLOW_LARGE_REQUESTS", "allow-large-requests", VARIABLE_FLAG, NULL, \
	  "Guard Malloc: a request above 100 MiB is no error.") \
	X(MAXIMUM_VM, "MALLOC_MAXIMUM_VM", "maximum-vm", VARIABLE_BYTES, "BYTES", \
	  "Guard Malloc: use at most so much address space.")

#define GUARD_OTHER_VARIABLES(X) \
	X(INSANE_REQUESTS, "MALLOC_PERMIT_INSANE_REQUESTS", NULL, VARIABLE_FLAG, NULL, \
	  "Guard Malloc: the older name of MALLOC_ALLOW_LARGE_REQUESTS.") \
	X(CHECK_HEADER, "MALLOC_CHECK_HEADER", NULL, VARIABLE_TEXT, "0", \
	  "Guard Malloc: the value 0 leaves out the check of the bytes beside a block when it is freed.") \
	X(GUARD_LOG_FILE, "MALLOC_LOG_FILE", NULL, VARIABLE_TEXT, "FILE", \
	  "Guard Malloc: append reports to FILE instead of writing them to the standard error.")
// clang-format on

#define VARIABLE_IDENTIFIER(identifier, ...) VARIABLE_##identifier,
enum variable {
	MALLOC_VARIABLES(VARIABLE_IDENTIFIER)       //
	MALLOC_OTHER_VARIABLES(VARIABLE_IDENTIFIER) //
	GUARD_VARIABLES(VARIABLE_IDENTIFIER)        //
	GUARD_OTHER_VARIABLES(VARIABLE_IDENTIFIER)  //
	VARIABLE_COUNT,
};
#undef VARIABLE_IDENTIFIER

struct variable_row {
	const char *name, *option; // option: of heapwright run, NULL none
	enum variable_type type;
	const char *argument; // what the value is, NULL for flags
	const char *help;
};

#define VARIABLE_ROW(identifier, name, option, type, argument, help) \
	{ name, option, type, argument, help },
