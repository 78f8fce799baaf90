// SPDX-License-Identifier: MIT
// Stacks of threads, by the unwind tables of the target's modules, through
// libdwfl. Modules' files are given to it as read by libelf (not mapped), memory
// and registers come from the target. Everything is foreign: the number of frames
// is bounded, and what cannot be unwound ends the stack.
#include <elfutils/libdwfl.h>
#include <string.h>

#include "symbols/symbols_impl.h"

struct unwind_module {
	struct symbols *symbols;
	const struct symbols_module *module;
};

struct symbols_unwinder {
	struct symbols *symbols;
	Dwfl *dwfl; // NULL: it could not be set up
	const struct target_thread *thread;
	struct symbols_frame *frames;
	size_t count, most;
};

// --- registers in DWARF's order (psABI of each CPU) ------------------------------------------------
struct dwarf_order {
	const char *cpu;
	unsigned count;
	bool pc_apart;   // the program counter has no DWARF number
	uint8_t own[33]; // index into target_thread.registers of each DWARF number
};

static const struct dwarf_order orders[] = {
	{ "x86_64", 17, false, { 10, 12, 11, 5, 13, 14, 4, 19, 9, 8, 7, 6, 3, 2, 1, 0, 16 } },
	{ "i386", 9, false, { 6, 1, 2, 0, 15, 5, 3, 4, 12 } },
	{ "aarch64", 32, true, { 0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
	                         16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31 } },
};

static const struct dwarf_order *order_of(const struct target *target)
{
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++)
		if (strcmp(orders[i].cpu, target->cpu) == 0)
			return &orders[i];
	return NULL;
}

static bool set_registers(Dwfl_Thread *thread, void *context)
{
	const struct symbols_unwinder *unwinder = context;
	const struct target_thread *own = unwinder->thread;
	const struct dwarf_order *order = order_of(unwinder->symbols->target);
	Dwarf_Word values[sizeof(order->own)];

	for (unsigned i = 0; i < order->count; i++) {
		if (order->own[i] >= own->register_count)
			return false;
		values[i] = own->registers[order->own[i]];
	}
	if (order->pc_apart)
		dwfl_thread_state_register_pc(thread, own->pc);
	return dwfl_thread_state_registers(thread, 0, order->count, values);
}

// --- what libdwfl asks for -----------------------------------------------------------------------
static pid_t next_thread(Dwfl *dwfl, void *context, void **ret)
{
	(void)dwfl;
	*ret = *ret ? NULL : context;
	return *ret ? 1 : 0;
}

static bool get_thread(Dwfl *dwfl, pid_t tid, void *context, void **ret)
{
	(void)dwfl, (void)tid;
	*ret = context;
	return true;
}

static bool read_word(Dwfl *dwfl, Dwarf_Addr address, Dwarf_Word *ret, void *context)
{
	const struct symbols_unwinder *unwinder = context;
	uint64_t word;

	(void)dwfl;
	if (target_read_word(unwinder->symbols->target, address, &word))
		return false;
	*ret = word;
	return true;
}

static const Dwfl_Thread_Callbacks thread_callbacks = {
	.next_thread = next_thread,
	.get_thread = get_thread,
	.memory_read = read_word,
	.set_initial_registers = set_registers,
};

// The descriptor becomes libdwfl's.
static int find_elf(Dwfl_Module *dwfl_module, void **userdata, const char *name, Dwarf_Addr base,
                    char **file_name, Elf **elf)
{
	const struct unwind_module *own = *userdata;
	int fd = -1;

	(void)dwfl_module, (void)name, (void)base;
	*file_name = NULL;
	*elf = NULL;
	if (!own->module->file || target_file_open(own->symbols->target, own->module->file, &fd))
		return -1;
	*elf = elf_begin(fd, ELF_C_READ, NULL);
	if (*elf)
		return fd;
	os_close(fd);
	return -1;
}

