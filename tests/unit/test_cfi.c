// SPDX-License-Identifier: MIT
// Call frame information that the tests write byte by byte: what each instruction means, expressions,
// and that damaged bytes are refused and never read past.
#include "unit.h"

#include "record/cfi.h"

enum { CODE_DISTANCE = 0x1000, CODE_BYTES = 64, TABLE_BYTES = 512 };

// A header with one row, a CIE and an FDE for CODE_BYTES of code that begins CODE_DISTANCE behind the
// header.
struct table {
	uint8_t bytes[TABLE_BYTES];
	size_t count;
	size_t cie, fde;
	uint8_t common[2]; // instructions of the CIE
};

static void put(struct table *table, const void *bytes, size_t count)
{
	assert_true(table->count + count <= sizeof(table->bytes));
	memcpy(table->bytes + table->count, bytes, count);
	table->count += count;
}

static void put_32(struct table *table, uint32_t value)
{
	put(table, &value, sizeof(value));
}

static void patch_32(struct table *table, size_t at, uint32_t value)
{
	memcpy(table->bytes + at, &value, sizeof(value));
}

static void end_entry(struct table *table, size_t start)
{
	while (table->count % 8)
		put(table, "", 1); // DW_CFA_nop
	patch_32(table, start, (uint32_t)(table->count - start - 4));
}

static uint8_t register_of(unsigned number)
{
	return (uint8_t)number;
}

static void put_cie(struct table *table, const char *letters, const void *data, size_t bytes)
{
	// CFA = sp + 8, the return address is saved at CFA - 8.
	const uint8_t start[] = { 0x0c, inside_frame.sp, 8, 0x80 | inside_frame.pc, 1 };
	uint8_t length = (uint8_t)bytes;

	table->cie = table->count;
	put_32(table, 0);
	put_32(table, 0);
	put(table, "\1", 1);
	put(table, letters, strlen(letters) + 1);
	put(table, "\1\x78", 2); // code by 1, data by -8
	put(table, (uint8_t[]){ register_of(inside_frame.pc) }, 1);
	put(table, &length, 1);
	put(table, data, bytes);
	put(table, start, sizeof(start));
	put(table, table->common, sizeof(table->common));
	end_entry(table, table->cie);
}

static void put_fde(struct table *table, const void *program, size_t bytes)
{
	table->fde = table->count;
	patch_32(table, 16, (uint32_t)table->fde);
	put_32(table, 0);
	put_32(table, (uint32_t)(table->count - table->cie));
	put_32(table, (uint32_t)(CODE_DISTANCE - table->count)); // relative to itself
	put_32(table, CODE_BYTES);
	put(table, "", 1); // no augmentation
	put(table, program, bytes);
	end_entry(table, table->fde);
}

static void make(struct table *table, const char *letters, const void *program, size_t bytes)
{
	table->count = 0;
	put(table, "\1\x1b\3\x3b", 4);
	put_32(table, 16);
	put_32(table, 1);
	put_32(table, CODE_DISTANCE);
	put_32(table, 0);
	while (table->count % 8)
		put(table, "", 1);
	put_cie(table, letters, "\x1b", 1);
	put_fde(table, program, bytes);
}

static struct record_cfi cfi;

static bool find_in(const uint8_t *bytes, size_t count, unsigned code_offset)
{
	struct record_cfi_section section = { bytes, bytes + count, bytes };

	return record_cfi_find(&cfi, &section, (uintptr_t)bytes + CODE_DISTANCE + code_offset);
}

#define FIND(program, offset)                                  \
	({                                                     \
		static struct table table_;                    \
		table_ = (struct table){ 0 };                  \
		make(&table_, "zR", program, sizeof(program)); \
		find_in(table_.bytes, table_.count, offset);   \
	})

static const struct record_cfi_rule *rule_of(unsigned number)
{
	return &cfi.rows[0].registers[number];
}

