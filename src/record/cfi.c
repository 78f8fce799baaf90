// SPDX-License-Identifier: MIT
// Call frame information, read where it lies (record/cfi.h). Relies on nothing; called by rules.c when
// a place is met for the first time and by unwind.c for the few functions whose rules are long.
#include "record/cfi.h"

#include <string.h>

// --- Bytes ----------------------------------------------------------------------------------------
// A cursor that never leaves its bytes: past the end it gives zeros and remembers that.
struct cursor {
	const uint8_t *at, *end;
	bool bad;
};

static uint64_t get_bytes(struct cursor *from, unsigned count)
{
	uint64_t value = 0;

	if ((size_t)(from->end - from->at) < count) {
		from->at = from->end;
		from->bad = true;
		return 0;
	}
	memcpy(&value, from->at, count); // both processors are little-endian
	from->at += count;
	return value;
}

static int64_t get_signed(struct cursor *from, unsigned count)
{
	unsigned shift = 64 - 8 * count;

	return (int64_t)(get_bytes(from, count) << shift) >> shift;
}

static uint64_t get_leb(struct cursor *from, bool is_signed)
{
	uint64_t value = 0;
	unsigned shift = 0;
	uint8_t byte;

	do {
		byte = (uint8_t)get_bytes(from, 1);
		if (shift < 64)
			value |= (uint64_t)(byte & 0x7f) << shift;
		shift += 7;
	} while (byte & 0x80);
	if (is_signed && byte & 0x40 && shift < 64)
		value |= ~UINT64_C(0) << shift;
	return value;
}

static uint64_t get_uleb(struct cursor *from)
{
	return get_leb(from, false);
}

static int64_t get_sleb(struct cursor *from)
{
	return (int64_t)get_leb(from, true);
}

static const uint8_t *get_block(struct cursor *from, uint64_t bytes)
{
	const uint8_t *block = from->at;

	if (bytes > (uint64_t)(from->end - from->at)) {
		from->at = from->end;
		from->bad = true;
		return block;
	}
	from->at += bytes;
	return block;
}

// Pointer encodings (Linux Standard Base, "DWARF Exception Header Encoding").
enum {
	ENCODED_FORMAT = 0x0f,
	ENCODED_RELATIVE = 0x70,
	ENCODED_ABSOLUTE = 0x00,
	ENCODED_TO_HERE = 0x10,
	ENCODED_INDIRECT = 0x80,
	ENCODED_NOT = 0xff,
	TABLE_ENCODING = 0x3b, // 4 signed bytes, relative to the header: what linkers write
};

static uint64_t get_format(struct cursor *from, uint8_t encoding)
{
	switch (encoding & ENCODED_FORMAT) {
	case 0x00: // a pointer
	case 0x04:
	case 0x0c:
		return get_bytes(from, 8);
	case 0x01:
		return get_uleb(from);
	case 0x02:
		return get_bytes(from, 2);
	case 0x03:
		return get_bytes(from, 4);
	case 0x09:
		return (uint64_t)get_sleb(from);
	case 0x0a:
		return (uint64_t)get_signed(from, 2);
	case 0x0b:
		return (uint64_t)get_signed(from, 4);
	default:
		from->bad = true;
		return 0;
	}
}

static uint64_t get_encoded(struct cursor *from, uint8_t encoding)
{
	uint64_t here = (uint64_t)(uintptr_t)from->at;
	uint64_t value = get_format(from, encoding);

	if ((encoding & ENCODED_RELATIVE) == ENCODED_TO_HERE)
		return value + here;
	if ((encoding & ENCODED_RELATIVE) != ENCODED_ABSOLUTE)
		from->bad = true;
	return value;
}

// --- Entries --------------------------------------------------------------------------------------
struct cie {
	uint64_t code_step;
	int64_t data_step;
	uint64_t pc_register;
	uint8_t encoding;
	bool augmented;
	struct cursor program;
};

struct fde {
	uint64_t start;
	struct cursor program;
};

// The body of the entry at an address: what follows its length. Longer forms (64 bits of length) are
// for sections above 4 GiB, which nobody makes.
static bool open_entry(const struct record_cfi_section *section, uint64_t address,
                       struct cursor *ret)
{
	struct cursor from = { .end = section->end };
	uint64_t bytes;

