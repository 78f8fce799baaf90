// SPDX-License-Identifier: MIT
// The memory operand of the instruction that faulted, on x86-64. Enough of the encoding to find ModRM
// and SIB in anything a compiler or libc writes (Intel SDM volume 2, chapter 2 and appendix A); the
// processor gives no fault address for one that is not canonical.
#if defined(__x86_64__)

#include "os/inside.h"

#include <string.h>
#include <ucontext.h>

enum {
	LONGEST = 15,
	SP = 4,
	BP = 5,
	SI = 6,
	DI = 7,
};

static const int register_of[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
	                             REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
	                             REG_R12, REG_R13, REG_R14, REG_R15 };

struct code {
	const ucontext_t *context;
	uint8_t bytes[LONGEST + 1];
	unsigned at;
	unsigned map; // 1: one byte, 2: 0f, 3: 0f38 or 0f3a
	uint8_t opcode;
	unsigned base_high, index_high; // REX.B and REX.X, as the 8 they add
};

static uint64_t value(const struct code *code, unsigned number)
{
	return (uint64_t)code->context->uc_mcontext.gregs[register_of[number]];
}

static void add(struct inside_operands *ret, uint64_t value)
{
	if (ret->count < INSIDE_OPERANDS)
		ret->values[ret->count++] = value;
}

// Where the program goes next when the address holds the place.
static void add_target_at(struct inside_operands *ret, uint64_t address)
{
	uint64_t target;

	if (inside_peek(address, &target, sizeof(target)))
		add(ret, target);
}

static bool is_prefix(uint8_t byte)
{
	static const uint8_t prefixes[] = { 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e,
		                            0x36, 0x3e, 0x26, 0x64, 0x65 };

	return memchr(prefixes, byte, sizeof(prefixes));
}

static void take_high(struct code *code, uint8_t inverted)
{
	code->index_high = inverted & 0x40 ? 0 : 8;
	code->base_high = inverted & 0x20 ? 0 : 8;
}

// Prefixes and opcode; false when the bytes end.
static bool take_opcode(struct code *code)
{
	const uint8_t *bytes = code->bytes;
	unsigned at = 0;

	while (at < LONGEST - 4 && is_prefix(bytes[at]))
		at++;
	code->map = 1;
	if (bytes[at] == 0xc5) { // VEX, two bytes
		code->map = 2;
		at += 2;
	} else if (bytes[at] == 0xc4 || bytes[at] == 0x62) { // VEX, three; EVEX, four
		take_high(code, bytes[at + 1]);
		code->map = (bytes[at + 1] & 7) == 1 ? 2 : 3;
		at += bytes[at] == 0xc4 ? 3 : 4;
	} else {
		if ((bytes[at] & 0xf0) == 0x40) { // REX
			code->index_high = bytes[at] & 2 ? 8 : 0;
			code->base_high = bytes[at++] & 1 ? 8 : 0;
		}
		if (bytes[at] == 0x0f) {
			code->map = bytes[at + 1] == 0x38 || bytes[at + 1] == 0x3a ? 3 : 2;
			at += code->map - 1;
		}
	}
	if (at >= LONGEST)
		return false;
	code->opcode = bytes[at];
	code->at = at + 1;
	return true;
}

static bool has_modrm(const struct code *code)
{
	uint8_t op = code->opcode;

	if (code->map == 3)
		return true;
	if (code->map == 2)
		return !((op >= 0x05 && op <= 0x09) || op == 0x0b || (op >= 0x30 && op <= 0x37) ||
		         op == 0x77 || (op & 0xf0) == 0x80 || (op & 0xf6) == 0xa0 || op == 0xa2 ||
		         op == 0xaa || (op & 0xf8) == 0xc8);
	return (op < 0x40 && (op & 7) < 4) || op == 0x63 || op == 0x69 || op == 0x6b ||
	       (op & 0xf0) == 0x80 || op == 0xc0 || op == 0xc1 || op == 0xc6 || op == 0xc7 ||
	       (op & 0xfc) == 0xd0 || (op & 0xf8) == 0xd8 || op == 0xf6 || op == 0xf7 || op >= 0xfe;
}

static int32_t displacement(const struct code *code, unsigned at, unsigned bytes)
{
	int32_t wide = 0;

	if (at + bytes > LONGEST)
		return 0;
	if (bytes == 1)
		return (int8_t)code->bytes[at];
	memcpy(&wide, code->bytes + at, bytes);
	return wide;
}

