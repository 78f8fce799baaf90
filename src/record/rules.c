// SPDX-License-Identifier: MIT
// From a place in the code to the rule by which its caller is found (record/unwind.h). Each thread
// keeps the rules that it met, and all threads share a larger table of them, so that a new thread need
// not read the program's tables again. Called by unwind.c.
//
// An entry is the upper bits of the address and the rule in one word; the lower bits of the address are
// its index. A word is read and written at once, so the shared table needs no lock.
#include "record/unwind.h"

#include <string.h>

enum { SHARED_BITS = 16, PREFIX_SHIFT = RECORD_RULES_BITS };

static uint64_t *shared;

static int64_t words_of(int64_t bytes)
{
	return bytes % 8 ? -1 : bytes / 8;
}

// The frame pointer: 0 unchanged, else how many words below the CFA; -1: neither.
static int64_t bp_words_of(const struct record_cfi_row *row)
{
	const struct record_cfi_rule *bp = &row->registers[inside_frame.bp];
	int64_t words;

	if (bp->how == RECORD_CFI_SAME)
		return 0;
	words = bp->how == RECORD_CFI_OFFSET ? words_of(-bp->value) : -1;
	return words > 0 && words < 64 ? words : -1;
}

static uint32_t pack_register(const struct record_cfi_row *row)
{
	int64_t bp_words = bp_words_of(row), words = words_of(row->cfa.value);

	if (bp_words < 0 || words < 0 || words >= 1 << 19)
		return RECORD_RULE_OTHER;
	if (row->cfa_register == inside_frame.sp)
		return record_rule_make(RECORD_RULE_SP, (uint32_t)words, (uint32_t)bp_words);
	if (row->cfa_register == inside_frame.bp)
		return record_rule_make(RECORD_RULE_BP, (uint32_t)words, (uint32_t)bp_words);
	return RECORD_RULE_OTHER;
}

// Expressions that gcc writes for functions that realign their stack on x86-64: the CFA was stored
// below the frame pointer (DW_OP_breg6 -n, DW_OP_deref), and the caller's frame pointer lies where ours
// points to (DW_OP_breg6 0).
enum { OP_BREG_BP = 0x76, OP_DEREF = 0x06 };

static bool is_saved_at_bp(const struct record_cfi_rule *rule)
{
	const uint8_t *bytes = (const uint8_t *)(uintptr_t)rule->value;

	return rule->how == RECORD_CFI_EXPRESSION && rule->bytes == 2 && bytes[0] == OP_BREG_BP &&
	       bytes[1] == 0;
}

static uint32_t pack_expression(const struct record_cfi_row *row)
{
	const struct record_cfi_rule *rule = &row->cfa;
	const uint8_t *bytes = (const uint8_t *)(uintptr_t)rule->value;
	int64_t offset;

	if (inside_frame.bp != OP_BREG_BP - 0x70 ||
	    !is_saved_at_bp(&row->registers[inside_frame.bp]))
		return RECORD_RULE_OTHER;
	if (rule->bytes < 3 || rule->bytes > 4 || bytes[0] != OP_BREG_BP ||
	    bytes[rule->bytes - 1] != OP_DEREF)
		return RECORD_RULE_OTHER;
	offset = bytes[1] & 0x7f; // a signed number of one or two groups of seven bits
	if (rule->bytes == 4)
		offset |= (int64_t)bytes[2] << 7;
	offset -= offset >> (7 * (rule->bytes - 2) - 1) ? 1 << 7 * (rule->bytes - 2) : 0;
	if (bytes[1] >> 7 != (rule->bytes == 4) || offset >= 0 || offset % 8)
		return RECORD_RULE_OTHER;
	return record_rule_make(RECORD_RULE_MEMORY, (uint32_t)(-offset / 8), 0);
}

