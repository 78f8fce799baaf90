// SPDX-License-Identifier: MIT
// Patched functions on x86-64: how long instructions are, which of them may stand at
// another place, and the island. Encodings: Intel's manual, volume 2, appendix A. What is not in the
// tables here is refused.
#include "os/patch.h"

#if defined(__x86_64__)

#include <stdbool.h>
#include <string.h>

#define JUMP_BYTES        5
#define ISLAND_ORIGINAL   16 // behind jmp *0(%rip) and the address
#define WORD_BYTES        8
#define INSTRUCTION_BYTES 15

enum shape {
	NOT_KNOWN = 0,
	PLAIN = 1,
	OPERAND = 2, // a ModR/M byte follows
	BYTE = 4,    // an immediate byte
	WIDE = 8,    // an immediate of 4 bytes, 2 with a prefix, 8 for mov with REX.W
	NEAR = 16,   // a distance of 1 byte
	FAR = 32,    // a distance of 4 bytes
	ALWAYS = 64, // nothing behind it is executed
};

struct instruction {
	unsigned bytes;
	unsigned opcode_at;   // of its last opcode byte
	unsigned distance_at; // of a distance to elsewhere, 0 none
	unsigned distance_bytes;
	bool jumps, ends;
};

static unsigned shape_of(uint8_t code)
{
	if (code < 0x40)
		return (code & 7) < 4    ? OPERAND
		       : (code & 7) == 4 ? PLAIN | BYTE
		       : (code & 7) == 5 ? PLAIN | WIDE
		                         : NOT_KNOWN;
	if (code >= 0x50 && code < 0x60)
		return PLAIN;
	if (code >= 0x70 && code < 0x80)
		return NEAR;
	if (code >= 0xb0 && code < 0xc0)
		return PLAIN | (code < 0xb8 ? BYTE : WIDE);
	switch (code) {
	case 0x63: // movslq
	case 0x84: // test, xchg, mov
	case 0x85:
	case 0x86:
	case 0x87:
	case 0x88:
	case 0x89:
	case 0x8a:
	case 0x8b:
	case 0x8d: // lea
	case 0xd0: // shifts
	case 0xd1:
	case 0xd2:
	case 0xd3:
	case 0xf6: // test with an immediate, not, neg, mul, div
	case 0xf7:
	case 0xfe: // inc, dec
	case 0xff: // and push, jmp
		return OPERAND;
	case 0x69: // imul
	case 0x81:
	case 0xc7:
		return OPERAND | WIDE;
	case 0x6b:
	case 0x80:
	case 0x83:
	case 0xc0:
	case 0xc1:
	case 0xc6:
		return OPERAND | BYTE;
	case 0x68: // push
	case 0xa9: // test
		return PLAIN | WIDE;
	case 0x6a:
	case 0xa8:
		return PLAIN | BYTE;
	case 0x90: // nop, cltq, cqto
	case 0x98:
	case 0x99:
		return PLAIN;
	case 0xc3: // ret
		return PLAIN | ALWAYS;
	case 0xe9:
		return FAR | ALWAYS;
	case 0xeb:
		return NEAR | ALWAYS;
	default:
		return NOT_KNOWN;
	}
}

static unsigned shape_of_long(uint8_t code)
{
	if (code >= 0x80 && code < 0x90)
		return FAR;
	if ((code >= 0x10 && code < 0x18) || (code >= 0x1e && code < 0x20) || // moves, endbr, nop
	    (code >= 0x28 && code < 0x30) || (code >= 0x40 && code < 0x60) || // cmov, arithmetic
	    (code >= 0x60 && code < 0x70) || (code >= 0x90 && code < 0xa0))   // setcc
		return OPERAND;
	switch (code) {
	case 0x7e:
	case 0x7f:
	case 0xaf: // imul
	case 0xb0: // cmpxchg
	case 0xb1:
	case 0xb6: // movzx, movsx
	case 0xb7:
	case 0xbc: // bsf, bsr
	case 0xbd:
	case 0xbe:
	case 0xbf:
	case 0xc0: // xadd
	case 0xc1:
	case 0xd6:
	case 0xef: // pxor
		return OPERAND;
	default:
		return NOT_KNOWN;
	}
}