// --- Programs -------------------------------------------------------------------------------------
static void a_row_ends_where_the_code_advances(void **state)
{
	// After 4 bytes the frame is 8 larger, after 2 more bp is saved at CFA - 16, at the end all is off.
	const uint8_t program[] = { 0x44, 0x0e, 16, 0x42, 0x86, 2, 0x02, 20, 0x0e, 8, 0xc6 };

	(void)state;
	assert_true(FIND(program, 3));
	assert_int_equal(cfi.rows[0].cfa.value, 8);
	assert_true(FIND(program, 4));
	assert_int_equal(cfi.rows[0].cfa.value, 16);
	assert_int_equal(rule_of(6)->how, RECORD_CFI_SAME);
	assert_true(FIND(program, 6));
	assert_int_equal(rule_of(6)->how, RECORD_CFI_OFFSET);
	assert_int_equal(rule_of(6)->value, -16);
	assert_true(FIND(program, 26));
	assert_int_equal(cfi.rows[0].cfa.value, 8);
	assert_int_equal(rule_of(6)->how, RECORD_CFI_SAME);
}

static void addresses_outside_have_no_row(void **state)
{
	const uint8_t program[] = { 0 };

	(void)state;
	assert_true(FIND(program, CODE_BYTES - 1));
	assert_false(FIND(program, CODE_BYTES));
	assert_false(FIND(program, (unsigned)-1));
}

static void remembered_rows_come_back(void **state)
{
	const uint8_t program[] = { 0x0e, 32, 0x0a, 0x41, 0x0e, 8, 0x41, 0x0b };

	(void)state;
	assert_true(FIND(program, 1));
	assert_int_equal(cfi.rows[0].cfa.value, 8);
	assert_true(FIND(program, 2));
	assert_int_equal(cfi.rows[0].cfa.value, 32);
}

static void rows_are_remembered_to_a_depth_and_not_beyond(void **state)
{
	uint8_t program[RECORD_CFI_ROWS + 1];
	const uint8_t nothing_remembered[] = { 0x0b };

	(void)state;
	memset(program, 0x0a, sizeof(program));
	assert_false(FIND(program, 0));
	program[0] = 0;
	assert_true(FIND(program, 0));
	assert_false(FIND(nothing_remembered, 0));
}

static void tables_know_nothing_of_each_other(void **state)
{
	struct table saves = { .common = { 0x83, 2 } }, restores = { .common = { 0xc3 } };

	(void)state;
	make(&saves, "zR", "", 1);
	make(&restores, "zR", "", 1);
	assert_true(find_in(saves.bytes, saves.count, 0));
	assert_int_equal(rule_of(3)->how, RECORD_CFI_OFFSET);
	assert_true(find_in(restores.bytes, restores.count, 0));
	assert_int_equal(rule_of(3)->how, RECORD_CFI_SAME);
}

static void a_signal_frame_says_so(void **state)
{
	struct table table = { 0 };

	(void)state;
	make(&table, "zRS", "", 1);
	assert_true(find_in(table.bytes, table.count, 0));
	assert_true(cfi.signal);
	make(&table, "zR", "", 1);
	assert_true(find_in(table.bytes, table.count, 0));
	assert_false(cfi.signal);
}

static void an_unknown_instruction_is_refused(void **state)
{
	const uint8_t program[] = { 0x3f };
	const uint8_t later[] = { 0x44, 0x3f };

	(void)state;
	assert_false(FIND(program, 0));
	assert_true(FIND(later, 3));
	assert_false(FIND(later, 4));
}

static void registers_that_nobody_has_are_refused(void **state)
{
	const uint8_t cfa_by_register_99[] = { 0x0c, 99, 8 };
	const uint8_t vector_is_saved[] = { 0x05, 60, 3 };

	(void)state;
	assert_false(FIND(cfa_by_register_99, 0));
	assert_true(FIND(vector_is_saved, 0));
}

// --- Registers of the caller ----------------------------------------------------------------------
static uint64_t memory[16];

static bool read_memory(void *context, uint64_t address, uint64_t *ret)
{
	uint64_t offset = address - (uintptr_t)memory;

	(void)context;
	if (offset % 8 || offset >= sizeof(memory))
		return false;
	*ret = memory[offset / 8];
	return true;
}

