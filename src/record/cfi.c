// SPDX-License-Identifier: MIT
// Call frame information, read where it lies (record/cfi.h): the table of a module, the entries of a
// function, the programs in them. Relies on nothing; called by rules.c when a place is met for the first
// time and by unwind.c for the few functions whose rules are long.
#include "record/cfi.h"
#include "record/bytes.h"

#include <string.h>

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
	CFA_NEGATE_RA_STATE =
		0x2d, // aarch64: the return address is signed from here on, or no more
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

	set_expression(
		run, number < inside_frame.registers ? &run->cfi->rows[0].registers[number] : NULL,
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
	memset(cfi->rows, 0, 2 * sizeof(cfi->rows[0]));
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
