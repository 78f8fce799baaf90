// SPDX-License-Identifier: MIT
// Whether a thread's seccomp filters let through the calls that we would inject.
// The filters are read from the kernel (only root may) and run on those calls here,
// since trying one out can kill the program. Called by guardians for stopped threads.
#include "os/inject_impl.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/ptrace.h>

#define FILTERS_MOST 64
#define RET_ACTION   0xffff0000u

struct machine {
	uint32_t a, x, memory[BPF_MEMWORDS];
	const uint8_t *data;
};

static uint32_t calculate(uint16_t operation, uint32_t a, uint32_t b)
{
	switch (operation) {
	case BPF_ADD:
		return a + b;
	case BPF_SUB:
		return a - b;
	case BPF_MUL:
		return a * b;
	case BPF_DIV:
		return b ? a / b : 0;
	case BPF_MOD:
		return b ? a % b : 0;
	case BPF_AND:
		return a & b;
	case BPF_OR:
		return a | b;
	case BPF_XOR:
		return a ^ b;
	case BPF_LSH:
		return a << (b & 31);
	case BPF_RSH:
		return a >> (b & 31);
	default:
		return -a; // BPF_NEG
	}
}

static bool compare(uint16_t operation, uint32_t a, uint32_t b)
{
	switch (operation) {
	case BPF_JEQ:
		return a == b;
	case BPF_JGT:
		return a > b;
	case BPF_JGE:
		return a >= b;
	default:
		return a & b; // BPF_JSET
	}
}

// The value of a load, or false for one that seccomp does not know (Linux kernel/seccomp.c,
// seccomp_check_filter).
static bool load(const struct machine *machine, const struct sock_filter *code, uint32_t *ret)
{
	switch (BPF_MODE(code->code)) {
	case BPF_IMM:
		*ret = code->k;
		return true;
	case BPF_LEN:
		*ret = sizeof(struct seccomp_data);
		return true;
	case BPF_MEM:
		*ret = machine->memory[code->k % BPF_MEMWORDS];
		return true;
	case BPF_ABS:
		if (code->k > sizeof(struct seccomp_data) - sizeof(*ret))
			return false;
		memcpy(ret, machine->data + code->k, sizeof(*ret));
		return true;
	default:
		return false;
	}
}

// One step that neither jumps nor ends.
static bool compute(struct machine *machine, const struct sock_filter *code)
{
	uint32_t other = BPF_SRC(code->code) == BPF_X ? machine->x : code->k;

	switch (BPF_CLASS(code->code)) {
	case BPF_LD:
		return load(machine, code, &machine->a);
	case BPF_LDX:
		return load(machine, code, &machine->x);
	case BPF_ST:
		machine->memory[code->k % BPF_MEMWORDS] = machine->a;
		return true;
	case BPF_STX:
		machine->memory[code->k % BPF_MEMWORDS] = machine->x;
		return true;
	case BPF_ALU:
		machine->a = calculate(BPF_OP(code->code), machine->a, other);
		return true;
	default: // BPF_MISC
		if (BPF_MISCOP(code->code) == BPF_TAX)
			machine->x = machine->a;
		else
			machine->a = machine->x;
		return true;
	}
}

bool os_inject_filter_allows(const struct sock_filter *codes, size_t count,
                             const struct seccomp_data *call)
{
	struct machine machine = { .data = (const uint8_t *)call };

	for (size_t at = 0; at < count; at++) {
		const struct sock_filter *code = &codes[at];
		uint32_t value = BPF_SRC(code->code) == BPF_X ? machine.x : code->k;

		if (BPF_CLASS(code->code) == BPF_RET) {
			value = (BPF_RVAL(code->code) == BPF_A ? machine.a : code->k) & RET_ACTION;
			return value == SECCOMP_RET_ALLOW || value == SECCOMP_RET_LOG;
		}
		if (BPF_CLASS(code->code) != BPF_JMP) {
			if (!compute(&machine, code))
				return false;
		} else if (BPF_OP(code->code) == BPF_JA) {
			at += code->k;
		} else {
			at += compare(BPF_OP(code->code), machine.a, value) ? code->jt : code->jf;
		}
	}
	return false;
}

static bool allows_all(const struct sock_filter *codes, size_t count,
                       const struct seccomp_data *calls, size_t call_count)
{
	for (size_t i = 0; i < call_count; i++)
		if (!os_inject_filter_allows(codes, count, &calls[i]))
			return false;
	return true;
}

static const char *refuse(int tid, size_t loading_call_count)
{
	static struct sock_filter codes[BPF_MAXINSNS];
	const struct os_inject_cpu *cpu = os_inject_cpu();

	for (unsigned long i = 0; i < FILTERS_MOST; i++) {
		long count = ptrace(PTRACE_SECCOMP_GET_FILTER, tid, (void *)i, NULL);

		if (count < 0 && errno == ENOENT && i)
			return NULL;
		if (count <= 0 || count > BPF_MAXINSNS ||
		    ptrace(PTRACE_SECCOMP_GET_FILTER, tid, (void *)i, codes) != count)
			return "its seccomp filter cannot be read, and could kill it for our calls";
		if (!allows_all(codes, (size_t)count, cpu->calls, cpu->call_count) ||
		    !allows_all(codes, (size_t)count, cpu->loading_calls, loading_call_count))
			return "its seccomp filter could kill it for our calls";
	}
	return "it has very many seccomp filters";
}

const char *os_inject_refuse_filters(int tid)
{
	return refuse(tid, 0);
}

const char *os_inject_refuse_filters_loading(int tid)
{
	return refuse(tid, os_inject_cpu()->loading_call_count);
}
