// SPDX-License-Identifier: MIT
// What the files of attach share: the work of getting into and out of a running
// program, all of it done by the guardian process (attach_guardian.c).
#pragma once

#include "base/base.h"
#include "collect/collect.h"
#include "layout/record_attach.h"
#include "os/os.h"
#include "target/target.h"

// --- the program's modules (attach_modules.c) ----------------------------------------------------
#define ATTACH_TEXTS_MAX 8

// An ELF file that the dynamic linker of the program has loaded.
struct attach_module {
	const char *name; // as the linker knows it, "" for the program itself
	uint64_t bias, dynamic;
	uint64_t symbols, strings, strings_bytes, versions, gnu_hash, hash; // tables; 0 missing
	struct os_range texts[ATTACH_TEXTS_MAX];                            // its code
	size_t text_count;
};

// One attempt to get in or out.
struct attach {
	int pid;
	int memory_tid;                                 // as os_memory_tid said when the work began
	const struct collect_attach_settings *settings; // NULL when getting out
	struct arena *arena;
	struct os_mapping *mappings;
	size_t mapping_count;
	struct os_gadgets gadgets;
	struct attach_module *modules; // in the order in which symbols are looked up
	size_t module_count;
	const struct attach_module *libc, *loader;
	const struct attach_module *provider; // of the malloc that the program uses
	const struct attach_module *library;  // ours, NULL before it is loaded
	uint64_t malloc_start, malloc_end;    // in libc
	uint64_t room_address;
	struct record_attach_room room; // as read last
	struct record_attach_function *functions;
	struct record_switch
		switches; // of the malloc that the program uses; version 0: it has none
	bool only_own;    // get out only of what this guardian got into
	bool suspended;   // by SIGSTOP: no code can run in it
	// The thread that works for us.
	struct os_injection *injection;
	uint64_t deadline_ns; // of the operation, monotonic
	int channel;          // to who wants it; its end is that of the operation, too; 0: none
	struct collect_attached *result;
};

// Reads mappings and modules, and finds libc, loader, provider and our library among them.
// ERROR_UNSUPPORTED says why nothing can be loaded into the program (static, another libc).
struct error *attach_read_modules(struct attach *attach);

bool attach_module_has_code(const struct attach_module *module, uint64_t address);

// Where a function or variable of a module is; 0 when it defines none of that name.
uint64_t attach_symbol(const struct attach *attach, const struct attach_module *module,
                       const char *name);

// --- the room in our library (attach_room.c) -----------------------------------------------------
// Finds and reads the room of a loaded library. ERROR_UNSUPPORTED when it is one of another version.
struct error *attach_read_room(struct attach *attach);
// The switch of the program's malloc, and where one of its words is, 0 for none of that name.
void attach_read_switch(struct attach *attach);
uint64_t attach_switch_word(const struct attach *attach, const char *name);
// Writes settings or results from attach->room, and one function.
struct error *attach_write_room(struct attach *attach);
struct error *attach_write_function(struct attach *attach, size_t index);
bool attach_room_is_patched(const struct attach *attach);
// Whether the one who recorded this program is gone without getting out.
bool attach_room_is_stale(const struct attach *attach);
// Whether the room is that of the process of which this one is a fork.
bool attach_room_is_inherited(const struct attach *attach);
struct error *attach_own_start(int pid, uint64_t *ret);

// --- threads (attach_thread.c: one that works for us; attach_stop.c: all of them) ----------------
// Stops one thread that is outside of malloc, the dynamic linker and our library, all others running.
// Given up after some seconds, or at the operation's deadline. The calling thread becomes its tracer.
struct error *attach_borrow(struct attach *attach);
// Whether the operation's deadline has passed, or nobody wants it any more.
bool attach_is_late(const struct attach *attach);
// Puts it back and lets it go.
void attach_return(struct attach *attach);
// Whether an address is in our library or island; whether a signal handler on this stack interrupted
// code there.
bool attach_is_ours(const struct attach *attach, uint64_t address);
bool attach_interrupts_us(const struct attach *attach, const uint64_t *words, size_t count);
// A system call, and a function of the program, executed by it. A result that is an error of the
// system is given as one.
struct error *attach_call(struct attach *attach, enum os_call_name name,
                          const uint64_t arguments[6], uint64_t *ret);
struct error *attach_function(struct attach *attach, uint64_t code, uint64_t argument);
// Calls work while no thread executes code of the program, in a tracing thread of its own. Before that
// look sees each thread and says whether it may go on waiting in a system call meanwhile (stop_prepare);
// NULL: any may. A stop that lasts longer than some milliseconds before all stand is given up and tried
// again. Counted in the result.
struct error *attach_while_stopped(struct attach *attach,
                                   bool (*look)(void *context, const struct stop_thread *thread),
                                   struct error *(*work)(void *context, struct stop *stop),
                                   void *context);
// Waits until every thread has been seen outside of our library once.
bool attach_wait_outside(struct attach *attach);

// --- loading (attach_load.c) ---------------------------------------------------------------------
// Brings the library into the program and starts the recorder, which records nothing yet.
struct error *attach_load(struct attach *attach);
// The program needs the descriptor of the recorder's memory only until a collector has it.
struct error *attach_close_descriptor(struct attach *attach);
// Stops the recorder. What is still mapped because a thread may be inside is said in the result.
struct error *attach_unload(struct attach *attach);

// --- patching (attach_patch.c) -------------------------------------------------------------------
struct error *attach_patch(struct attach *attach);
struct error *attach_unpatch(struct attach *attach);

// --- the guardian (attach_guardian.c) ------------------------------------------------------------
enum attach_verb {
	ATTACH_LOAD,
	ATTACH_PATCH,
	ATTACH_OUT, // undoes what was done, whoever did it
};

struct attach_request {
	enum attach_verb verb;
	uint64_t deadline_ns; // monotonic: when it is given up
};

struct attach_reply {
	bool failed;
	struct error error; // when failed
	struct collect_attached result;
};

// Serves the tool; when that ends before it got out, the guardian does.
void attach_serve(int channel, int pid, const struct collect_attach_settings *settings)
	__attribute__((noreturn));
