// SPDX-License-Identifier: MIT
// The registers of the caller, from a row of call frame information and what it says about memory
// (record/cfi.h): all registers, and expressions. Relies on a function of the caller for memory; called
// by unwind.c.
#include "record/bytes.h"
#include "record/cfi.h"

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
