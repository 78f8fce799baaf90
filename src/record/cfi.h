// SPDX-License-Identifier: MIT
// Call frame information: what the compiler wrote into .eh_frame about each function (DWARF 5, 6.4;
// Linux Standard Base, "Exception Frames"). Reads bytes of a module that is mapped and trusts none of
// them. No state of its own; thread-safe.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "os/inside.h"

enum {
	RECORD_CFI_ROWS = 6,   // DW_CFA_remember_state within each other
	RECORD_CFI_STACK = 16, // words of an expression
};

// Where a module keeps its tables: header is .eh_frame_hdr; all that is read lies in [start, end).
struct record_cfi_section {
	const uint8_t *start, *end, *header;
};

// How one register of the caller is found.
enum record_cfi_how {
	RECORD_CFI_SAME, // also: no word about it
	RECORD_CFI_UNDEFINED,
	RECORD_CFI_OFFSET,           // saved at CFA + value
	RECORD_CFI_VALUE_OFFSET,     // is CFA + value
	RECORD_CFI_REGISTER,         // is in the register of that number
	RECORD_CFI_EXPRESSION,       // saved where the expression says
	RECORD_CFI_VALUE_EXPRESSION, // is what the expression says
};

struct record_cfi_rule {
	uint32_t how;
	uint32_t bytes; // of the expression
	int64_t value;  // or its address
};

struct record_cfi_row {
	struct record_cfi_rule cfa; // OFFSET: value + the register of that number
	uint32_t cfa_register;
	struct record_cfi_rule registers[INSIDE_REGISTERS];
};

// Working memory, and what was found. Some 3 KiB: not for the stack.
struct record_cfi {
	struct record_cfi_row rows[RECORD_CFI_ROWS + 2]; // [0] the answer, [1] as the CIE leaves it
	bool signal;                                     // the code returns from a signal handler
	uint64_t start;                                  // of the function
	uint64_t stack[RECORD_CFI_STACK];
};

// Finds the row for an address. False: no function covers it, or its bytes are damaged or use what we
// do not know.
bool record_cfi_find(struct record_cfi *cfi, const struct record_cfi_section *section,
                     uint64_t address);

// Reads a word that an expression or a rule wants; false: it may not be read.
typedef bool record_cfi_read(void *context, uint64_t address, uint64_t *ret);

struct record_registers {
	uint64_t values[INSIDE_REGISTERS]; // by DWARF number; the return address among them
	uint64_t known;                    // a bit each
};

// Replaces the registers by the caller's, as the row says; the stack pointer becomes the CFA. False
// when something is needed that is not known.
bool record_cfi_step(struct record_cfi *cfi, struct record_registers *registers,
                     record_cfi_read *read, void *context);