static struct record_registers registers_at(unsigned word)
{
	struct record_registers registers = { .known = UINT64_MAX };

	for (unsigned i = 0; i < 16; i++)
		memory[i] = 1000 + i;
	for (unsigned i = 0; i < INSIDE_REGISTERS; i++)
		registers.values[i] = 100 + i;
	registers.values[inside_frame.sp] = (uintptr_t)&memory[word];
	return registers;
}

static void the_caller_is_found_on_the_stack(void **state)
{
	const uint8_t program[] = { 0x0e, 32, 0x86, 3, 0x83, 2 };
	struct record_registers registers = registers_at(4);

	(void)state;
	assert_true(FIND(program, 0));
	assert_true(record_cfi_step(&cfi, &registers, read_memory, NULL));
	assert_int_equal(registers.values[inside_frame.sp], (uintptr_t)&memory[8]);
	assert_int_equal(registers.values[inside_frame.pc], 1007);
	assert_int_equal(registers.values[6], 1005);
	assert_int_equal(registers.values[3], 1006);
	assert_int_equal(registers.values[12], 112);
}

static void what_cannot_be_read_ends_the_walk(void **state)
{
	const uint8_t program[] = { 0x0e, 32 };
	struct record_registers registers = registers_at(15);

	(void)state;
	assert_true(FIND(program, 0));
	assert_false(record_cfi_step(&cfi, &registers, read_memory, NULL));
}

static void a_register_that_is_lost_is_not_used(void **state)
{
	const uint8_t program[] = { 0x0c, 3, 8 };
	struct record_registers registers = registers_at(4);

	(void)state;
	registers.known &= ~(UINT64_C(1) << 3);
	assert_true(FIND(program, 0));
	assert_false(record_cfi_step(&cfi, &registers, read_memory, NULL));
}

// The CFA is what the operations leave.
#define CFA_OF(...)                                                                        \
	({                                                                                 \
		const uint8_t operations_[] = { __VA_ARGS__ };                             \
		uint8_t program_[sizeof(operations_) + 2] = { 0x0f, sizeof(operations_) }; \
		struct record_registers registers_ = registers_at(4);                      \
		memcpy(program_ + 2, operations_, sizeof(operations_));                    \
		FIND(program_, 0) && record_cfi_step(&cfi, &registers_, read_memory, NULL) \
			? registers_.values[inside_frame.sp]                               \
			: 0;                                                               \
	})

static void expressions_compute(void **state)
{
	const uint64_t words = (uintptr_t)memory;
	const uint8_t sp = (uint8_t)(0x70 + inside_frame.sp);

	(void)state;
	assert_int_equal(CFA_OF(sp, 8), words + 40);
	assert_int_equal(CFA_OF(sp, 0x78), words + 24); // -8
	assert_int_equal(CFA_OF(sp, 0, 0x23, 16), words + 48);
	assert_int_equal(CFA_OF(sp, 0, 0x38, 0x22), words + 40);
	assert_int_equal(CFA_OF(sp, 0, 0x38, 0x38, 0x1e, 0x22), words + 96);
	assert_int_equal(CFA_OF(sp, 0, 0x12, 0x13), words + 32);
	assert_int_equal(CFA_OF(sp, 0, 0x33, 0x33, 0x24, 0x22), words + 56);
	// x >= 3 ? 8 : 0, as in the entries of procedure linkage tables
	assert_int_equal(CFA_OF(sp, 0, 0x35, 0x33, 0x2a, 0x33, 0x24, 0x22), words + 40);
	assert_int_equal(CFA_OF(sp, 0, 0x31, 0x33, 0x2a, 0x33, 0x24, 0x22), words + 32);
	// a jump over an operation that would spoil it
	assert_int_equal(CFA_OF(sp, 8, 0x2f, 1, 0, 0x06), words + 40);
}