// Which ModR/M forms of an opcode take an immediate, go elsewhere, or are not known.
static unsigned refine(uint8_t code, uint8_t operand, unsigned shape)
{
	unsigned which = operand >> 3 & 7;

	if (code == 0xf6 || code == 0xf7)
		return which < 2 ? shape | (code == 0xf6 ? BYTE : WIDE) : shape;
	if (code == 0xff && which == 4)
		return shape | ALWAYS;
	if (code == 0xff && which != 0 && which != 1 && which != 6)
		return NOT_KNOWN; // calls: their return address would lie elsewhere
	return shape;
}

static unsigned operand_bytes(const uint8_t *code, unsigned at, struct instruction *ret)
{
	uint8_t operand = code[at], mode = operand >> 6, base = operand & 7;
	unsigned bytes = 1;

	if (mode == 3)
		return bytes;
	if (base == 4)
		base = code[at + bytes++] & 7;
	else if (mode == 0 && base == 5)
		ret->distance_at = at + bytes; // relative to the next instruction
	if (ret->distance_at)
		ret->distance_bytes = 4;
	if (mode == 1)
		return bytes + 1;
	return mode == 2 || base == 5 ? bytes + 4 : bytes;
}

// code has INSTRUCTION_BYTES and more. False for what is not known.
static bool decode(const uint8_t *code, struct instruction *ret)
{
	bool narrow = false, wide = false;
	unsigned at = 0, shape;

	*ret = (struct instruction){ 0 };
	while (code[at] == 0x66 || code[at] == 0xf2 || code[at] == 0xf3 || code[at] == 0x64 ||
	       code[at] == 0x65) {
		narrow |= code[at] == 0x66;
		if (++at > 4)
			return false;
	}
	if ((code[at] & 0xf0) == 0x40)
		wide = code[at++] & 8;
	bool is_long = code[at] == 0x0f;

	at += is_long;
	ret->opcode_at = at;
	uint8_t opcode = code[at++];

	shape = is_long ? shape_of_long(opcode) : shape_of(opcode);
	if (shape & OPERAND && !is_long)
		shape = refine(opcode, code[at], shape);
	if (shape == NOT_KNOWN)
		return false;
	if (shape & OPERAND)
		at += operand_bytes(code, at, ret);
	if (shape & (NEAR | FAR)) {
		if (ret->opcode_at != is_long)
			return false; // prefixes change what a jump means
		ret->jumps = true;
		ret->distance_at = at;
		ret->distance_bytes = shape & NEAR ? 1 : 4;
		at += ret->distance_bytes;
	}
	if (shape & BYTE)
		at += 1;
	if (shape & WIDE)
		at += !is_long && (opcode & 0xf8) == 0xb8 && wide ? 8 : narrow ? 2 : 4;
	ret->bytes = at;
	ret->ends = shape & ALWAYS;
	return at <= INSTRUCTION_BYTES;
}

static int64_t distance(const uint8_t *code, const struct instruction *instruction)
{
	int32_t wide;

	if (instruction->distance_bytes == 1)
		return (int8_t)code[instruction->distance_at];
	memcpy(&wide, code + instruction->distance_at, sizeof(wide));
	return wide;
}

static bool put_distance(uint8_t *at, uint64_t from, uint64_t to)
{
	int64_t far = (int64_t)(to - from);
	int32_t near = (int32_t)far;

	memcpy(at, &near, sizeof(near));
	return near == far;
}

struct mover {
	uint64_t site, there; // there: where what is at `used` will stand
	uint8_t *out;
	unsigned used;
};

static bool put_jump(struct mover *mover, uint64_t to)
{
	uint8_t *out = mover->out + mover->used;

	*out = 0xe9;
	mover->used += JUMP_BYTES;
	return put_distance(out + 1, mover->there + mover->used, to);
}