static uint32_t pack(const struct record_cfi *cfi)
{
	const struct record_cfi_row *row = &cfi->rows[0];
	const struct record_cfi_rule *pc = &row->registers[inside_frame.pc];

	if (pc->how == RECORD_CFI_UNDEFINED)
		return RECORD_RULE_END;
	if (cfi->signal)
		return RECORD_RULE_SIGNAL;
	if (inside_frame.has_records)
		return RECORD_RULE_RECORD;
	if (pc->how != RECORD_CFI_OFFSET || pc->value != -8 ||
	    row->registers[inside_frame.sp].how != RECORD_CFI_SAME)
		return RECORD_RULE_OTHER;
	return row->cfa.how == RECORD_CFI_OFFSET ? pack_register(row) : pack_expression(row);
}

// C libraries other than glibc have no tables for the stub to which handlers return.
static bool is_signal_stub(uint64_t key)
{
	const uint64_t *code = (const uint64_t *)(uintptr_t)(key + 1);

	return inside_readable_word(code) && inside_readable_word(code + 1) &&
	       inside_signal_stub(code);
}

// Where nobody called from: the bottom of a stack that was made by hand returns to the first
// instruction of a function (glibc's makecontext and __start_context).
static bool is_bottom(struct record_unwinder *u, const struct record_cfi_section *section,
                      uint64_t key)
{
	return !inside_follows_call((const uint8_t *)(uintptr_t)(key + 1)) &&
	       record_cfi_find(&u->cfi, section, key + 1) && u->cfi.start == key + 1;
}

static uint32_t make_rule(struct record_unwinder *u, uint64_t key)
{
	struct record_cfi_section section;
	bool found = record_modules_find(key, &section);
	uint32_t rule = RECORD_RULE_NONE;

	if (found && record_cfi_find(&u->cfi, &section, key))
		rule = pack(&u->cfi);
	if (found && rule != RECORD_RULE_SIGNAL && is_bottom(u, &section, key))
		return RECORD_RULE_END;
	if (rule != RECORD_RULE_NONE)
		return rule;
	if (is_signal_stub(key))
		return RECORD_RULE_SIGNAL;
	return found && inside_frame.has_records ? RECORD_RULE_RECORD : RECORD_RULE_NONE;
}

static uint64_t *shared_entry(uint64_t key)
{
	uint64_t *table = __atomic_load_n(&shared, __ATOMIC_ACQUIRE);
	uint64_t *none = NULL;

	if (!table) {
		table = inside_map(sizeof(*table) << SHARED_BITS, 4096, INSIDE_READ_WRITE);
		if (!table)
			return NULL;
		if (!__atomic_compare_exchange_n(&shared, &none, table, false, __ATOMIC_ACQ_REL,
		                                 __ATOMIC_ACQUIRE)) {
			inside_unmap(table, sizeof(*table) << SHARED_BITS);
			table = none;
		}
	}
	return table + (key & ((1 << SHARED_BITS) - 1));
}

uint32_t record_rules_find(struct record_unwinder *u, uint64_t key)
{
	uint64_t *entry = shared_entry(key);
	uint64_t prefix = key >> PREFIX_SHIFT;
	uint64_t found = entry ? __atomic_load_n(entry, __ATOMIC_RELAXED) : 0;

	if (!found || found >> RECORD_RULE_BITS != prefix) {
		found = prefix << RECORD_RULE_BITS | make_rule(u, key);
		if (entry)
			__atomic_store_n(entry, found, __ATOMIC_RELAXED);
	}
	u->rules[key & ((1 << RECORD_RULES_BITS) - 1)] = found;
	return (uint32_t)found & ((1u << RECORD_RULE_BITS) - 1);
}

void record_rules_forget(struct record_unwinder *u)
{
	memset(u->rules, 0, sizeof(u->rules));
}

void record_rules_forget_shared(void)
{
	uint64_t *table = __atomic_load_n(&shared, __ATOMIC_ACQUIRE);

	for (size_t i = 0; table && i < (size_t)1 << SHARED_BITS; i++)
		__atomic_store_n(&table[i], 0, __ATOMIC_RELAXED);
}