static void expressions_that_are_wrong_are_refused(void **state)
{
	const uint8_t sp = (uint8_t)(0x70 + inside_frame.sp);

	(void)state;
	assert_int_equal(CFA_OF(0x22), 0);                    // nothing to add
	assert_int_equal(CFA_OF(0x13), 0);                    // nothing to drop
	assert_int_equal(CFA_OF(sp), 0);                      // its offset is missing
	assert_int_equal(CFA_OF(0x30, 0x06), 0);              // reads address 0
	assert_int_equal(CFA_OF(sp, 0, 0x2f, 0xfd, 0xff), 0); // goes in a circle
	assert_int_equal(CFA_OF(sp, 0, 0x2f, 100, 0), 0);     // leaves
	assert_int_equal(CFA_OF(sp, 0, 0x2f, 0, 0x80), 0);
	assert_int_equal(CFA_OF(sp, 0, 0xff), 0);
	assert_int_equal(CFA_OF(0x30, 0x12, 0x12, 0x12, 0x12, 0x12, 0x12, 0x12, 0x12, 0x12, 0x12,
	                        0x12, 0x12, 0x12, 0x12, 0x12, 0x12, 0x12),
	                 0); // too many words
}

// --- Damage ---------------------------------------------------------------------------------------
static const uint8_t everything[] = {
	0x44, 0x0e, 16,   0x86, 2, 0x42, 0x0d, 6,    0x0a, 0x02, 3, 0x16, 3,    2,
	0x76, 0x70, 0x10, 12,   3, 0x76, 0x78, 0x06, 0x0b, 0x0f, 3, 0x76, 0x70, 0x06,
};

// Memory of its own, so that a sanitizer sees where it ends.
static void look_everywhere(const uint8_t *bytes, size_t count)
{
	uint8_t *copy = malloc(count ? count : 1);

	assert_non_null(copy);
	memcpy(copy, bytes, count);
	for (unsigned offset = 0; offset < CODE_BYTES; offset += 5) {
		struct record_registers registers = registers_at(4);

		if (find_in(copy, count, offset))
			(void)record_cfi_step(&cfi, &registers, read_memory, NULL);
	}
	free(copy);
}

static void tables_that_end_early_are_refused(void **state)
{
	struct table table = { 0 };

	(void)state;
	make(&table, "zR", everything, sizeof(everything));
	assert_true(find_in(table.bytes, table.count, 20));
	for (size_t count = 0; count < table.count; count++)
		look_everywhere(table.bytes, count);
	assert_false(find_in(table.bytes, table.count - 8, 20));
}

static void no_value_of_any_byte_does_harm(void **state)
{
	static const uint8_t values[] = { 0, 1, 0x7f, 0x80, 0xfe, 0xff };
	struct table table = { 0 };

	(void)state;
	make(&table, "zR", everything, sizeof(everything));
	for (size_t i = 0; i < table.count; i++) {
		uint8_t good = table.bytes[i];

		for (size_t k = 0; k < sizeof(values); k++) {
			table.bytes[i] = values[k];
			look_everywhere(table.bytes, table.count);
			table.bytes[i] = (uint8_t)(good ^ values[k]);
			look_everywhere(table.bytes, table.count);
		}
		table.bytes[i] = good;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_row_ends_where_the_code_advances),
		cmocka_unit_test(addresses_outside_have_no_row),
		cmocka_unit_test(remembered_rows_come_back),
		cmocka_unit_test(rows_are_remembered_to_a_depth_and_not_beyond),
		cmocka_unit_test(tables_know_nothing_of_each_other),
		cmocka_unit_test(a_signal_frame_says_so),
		cmocka_unit_test(an_unknown_instruction_is_refused),
		cmocka_unit_test(registers_that_nobody_has_are_refused),
		cmocka_unit_test(the_caller_is_found_on_the_stack),
		cmocka_unit_test(what_cannot_be_read_ends_the_walk),
		cmocka_unit_test(a_register_that_is_lost_is_not_used),
		cmocka_unit_test(expressions_compute),
		cmocka_unit_test(expressions_that_are_wrong_are_refused),
		cmocka_unit_test(tables_that_end_early_are_refused),
		cmocka_unit_test(no_value_of_any_byte_does_harm),
	};

	return cmocka_run_group_tests_name("call frame information", tests, NULL, NULL);
}