	if (address < (uint64_t)(uintptr_t)section->start ||
	    address >= (uint64_t)(uintptr_t)section->end)
		return false;
	from.at = (const uint8_t *)(uintptr_t)address;
	bytes = get_bytes(&from, 4);
	ret->at = from.at;
	get_block(&from, bytes);
	ret->end = from.at;
	ret->bad = false;
	return !from.bad && bytes >= 4 && bytes < UINT32_MAX;
}

static void read_augmentation(struct cursor *from, const uint8_t *letters, struct cie *cie,
                              bool *ret_signal)
{
	const uint8_t *end;
	uint64_t bytes;

	if (!*letters)
		return;
	if (*letters != 'z') { // without a length nothing behind it can be found
		from->bad = true;
		return;
	}
	bytes = get_uleb(from);
	end = from->at;
	get_block(from, bytes);
	if (from->bad)
		return;
	cie->augmented = true;
	struct cursor data = { .at = end, .end = from->at };
	for (letters++; *letters && !data.bad; letters++) {
		if (*letters == 'R')
			cie->encoding = (uint8_t)get_bytes(&data, 1);
		else if (*letters == 'L')
			get_bytes(&data, 1);
		else if (*letters == 'P')
			get_format(&data, (uint8_t)get_bytes(&data, 1));
		else if (*letters == 'S')
			*ret_signal = true;
		else if (*letters != 'B') // aarch64: return addresses are signed with key B
			return;
	}
	from->bad |= data.bad;
}

static bool read_cie(const struct record_cfi_section *section, uint64_t address, struct cie *ret,
                     bool *ret_signal)
{
	struct cursor from;
	const uint8_t *letters;
	uint64_t version;

	*ret = (struct cie){ 0 };
	if (!open_entry(section, address, &from) || get_bytes(&from, 4) != 0)
		return false;
	version = get_bytes(&from, 1);
	letters = from.at;
	while (get_bytes(&from, 1))
		;
	ret->code_step = get_uleb(&from);
	ret->data_step = get_sleb(&from);
	ret->pc_register = version == 1 ? get_bytes(&from, 1) : get_uleb(&from);
	if (from.bad || (version != 1 && version != 3))
		return false;
	read_augmentation(&from, letters, ret, ret_signal);
	ret->program = from;
	return !from.bad;
}

static bool read_fde(const struct record_cfi_section *section, uint64_t fde_address,
                     uint64_t address, struct cie *cie, struct fde *ret, bool *ret_signal)
{
	struct cursor from;
	uint64_t here, back, bytes;

	if (!open_entry(section, fde_address, &from))
		return false;
	here = (uint64_t)(uintptr_t)from.at;
	back = get_bytes(&from, 4);
	if (!back || !read_cie(section, here - back, cie, ret_signal))
		return false;
	if (cie->encoding & ENCODED_INDIRECT)
		return false;
	ret->start = get_encoded(&from, cie->encoding);
	bytes = get_format(&from, cie->encoding & ENCODED_FORMAT);
	if (cie->augmented)
		get_block(&from, get_uleb(&from));
	ret->program = from;
	return !from.bad && address >= ret->start && address - ret->start < bytes;
}