static bool put_condition(struct mover *mover, uint8_t condition, uint64_t to)
{
	uint8_t *out = mover->out + mover->used;

	out[0] = 0x0f;
	out[1] = 0x80 | condition;
	mover->used += 6;
	return put_distance(out + 2, mover->there + mover->used, to);
}

// One instruction at its new place; short jumps become long ones.
static bool move(struct mover *mover, const uint8_t *code, unsigned at,
                 const struct instruction *instruction)
{
	const uint8_t *from = code + at;
	uint8_t *out = mover->out + mover->used;
	uint64_t next = mover->site + at + instruction->bytes;
	uint64_t to = instruction->distance_at ? next + (uint64_t)distance(from, instruction) : 0;

	if (instruction->jumps && instruction->ends)
		return put_jump(mover, to);
	if (instruction->jumps)
		return put_condition(mover, from[instruction->opcode_at] & 0x0f, to);
	memcpy(out, from, instruction->bytes);
	mover->used += instruction->bytes;
	return !instruction->distance_at ||
	       put_distance(out + instruction->distance_at, mover->there + mover->used, to);
}

static bool leads_into(const uint8_t *code, unsigned at, const struct instruction *instruction,
                       unsigned covered)
{
	int64_t to = (int64_t)at + instruction->bytes;

	return instruction->jumps && (to += distance(code + at, instruction)) >= 0 && to < covered;
}

// A loop back into the replaced bytes would meet half a jump. What follows the replaced instructions is
// looked through as far as it is understood.
static bool is_led_into(const uint8_t *code, size_t bytes, unsigned covered)
{
	struct instruction instruction;

	for (unsigned at = 0; at + INSTRUCTION_BYTES <= bytes; at += instruction.bytes) {
		if (!decode(code + at, &instruction))
			return false;
		if (leads_into(code, at, &instruction, covered))
			return true;
		if (instruction.ends && at >= covered)
			return false;
	}
	return false;
}

static const char *move_start(struct mover *mover, const uint8_t *code, size_t bytes,
                              unsigned *ret_covered)
{
	struct instruction instruction = { 0 };
	unsigned at = 0;

	for (; at < JUMP_BYTES; at += instruction.bytes) {
		if (instruction.ends)
			return "it is too short";
		if (at + INSTRUCTION_BYTES > bytes || !decode(code + at, &instruction))
			return "its first instructions are none that can be moved";
		if (!move(mover, code, at, &instruction))
			return "its first instructions reach too far to be moved";
	}
	*ret_covered = at;
	if (!instruction.ends && !put_jump(mover, mover->site + at))
		return "it is too far away";
	return NULL;
}

const char *os_patch_make(const uint8_t *code, size_t bytes, uint64_t site, uint64_t island,
                          uint64_t hook, struct os_patch *ret)
{
	static const uint8_t jump_to_address[] = { 0xff, 0x25, 0, 0, 0, 0 };
	struct mover mover = { site, island + ISLAND_ORIGINAL, ret->island + ISLAND_ORIGINAL, 0 };
	uint8_t word[WORD_BYTES];
	const char *refusal;

	memset(ret, 0, sizeof(*ret));
	if (site % WORD_BYTES || bytes < WORD_BYTES)
		return "its start is not aligned";
	if ((refusal = move_start(&mover, code, bytes, &ret->covered)))
		return refusal;
	if (is_led_into(code, bytes, ret->covered))
		return "it jumps back to its start";
	memcpy(ret->island, jump_to_address, sizeof(jump_to_address));
	memcpy(ret->island + sizeof(jump_to_address), &hook, sizeof(hook));
	ret->original = island + ISLAND_ORIGINAL;
	ret->word_address = site;
	memcpy(word, code, sizeof(word));
	memcpy(&ret->before, word, sizeof(word));
	word[0] = 0xe9;
	if (!put_distance(word + 1, site + JUMP_BYTES, island))
		return "it is too far away";
	memcpy(&ret->after, word, sizeof(word));
	return NULL;
}

#endif