// The scaled index and the base of a SIB byte; returns their sum.
static uint64_t take_sib(const struct code *code, unsigned mod, uint8_t sib,
                         struct inside_operands *ret)
{
	unsigned index = (sib >> 3 & 7) | code->index_high, base = (sib & 7);
	uint64_t sum = 0;

	if (index != SP) {
		add(ret, value(code, index));
		sum = value(code, index) << (sib >> 6);
	}
	if (base == BP && mod == 0)
		return sum;
	add(ret, value(code, base | code->base_high));
	return sum + value(code, base | code->base_high);
}

// ModRM with what follows it. An address from the program counter on says nothing.
static void take_modrm(const struct code *code, struct inside_operands *ret)
{
	uint8_t modrm = code->bytes[code->at];
	unsigned mod = modrm >> 6, low = modrm & 7, at = code->at + 1;
	unsigned what = modrm >> 3 & 7; // 2 calls, 4 jumps, where the opcode is ff
	bool goes = code->map == 1 && code->opcode == 0xff && (what == 2 || what == 4);
	uint64_t sum = 0;
	unsigned wide = mod == 1 ? 1 : mod == 2 ? 4 : 0;

	if (mod == 3) {
		if (goes)
			add(ret, value(code, low | code->base_high));
		return;
	}
	if (low == SP) {
		wide = mod == 0 && (code->bytes[at] & 7) == BP ? 4 : wide;
		sum = take_sib(code, mod, code->bytes[at], ret);
		at++;
	} else if (low == BP && mod == 0) {
		return;
	} else {
		sum = value(code, low | code->base_high);
		add(ret, sum);
	}
	ret->address = sum + (uint64_t)(int64_t)displacement(code, at, wide);
	ret->has_address = true;
	if (goes)
		add_target_at(ret, ret->address);
}

// What the commonest moves do with their operand.
static enum inside_access take_access(const struct code *code)
{
	uint8_t op = code->opcode;

	if (code->map == 1 && (op == 0x88 || op == 0x89 || op == 0xc6 || op == 0xc7))
		return INSIDE_ACCESS_WRITE;
	if (code->map == 1)
		return op == 0x8a || op == 0x8b || op == 0x63 ? INSIDE_ACCESS_READ
		                                              : INSIDE_ACCESS_UNKNOWN;
	if (code->map == 2 && (op == 0x11 || op == 0x29 || op == 0x7f || op == 0xe7 || op == 0xd6))
		return INSIDE_ACCESS_WRITE;
	if (code->map == 2 && (op == 0x10 || op == 0x28 || op == 0x6f || (op & 0xf6) == 0xb6))
		return INSIDE_ACCESS_READ;
	return INSIDE_ACCESS_UNKNOWN;
}

// Instructions whose address is always in the same registers.
static void take_implied(const struct code *code, struct inside_operands *ret)
{
	uint8_t op = code->opcode;

	if (code->map != 1)
		return;
	if ((op & 0xfc) == 0xa4 || op == 0xac || op == 0xad) // movs, cmps, lods
		add(ret, value(code, SI));
	if ((op & 0xfc) == 0xa4 || op == 0xaa || op == 0xab || op == 0xae || op == 0xaf)
		add(ret, value(code, DI));
	if (op == 0xc9)
		add(ret, value(code, BP));
	if ((op & 0xf0) == 0x50 || op == 0xc3 || op == 0xc2 || op == 0xe8)
		add(ret, value(code, SP));
	if (op == 0xc3 || op == 0xc2)
		add_target_at(ret, value(code, SP));
}

void inside_fault_operands(const void *context, struct inside_operands *ret)
{
	struct code code = { .context = context };
	uint64_t pc = (uint64_t)code.context->uc_mcontext.gregs[REG_RIP];
	unsigned bytes = LONGEST;

	memset(ret, 0, sizeof(*ret));
	while (bytes && !inside_peek(pc, code.bytes, bytes))
		bytes--;
	if (!bytes) { // it went where no code is
		add(ret, pc);
		ret->address = pc;
		ret->has_address = true;
		ret->access = INSIDE_ACCESS_EXECUTE;
		return;
	}
	if (!take_opcode(&code))
		return;
	ret->access = take_access(&code);
	if (has_modrm(&code))
		take_modrm(&code, ret);
	else
		take_implied(&code, ret);
}

#endif