// The last row of the sorted table that does not start behind the address.
static bool search_table(const struct record_cfi_section *section, uint64_t address,
                         uint64_t *ret_fde)
{
	struct cursor from = { .at = section->header, .end = section->end };
	uint64_t header = (uint64_t)(uintptr_t)section->header;
	uint8_t version = (uint8_t)get_bytes(&from, 1);
	uint8_t frame_encoding = (uint8_t)get_bytes(&from, 1);
	uint8_t count_encoding = (uint8_t)get_bytes(&from, 1);
	uint8_t table_encoding = (uint8_t)get_bytes(&from, 1);
	uint64_t low = 0, high;
	int32_t row[2];

	if (version != 1 || table_encoding != TABLE_ENCODING || count_encoding == ENCODED_NOT)
		return false;
	if (frame_encoding != ENCODED_NOT)
		get_format(&from, frame_encoding);
	high = get_format(&from, count_encoding);
	if (from.bad || high > (uint64_t)(from.end - from.at) / sizeof(row))
		return false;
	while (low < high) {
		uint64_t middle = (low + high) / 2;

		memcpy(row, from.at + middle * sizeof(row), sizeof(row));
		if (header + (uint64_t)(int64_t)row[0] <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low)
		return false;
	memcpy(row, from.at + (low - 1) * sizeof(row), sizeof(row));
	*ret_fde = header + (uint64_t)(int64_t)row[1];
	return true;
}

// --- The programs of entries ----------------------------------------------------------------------
// DWARF 5, table 7.29, and two of GNU's.
enum {
	CFA_ADVANCE = 1, // the upper two bits; the others have an argument in the lower six
	CFA_OFFSET = 2,
	CFA_RESTORE = 3,

	CFA_NOP = 0x00,
	CFA_SET_LOC = 0x01,
	CFA_ADVANCE_1 = 0x02,
	CFA_ADVANCE_2 = 0x03,
	CFA_ADVANCE_4 = 0x04,
	CFA_OFFSET_EXTENDED = 0x05,
	CFA_RESTORE_EXTENDED = 0x06,
	CFA_UNDEFINED = 0x07,
	CFA_SAME_VALUE = 0x08,
	CFA_REGISTER = 0x09,
	CFA_REMEMBER_STATE = 0x0a,
	CFA_RESTORE_STATE = 0x0b,
	CFA_DEF_CFA = 0x0c,
	CFA_DEF_CFA_REGISTER = 0x0d,
	CFA_DEF_CFA_OFFSET = 0x0e,
	CFA_DEF_CFA_EXPRESSION = 0x0f,
	CFA_EXPRESSION = 0x10,
	CFA_OFFSET_EXTENDED_SF = 0x11,
	CFA_DEF_CFA_SF = 0x12,
	CFA_DEF_CFA_OFFSET_SF = 0x13,
	CFA_VAL_OFFSET = 0x14,
	CFA_VAL_OFFSET_SF = 0x15,
	CFA_VAL_EXPRESSION = 0x16,
	CFA_NEGATE_RA_STATE = 0x2d, // aarch64: the return address is signed from here on, or no more
	CFA_GNU_ARGS_SIZE = 0x2e,
};

struct machine {
	struct record_cfi *cfi;
	const struct cie *cie;
	struct cursor from;
	uint64_t location;
	unsigned depth; // remembered rows
};

// Rules for registers that we do not follow (vectors) go nowhere.
static void set(struct machine *run, uint64_t number, enum record_cfi_how how, int64_t value)
{
	if (number < inside_frame.registers)
		run->cfi->rows[0].registers[number] =
		        (struct record_cfi_rule){ .how = how, .value = value };
}

static void set_expression(struct machine *run, struct record_cfi_rule *rule,
                           enum record_cfi_how how)
{
	uint64_t bytes = get_uleb(&run->from);
	const uint8_t *at = get_block(&run->from, bytes);
	struct record_cfi_rule ignored;

	*(rule ? rule : &ignored) = (struct record_cfi_rule){
		.how = how,
		.bytes = (uint32_t)bytes,
		.value = (int64_t)(uintptr_t)at,
	};
	run->from.bad |= bytes > UINT32_MAX;
}

static void set_register_expression(struct machine *run, enum record_cfi_how how)
{
	uint64_t number = get_uleb(&run->from);

	set_expression(run,
	               number < inside_frame.registers ? &run->cfi->rows[0].registers[number]
	                                               : NULL,
	               how);
}

static void set_cfa(struct machine *run, uint64_t number, int64_t value)
{
	run->cfi->rows[0].cfa =
	        (struct record_cfi_rule){ .how = RECORD_CFI_OFFSET, .value = value };
	run->cfi->rows[0].cfa_register = (uint32_t)number;
	run->from.bad |= number >= inside_frame.registers;
}

static void restore(struct machine *run, uint64_t number)
{
	if (number < inside_frame.registers)
		run->cfi->rows[0].registers[number] = run->cfi->rows[1].registers[number];
}

static int64_t get_factored(struct machine *run)
{
	return (int64_t)(get_uleb(&run->from) * (uint64_t)run->cie->data_step);
}

static int64_t get_factored_signed(struct machine *run)
{
	return (int64_t)((uint64_t)get_sleb(&run->from) * (uint64_t)run->cie->data_step);
}

static void run_state(struct machine *run, uint8_t code)
{
	struct record_cfi_row *rows = run->cfi->rows;

	if (code == CFA_REMEMBER_STATE && run->depth < RECORD_CFI_ROWS)
		rows[2 + run->depth++] = rows[0];
	else if (code == CFA_RESTORE_STATE && run->depth)
		rows[0] = rows[2 + --run->depth];
	else
		run->from.bad = true;
}

static void run_cfa(struct machine *run, uint8_t code)
{
	struct record_cfi_row *row = run->cfi->rows;
	uint64_t number = row->cfa_register;

	if (code == CFA_DEF_CFA || code == CFA_DEF_CFA_SF || code == CFA_DEF_CFA_REGISTER)
		number = get_uleb(&run->from);
	if (code == CFA_DEF_CFA_EXPRESSION)
		set_expression(run, &row->cfa, RECORD_CFI_EXPRESSION);
	else if (code == CFA_DEF_CFA_REGISTER)
		set_cfa(run, number, row->cfa.value);
	else if (code == CFA_DEF_CFA_SF || code == CFA_DEF_CFA_OFFSET_SF)
		set_cfa(run, number, get_factored_signed(run));
	else
		set_cfa(run, number, (int64_t)get_uleb(&run->from));
}

static void run_register(struct machine *run, uint8_t code)
{
	uint64_t number = get_uleb(&run->from);

	if (code == CFA_OFFSET_EXTENDED)
		set(run, number, RECORD_CFI_OFFSET, get_factored(run));
	else if (code == CFA_OFFSET_EXTENDED_SF)
		set(run, number, RECORD_CFI_OFFSET, get_factored_signed(run));
	else if (code == CFA_VAL_OFFSET)
		set(run, number, RECORD_CFI_VALUE_OFFSET, get_factored(run));
	else if (code == CFA_VAL_OFFSET_SF)
		set(run, number, RECORD_CFI_VALUE_OFFSET, get_factored_signed(run));
	else if (code == CFA_REGISTER)
		set(run, number, RECORD_CFI_REGISTER, (int64_t)get_uleb(&run->from));
	else if (code == CFA_UNDEFINED)
		set(run, number, RECORD_CFI_UNDEFINED, 0);
	else if (code == CFA_SAME_VALUE)
		set(run, number, RECORD_CFI_SAME, 0);
	else
		restore(run, number);
}

// All but those that advance.
static void run_rule(struct machine *run, uint8_t code)
{
	switch (code) {
	case CFA_NOP:
	case CFA_NEGATE_RA_STATE:
		return;
	case CFA_GNU_ARGS_SIZE:
		get_uleb(&run->from);
		return;
	case CFA_OFFSET_EXTENDED:
	case CFA_RESTORE_EXTENDED:
	case CFA_UNDEFINED:
	case CFA_SAME_VALUE:
	case CFA_REGISTER:
	case CFA_OFFSET_EXTENDED_SF:
	case CFA_VAL_OFFSET:
	case CFA_VAL_OFFSET_SF:
		run_register(run, code);
		return;
	case CFA_REMEMBER_STATE:
	case CFA_RESTORE_STATE:
		run_state(run, code);
		return;
	case CFA_DEF_CFA:
	case CFA_DEF_CFA_REGISTER:
	case CFA_DEF_CFA_OFFSET:
	case CFA_DEF_CFA_EXPRESSION:
	case CFA_DEF_CFA_SF:
	case CFA_DEF_CFA_OFFSET_SF:
		run_cfa(run, code);
		return;
	case CFA_EXPRESSION:
		set_register_expression(run, RECORD_CFI_EXPRESSION);
		return;
	case CFA_VAL_EXPRESSION:
		set_register_expression(run, RECORD_CFI_VALUE_EXPRESSION);
		return;
	default:
		run->from.bad = true;
	}
}

// False: this is no instruction that advances.
static bool get_advance(struct machine *run, uint8_t code, uint64_t *ret_location)
{
	uint64_t steps;

	if (code >> 6 == CFA_ADVANCE)
		steps = code & 0x3f;
	else if (code == CFA_ADVANCE_1 || code == CFA_ADVANCE_2)
		steps = get_bytes(&run->from, code - 1u);
	else if (code == CFA_ADVANCE_4)
		steps = get_bytes(&run->from, 4);
	else if (code == CFA_SET_LOC) {
		*ret_location = get_encoded(&run->from, run->cie->encoding);
		return true;
	} else
		return false;
	*ret_location = run->location + steps * run->cie->code_step;
	return true;
}

// Runs until the row that covers the address is complete.
static bool run_program(struct machine *run, uint64_t address)
{
	while (run->from.at < run->from.end && !run->from.bad) {
		uint8_t code = *run->from.at++;
		uint64_t next;

		if (get_advance(run, code, &next)) {
			if (next > address)
				break;
			run->location = next;
		} else if (code >> 6 == CFA_OFFSET)
			set(run, code & 0x3f, RECORD_CFI_OFFSET, get_factored(run));
		else if (code >> 6 == CFA_RESTORE)
			restore(run, code & 0x3f);
		else
			run_rule(run, code);
	}
	return !run->from.bad;
}

// aarch64 has no rule for the program counter, it returns through x30, which may still be in there.
static bool find_return(struct record_cfi *cfi, uint32_t number)
{
	struct record_cfi_rule *to = &cfi->rows[0].registers[inside_frame.pc];

	*to = cfi->rows[0].registers[number];
	if (to->how == RECORD_CFI_SAME)
		*to = (struct record_cfi_rule){ .how = RECORD_CFI_REGISTER, .value = number };
	return to->how != RECORD_CFI_REGISTER || number != inside_frame.pc;
}

bool record_cfi_find(struct record_cfi *cfi, const struct record_cfi_section *section,
                     uint64_t address)
{
	struct cie cie;
	struct fde fde;
	struct machine run = { .cfi = cfi, .cie = &cie };
	uint64_t fde_address;

	cfi->signal = false;
	if (!search_table(section, address, &fde_address) ||
	    !read_fde(section, fde_address, address, &cie, &fde, &cfi->signal) ||
	    cie.pc_register > inside_frame.pc)
		return false;
	memset(cfi->rows, 0, sizeof(cfi->rows[0]));
	run.from = cie.program;
	if (!run_program(&run, UINT64_MAX))
		return false;
	cfi->rows[1] = cfi->rows[0];
	cfi->start = fde.start;
	run.from = fde.program;
	run.location = fde.start;
	run.depth = 0;
	if (!run_program(&run, address))
		return false;
	return find_return(cfi, (uint32_t)cie.pc_register) &&
	       cfi->rows[0].cfa.how != RECORD_CFI_SAME;
}

// --- Registers of the caller ----------------------------------------------------------------------
// DWARF 5, table 7.9.
enum {
	OP_ADDR = 0x03,
	OP_DEREF = 0x06,
	OP_CONST1U = 0x08, // ... 0x0f: 1, 2, 4, 8 bytes, each unsigned and signed
	OP_CONST8S = 0x0f,
	OP_CONSTU = 0x10,
	OP_CONSTS = 0x11,
	OP_DUP = 0x12,
	OP_DROP = 0x13,
	OP_OVER = 0x14,
	OP_SWAP = 0x16,
	OP_AND = 0x1a,
	OP_MINUS = 0x1c,
	OP_MUL = 0x1e,
	OP_NEG = 0x1f,
	OP_NOT = 0x20,
	OP_OR = 0x21,
	OP_PLUS = 0x22,
	OP_PLUS_UCONST = 0x23,
	OP_SHL = 0x24,
	OP_SHR = 0x25,
	OP_SHRA = 0x26,
	OP_XOR = 0x27,
	OP_BRA = 0x28,
	OP_EQ = 0x29,
	OP_NE = 0x2e,
	OP_SKIP = 0x2f,
	OP_LIT0 = 0x30,
	OP_LIT31 = 0x4f,
	OP_BREG0 = 0x70,
	OP_BREG31 = 0x8f,
	OP_BREGX = 0x92,
	OP_NOP = 0x96,
	STEPS_MAX = 1000, // an expression may go in circles
};

struct evaluation {
	uint64_t *stack;
	unsigned depth;
	struct cursor from;
	const uint8_t *start;
	const struct record_registers *registers;
	record_cfi_read *read;
	void *context;
};

static void push(struct evaluation *run, uint64_t value)
{
	if (run->depth == RECORD_CFI_STACK)
		run->from.bad = true;
	else
		run->stack[run->depth++] = value;
}

static uint64_t pop(struct evaluation *run)
{
	if (run->depth)
		return run->stack[--run->depth];
	run->from.bad = true;
	return 0;
}

static uint64_t peek(struct evaluation *run, unsigned below)
{
	if (below < run->depth)
		return run->stack[run->depth - 1 - below];
	run->from.bad = true;
	return 0;
}

static bool get_register(const struct record_registers *registers, uint64_t number, uint64_t *ret)
{
	if (number >= inside_frame.registers || !(registers->known >> number & 1))
		return false;
	*ret = registers->values[number];
	return true;
}

static void push_register(struct evaluation *run, uint64_t number)
{
	uint64_t value = 0;
	int64_t offset = get_sleb(&run->from);

	run->from.bad |= !get_register(run->registers, number, &value);
	push(run, value + (uint64_t)offset);
}

static void push_constant(struct evaluation *run, uint8_t code)
{
	unsigned bytes = 1u << ((code - OP_CONST1U) / 2);

	if ((code - OP_CONST1U) % 2)
		push(run, (uint64_t)get_signed(&run->from, bytes));
	else
		push(run, get_bytes(&run->from, bytes));
}

static void dereference(struct evaluation *run)
{
	uint64_t value = 0;

	if (!run->read(run->context, pop(run), &value))
		run->from.bad = true;
	push(run, value);
}

static void jump(struct evaluation *run)
{
	int64_t by = get_signed(&run->from, 2);

	if (by < run->start - run->from.at || by > run->from.end - run->from.at)
		run->from.bad = true;
	else
		run->from.at += by;
}

static void swap(struct evaluation *run)
{
	uint64_t upper = pop(run), lower = pop(run);

	push(run, upper);
	push(run, lower);
}

static uint64_t compare(uint8_t code, int64_t a, int64_t b)
{
	switch (code) {
	case OP_EQ:
		return a == b;
	case OP_EQ + 1:
		return a >= b;
	case OP_EQ + 2:
		return a > b;
	case OP_EQ + 3:
		return a <= b;
	case OP_EQ + 4:
		return a < b;
	default:
		return a != b;
	}
}

static uint64_t shift(uint8_t code, uint64_t a, uint64_t by)
{
	if (code == OP_SHRA)
		return (uint64_t)((int64_t)a >> (by < 64 ? by : 63));
	if (by > 63)
		return 0;
	return code == OP_SHL ? a << by : a >> by;
}

static void operate_on_two(struct evaluation *run, uint8_t code)
{
	uint64_t b = pop(run), a = pop(run);

	if (code == OP_AND)
		push(run, a & b);
	else if (code == OP_OR)
		push(run, a | b);
	else if (code == OP_XOR)
		push(run, a ^ b);
	else if (code == OP_PLUS)
		push(run, a + b);
	else if (code == OP_MINUS)
		push(run, a - b);
	else if (code == OP_MUL)
		push(run, a * b);
	else if (code >= OP_SHL && code <= OP_SHRA)
		push(run, shift(code, a, b));
	else if (code >= OP_EQ && code <= OP_NE)
		push(run, compare(code, (int64_t)a, (int64_t)b));
	else
		run->from.bad = true;
}

static void operate(struct evaluation *run, uint8_t code)
{
	if (code >= OP_LIT0 && code <= OP_LIT31)
		push(run, code - OP_LIT0);
	else if (code >= OP_BREG0 && code <= OP_BREG31)
		push_register(run, code - OP_BREG0);
	else if (code >= OP_CONST1U && code <= OP_CONST8S)
		push_constant(run, code);
	else if (code == OP_BREGX)
		push_register(run, get_uleb(&run->from));
	else if (code == OP_ADDR)
		push(run, get_bytes(&run->from, 8));
	else if (code == OP_CONSTU)
		push(run, get_uleb(&run->from));
	else if (code == OP_CONSTS)
		push(run, (uint64_t)get_sleb(&run->from));
	else if (code == OP_DEREF)
		dereference(run);
	else if (code == OP_DUP || code == OP_OVER)
		push(run, peek(run, code == OP_OVER));
	else if (code == OP_DROP)
		pop(run);
	else if (code == OP_SWAP)
		swap(run);
	else if (code == OP_NEG)
		push(run, 0 - pop(run));
	else if (code == OP_NOT)
		push(run, ~pop(run));
	else if (code == OP_PLUS_UCONST)
		push(run, pop(run) + get_uleb(&run->from));
	else if (code == OP_SKIP || (code == OP_BRA && pop(run)))
		jump(run);
	else if (code == OP_BRA)
		get_bytes(&run->from, 2);
	else if (code != OP_NOP)
		operate_on_two(run, code);
}

static bool evaluate(struct record_cfi *cfi, const struct record_registers *registers,
                     record_cfi_read *read, void *context, const struct record_cfi_rule *rule,
                     const uint64_t *first, uint64_t *ret)
{
	const uint8_t *start = (const uint8_t *)(uintptr_t)rule->value;
	struct evaluation run = {
		.stack = cfi->stack,
		.from = { .at = start, .end = start + rule->bytes },
		.start = start,
		.registers = registers,
		.read = read,
		.context = context,
	};

	if (first)
		push(&run, *first);
	for (int steps = 0; run.from.at < run.from.end && !run.from.bad; steps++) {
		operate(&run, (uint8_t)get_bytes(&run.from, 1));
		run.from.bad |= steps == STEPS_MAX;
	}
	*ret = pop(&run);
	return !run.from.bad;
}

static bool find_value(struct record_cfi *cfi, const struct record_registers *registers,
                       record_cfi_read *read, void *context, uint64_t cfa, unsigned number,
                       uint64_t *ret)
{
	const struct record_cfi_rule *rule = &cfi->rows[0].registers[number];

	switch (rule->how) {
	case RECORD_CFI_SAME:
		return get_register(registers, number, ret);
	case RECORD_CFI_REGISTER:
		return get_register(registers, (uint64_t)rule->value, ret);
	case RECORD_CFI_OFFSET:
		return read(context, cfa + (uint64_t)rule->value, ret);
	case RECORD_CFI_VALUE_OFFSET:
		*ret = cfa + (uint64_t)rule->value;
		return true;
	case RECORD_CFI_EXPRESSION:
		return evaluate(cfi, registers, read, context, rule, &cfa, ret) &&
		       read(context, *ret, ret);
	case RECORD_CFI_VALUE_EXPRESSION:
		return evaluate(cfi, registers, read, context, rule, &cfa, ret);
	default:
		return false;
	}
}

bool record_cfi_step(struct record_cfi *cfi, struct record_registers *registers,
                     record_cfi_read *read, void *context)
{
	const struct record_cfi_row *row = &cfi->rows[0];
	struct record_registers caller = { 0 };
	uint64_t cfa;

	if (row->cfa.how == RECORD_CFI_OFFSET) {
		if (!get_register(registers, row->cfa_register, &cfa))
			return false;
		cfa += (uint64_t)row->cfa.value;
	} else if (!evaluate(cfi, registers, read, context, &row->cfa, NULL, &cfa))
		return false;
	for (unsigned i = 0; i < inside_frame.registers; i++)
		if (find_value(cfi, registers, read, context, cfa, i, &caller.values[i]))
			caller.known |= UINT64_C(1) << i;
	// Unless it is saved like another register, as by a signal.
	if (row->registers[inside_frame.sp].how == RECORD_CFI_SAME) {
		caller.values[inside_frame.sp] = cfa;
		caller.known |= UINT64_C(1) << inside_frame.sp;
	}
	*registers = caller;
	return caller.known >> inside_frame.pc & 1 && caller.known >> inside_frame.sp & 1;
}