// Debug files would only add tables for code that has none in memory: never worth a download here.
static int find_no_debug_file(Dwfl_Module *module, void **userdata, const char *name,
                              Dwarf_Addr base, const char *file_name, const char *link,
                              GElf_Word checksum, char **ret)
{
	(void)module, (void)userdata, (void)name, (void)base;
	(void)file_name, (void)link, (void)checksum, (void)ret;
	return -1;
}

static const Dwfl_Callbacks dwfl_callbacks = {
	.find_elf = find_elf,
	.find_debuginfo = find_no_debug_file,
};

static int take_frame(Dwfl_Frame *frame, void *context)
{
	struct symbols_unwinder *unwinder = context;
	struct symbols_frame *taken;
	Dwarf_Addr pc;
	bool interrupted;

	if (unwinder->count == unwinder->most || !dwfl_frame_pc(frame, &pc, &interrupted) || !pc)
		return DWARF_CB_ABORT;
	taken = &unwinder->frames[unwinder->count++];
	taken->pc = pc;
	taken->is_return = !interrupted;
	return DWARF_CB_OK;
}

// --- setting up ----------------------------------------------------------------------------------
static void report_modules(struct symbols_unwinder *unwinder)
{
	struct symbols *symbols = unwinder->symbols;
	struct unwind_module *modules =
		arena_array(&symbols->arena, symbols->modules.n, sizeof(*modules));

	dwfl_report_begin(unwinder->dwfl);
	for (size_t i = 0; i < symbols->modules.n; i++) {
		const struct symbols_module *module = &symbols->modules.v[i];
		Dwfl_Module *reported;
		void **userdata;

		modules[i] = (struct unwind_module){ symbols, module };
		reported = dwfl_report_module(unwinder->dwfl, module->name, module->start,
		                              module->end);
		if (!reported)
			continue;
		dwfl_module_info(reported, &userdata, NULL, NULL, NULL, NULL, NULL, NULL);
		*userdata = &modules[i];
	}
	dwfl_report_end(unwinder->dwfl, NULL, NULL);
}

static struct symbols_unwinder *unwinder_of(struct symbols *symbols)
{
	struct symbols_unwinder *unwinder = symbols->unwinder;

	if (unwinder)
		return unwinder;
	unwinder = symbols->unwinder = arena_alloc(&symbols->arena, sizeof(*unwinder));
	unwinder->symbols = symbols;
	elf_version(EV_CURRENT);
	unwinder->dwfl = dwfl_begin(&dwfl_callbacks);
	if (!unwinder->dwfl)
		return unwinder;
	report_modules(unwinder);
	if (!dwfl_attach_state(unwinder->dwfl, NULL, 1, &thread_callbacks, unwinder)) {
		dwfl_end(unwinder->dwfl);
		unwinder->dwfl = NULL;
	}
	return unwinder;
}

void symbols_unwinder_close(struct symbols_unwinder *unwinder)
{
	if (unwinder && unwinder->dwfl)
		dwfl_end(unwinder->dwfl);
}

struct error *symbols_unwind(struct symbols *symbols, size_t thread_index,
                             struct symbols_frame *frames, size_t most, size_t *ret_count)
{
	const struct target *target = symbols->target;
	const struct target_thread *thread = &target->threads[thread_index];
	struct symbols_unwinder *unwinder;

	*ret_count = 0;
	if (!most)
		return NULL;
	if (!thread->pc)
		return error_new(ERROR_NOT_FOUND, "the registers of thread %d are unknown",
		                 thread->tid);
	if (thread->has_registers && order_of(target)) {
		unwinder = unwinder_of(symbols);
		unwinder->thread = thread;
		unwinder->frames = frames;
		unwinder->most = most;
		unwinder->count = 0;
		// Its result is not looked at: the end of a stack is an error on some CPUs.
		if (unwinder->dwfl)
			dwfl_getthread_frames(unwinder->dwfl, 1, take_frame, unwinder);
		*ret_count = unwinder->count;
	}
	if (!*ret_count) {
		frames[0] = (struct symbols_frame){ .pc = thread->pc };
		*ret_count = 1;
	}
	return NULL;
}
