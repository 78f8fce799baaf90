// SPDX-License-Identifier: MIT
// Our library gets into a running program, and the recorder in it is started and
// stopped. A thread of the program executes its own dlopen for us, while all others run, so that it
// can wait for locks that they hold. Where the program cannot see our file (a container, another
// user), the library goes through memory of its own that has no name in any file system.
#include "collect/attach_impl.h"

#include "layout/record.h"

#include <stddef.h>
#include <string.h>

#define PAGE_BYTES      4096ull
#define ISLAND_BYTES    8192ull
#define STUB_OFFSET     (ISLAND_BYTES - 64)
#define SCRATCH_BYTES   8192ull
#define PATH_OFFSET     256
#define REACH_BYTES     (1ull << 30)  // of a jump, with room for the library's own size
#define STACK_GAP_BYTES (16ull << 20) // the stack grows down into what lies before it
#define HEAP_GAP_BYTES  (4ull << 30)  // and the heap up
#define LOWEST          (1ull << 16)
#define TEXT_BYTES      400
#define LEAVE_LIMIT_NS  10000000000ull
#define LEAVE_LOOK_NS   5000000ull

#define PRIVATE_ANONYMOUS 0x22
#define ISLAND_TRIES      8
#define FIXED_NOREPLACE   0x100000
#define MAY_EXECUTE       5 // PROT_READ | PROT_EXEC
#define MAY_WRITE         3
#define MEMFD_CLOEXEC     1
#define LOAD_NOW          2
#define LOAD_FROM_LIBC    0x80000000u // __RTLD_DLOPEN: glibc's own dlopen before 2.34

struct loading {
	struct attach *attach;
	uint64_t scratch;
	uint64_t dlopen, dlerror, flags;
	int64_t descriptor; // of the library's memory in the program, -1 none
};

// --- places --------------------------------------------------------------------------------------
static bool is_named(const struct os_mapping *mapping, const char *name)
{
	return mapping->name && !strcmp(mapping->name, name);
}

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

// The gap nearest to the malloc functions, in which nothing grows.
static uint64_t find_place(const struct attach *attach)
{
	uint64_t near = attach_symbol(attach, attach->provider, "malloc"), best = 0;
	uint64_t libc = attach->libc->text_count ? attach->libc->texts[0].start : near;

	for (size_t i = 1; i < attach->mapping_count; i++) {
		const struct os_mapping *below = &attach->mappings[i - 1];
		const struct os_mapping *above = &attach->mappings[i];
		uint64_t room = above->start - below->end, place = above->start - ISLAND_BYTES;

		if (room < ISLAND_BYTES + PAGE_BYTES || place < LOWEST ||
		    (is_named(above, "[stack]")) ||
		    (is_named(below, "[heap]") && room < HEAP_GAP_BYTES))
			continue;
		if (distance(place, near) < REACH_BYTES && distance(place, libc) < REACH_BYTES &&
		    (!best || distance(place, near) < distance(best, near)))
			best = place;
	}
	return best;
}

static struct error *try_island(struct attach *attach)
{
	uint64_t place = find_place(attach), got;
	const uint64_t arguments[6] = { place,       ISLAND_BYTES,
		                        MAY_EXECUTE, PRIVATE_ANONYMOUS | FIXED_NOREPLACE,
		                        ~0ull,       0 };

	if (!place)
		return error_new(ERROR_UNSUPPORTED,
		                 "process %d has no room for code near its malloc", attach->pid);
	TRY(attach_call(attach, OS_CALL_MMAP, arguments, &got));
	attach->room.island = got;
	attach->room.island_bytes = ISLAND_BYTES;
	if (distance(got, place) > REACH_BYTES)
		return error_new(ERROR_UNSUPPORTED,
		                 "process %d got no room for code near its malloc", attach->pid);
	return NULL;
}

// The program may map something in that place meanwhile.
static struct error *make_island(struct attach *attach)
{
	struct error *error = try_island(attach);

	for (int i = 1; i < ISLAND_TRIES && error && error->kind == ERROR_SYSTEM; i++) {
		TRY(attach_read_modules(attach));
		error = try_island(attach);
	}
	return error;
}

static struct error *make_scratch(struct loading *loading)
{
	const uint64_t arguments[6] = { 0, SCRATCH_BYTES, MAY_WRITE, PRIVATE_ANONYMOUS, ~0ull, 0 };

	return attach_call(loading->attach, OS_CALL_MMAP, arguments, &loading->scratch);
}

static void unmap(struct attach *attach, uint64_t address, uint64_t bytes)
{
	const uint64_t arguments[6] = { address, bytes };
	uint64_t ignored;

	if (address)
		(void)attach_call(attach, OS_CALL_MUNMAP, arguments, &ignored);
}

// --- functions of the dynamic linker ---------------------------------------------------------------
static uint64_t find_anywhere(const struct attach *attach, const char *name)
{
	for (size_t i = 0; i < attach->module_count; i++) {
		const char *slash = strrchr(attach->modules[i].name, '/');
		const char *base = slash ? slash + 1 : attach->modules[i].name;

		if (!strncmp(base, "libc.so", 7) || !strncmp(base, "libdl.so", 8)) {
			uint64_t found = attach_symbol(attach, &attach->modules[i], name);

			if (found)
				return found;
		}
	}
	return 0;
}

static struct error *find_functions(struct loading *loading)
{
	loading->flags = LOAD_NOW;
	loading->dlopen = find_anywhere(loading->attach, "dlopen");
	loading->dlerror = find_anywhere(loading->attach, "dlerror");
	if (!loading->dlopen) {
		loading->flags = LOAD_NOW | LOAD_FROM_LIBC;
		loading->dlopen = find_anywhere(loading->attach, "__libc_dlopen_mode");
	}
	if (!loading->dlopen)
		return error_new(ERROR_UNSUPPORTED, "its C library has no dlopen");
	return NULL;
}

static struct error *write_stub(struct attach *attach)
{
	const struct os_inject_cpu *cpu = os_inject_cpu();
	uint64_t words[8] = { 0 };

	memcpy(words, cpu->stub, cpu->stub_bytes < sizeof(words) ? cpu->stub_bytes : sizeof(words));
	for (unsigned i = 0; i < 8; i++)
		TRY(os_inject_poke(attach->injection->tid,
		                   attach->room.island + STUB_OFFSET + 8 * i, words[i]));
	return NULL;
}

// Calls function(first, second) of the program.
static struct error *call(struct loading *loading, uint64_t function, uint64_t first,
                          uint64_t second, uint64_t *ret)
{
	struct attach *attach = loading->attach;
	struct os_function_block block = { .function = function, .arguments = { first, second } };

	TRY(os_inject_write(attach->memory_tid, loading->scratch, &block, sizeof(block)));
	TRY(attach_function(attach, attach->room.island + STUB_OFFSET, loading->scratch));
	if (os_remote_read(attach->memory_tid, -1, loading->scratch, &block, sizeof(block)) !=
	            sizeof(block) ||
	    !block.done)
		return error_new(ERROR_UNSUPPORTED, "process %d did not finish a call",
		                 attach->pid);
	*ret = block.result;
	return NULL;
}

static struct error *explain_dlopen(struct loading *loading)
{
	char text[TEXT_BYTES] = "its dynamic linker refused it";
	uint64_t address = 0;

	if (loading->dlerror)
		TRY(call(loading, loading->dlerror, 0, 0, &address));
	if (address) {
		size_t got = os_remote_read(loading->attach->memory_tid, -1, address, text,
		                            sizeof(text) - 1);

		text[got] = '\0';
	}
	return error_new(ERROR_UNSUPPORTED, "the recorder cannot be loaded into process %d: %s",
	                 loading->attach->pid, text_printable(loading->attach->arena, text));
}

static struct error *open_library(struct loading *loading, const char *path)
{
	uint64_t handle;

	TRY(os_inject_write(loading->attach->memory_tid, loading->scratch + PATH_OFFSET, path,
	                    strlen(path) + 1));
	TRY(call(loading, loading->dlopen, loading->scratch + PATH_OFFSET, loading->flags,
	         &handle));
	return handle ? NULL : explain_dlopen(loading);
}

// --- the library's file ----------------------------------------------------------------------------
// Whether the program finds our very file under the same path.
static bool sees_library(const struct attach *attach)
{
	const char *library = attach->settings->library;
	const char *there =
		arena_format(attach->arena, "/proc/%d/root%s", attach->memory_tid, library);
	struct os_status here_status, there_status;

	return strlen(library) < SCRATCH_BYTES - PATH_OFFSET &&
	       !os_path_status(library, &here_status) && !os_path_status(there, &there_status) &&
	       here_status.device == there_status.device && here_status.inode == there_status.inode;
}

static struct error *copy_library(struct loading *loading)
{
	struct attach *attach = loading->attach;
	OS_DESCRIPTOR int file = -1;
	struct os_status status;
	const void *bytes;
	void *memory;

	TRY(os_open(attach->settings->library, &file));
	TRY(os_file_status(file, &status));
	TRY(os_map_file(file, 0, status.bytes, &bytes));
	struct error *error = os_share_descriptor(attach->memory_tid, (int)loading->descriptor,
	                                          status.bytes, &memory);

	if (!error) {
		memcpy(memory, bytes, status.bytes);
		os_release(memory, status.bytes);
	}
	os_release((void *)(uintptr_t)bytes, status.bytes);
	return error;
}

static struct error *open_through_memory(struct loading *loading)
{
	struct attach *attach = loading->attach;
	const uint64_t name[6] = { loading->scratch + PATH_OFFSET, MEMFD_CLOEXEC };
	struct error *error;
	uint64_t descriptor, ignored;

	TRY(os_inject_write(attach->memory_tid, loading->scratch + PATH_OFFSET,
	                    RECORD_ATTACH_LIBRARY, sizeof(RECORD_ATTACH_LIBRARY)));
	TRY(attach_call(attach, OS_CALL_MEMFD_CREATE, name, &descriptor));
	loading->descriptor = (int64_t)descriptor;
	error = copy_library(loading);
	if (!error)
		error = open_library(loading, arena_format(attach->arena, "/proc/self/fd/%d",
		                                           (int)descriptor));
	// After a call that did not come back the thread makes no more.
	if (!attach->injection->armed) {
		const uint64_t arguments[6] = { descriptor };

		(void)attach_call(attach, OS_CALL_CLOSE, arguments, &ignored);
	}
	return error;
}

static struct error *open_somehow(struct loading *loading)
{
	struct attach *attach = loading->attach;
	struct error *error;

	if (!sees_library(attach))
		return open_through_memory(loading);
	error = open_library(loading, attach->settings->library);
	if (!error || attach->injection->armed || error->kind != ERROR_UNSUPPORTED)
		return error;
	return open_through_memory(loading) ? error : NULL;
}

// What the program's functions leave in errno is none of the thread's business.
static struct error *open_keeping_errno(struct loading *loading)
{
	struct attach *attach = loading->attach;
	uint64_t function = attach_symbol(attach, attach->libc, "__errno_location"), where = 0;
	struct error *error;
	uint32_t number;

	if (function)
		TRY(call(loading, function, 0, 0, &where));
	if (!where || os_remote_read(attach->memory_tid, -1, where, &number, sizeof(number)) !=
	                      sizeof(number))
		return error_new(ERROR_UNSUPPORTED, "its C library has no errno");
	error = open_somehow(loading);
	if (!attach->injection->armed)
		TRY(os_inject_write(attach->memory_tid, where, &number, sizeof(number)));
	return error;
}

// In the borrowed thread. Whatever was mapped is unmapped again when it comes to nothing.
static struct error *load(struct attach *attach)
{
	struct loading loading = { .attach = attach, .descriptor = -1 };
	struct error *error;

	memset(&attach->room, 0, sizeof(attach->room));
	TRY(find_functions(&loading));
	error = make_island(attach);
	if (!error)
		error = make_scratch(&loading);
	if (!error)
		error = write_stub(attach);
	if (!error)
		error = open_keeping_errno(&loading);
	if (attach->injection->armed)
		return error;
	unmap(attach, loading.scratch, SCRATCH_BYTES);
	if (error)
		unmap(attach, attach->room.island, attach->room.island_bytes);
	return error;
}

static struct error *find_room(struct attach *attach)
{
	uint64_t island = attach->room.island, island_bytes = attach->room.island_bytes;

	TRY(attach_read_modules(attach));
	if (!attach->library)
		return error_new(ERROR_UNSUPPORTED, "%s is not the recorder's library",
		                 attach->settings->library);
	TRY(attach_read_room(attach));
	attach->room.island = island;
	attach->room.island_bytes = island_bytes;
	return NULL;
}

// --- the recorder ----------------------------------------------------------------------------------
static struct error *fill_settings(struct attach *attach)
{
	const struct collect_attach_settings *settings = attach->settings;
	struct record_attach_room *room = &attach->room;
	const char *path = settings->log_path ? settings->log_path : "";

	if (strlen(path) >= sizeof(room->log_path))
		return error_new(ERROR_USAGE, "the path of the log is too long");
	memset(room->log_path, 0, sizeof(room->log_path));
	memcpy(room->log_path, path, strlen(path));
	room->mode = settings->mode;
	room->what = settings->what;
	room->ring_bytes = settings->ring_bytes;
	room->follow_fork = settings->follow_fork ? RECORD_ATTACH_FOLLOWS : 0;
	room->sample_bytes = settings->sample_bytes;
	room->wait_ns = settings->wait_ns;
	room->max_log_bytes = settings->max_log_bytes;
	room->owner = os_own_pid();
	TRY(attach_own_start(room->owner, &room->owner_start));
	return attach_write_room(attach);
}

// The collector has it now; the program might close it and give its number to something else.
struct error *attach_close_descriptor(struct attach *attach)
{
	const uint64_t arguments[6] = { (uint64_t)attach->room.descriptor };
	const char *path = arena_format(attach->arena, "/proc/%d/fd/%d", attach->memory_tid,
	                                attach->room.descriptor);
	const char *leads_to;
	struct error *error;
	uint64_t ignored;

	if (attach->room.descriptor < 0)
		return NULL;
	TRY(attach_borrow(attach));
	error = os_read_link(attach->arena, path, &leads_to);
	if (!error && strstr(leads_to, "memfd:" RECORD_NAME))
		error = attach_call(attach, OS_CALL_CLOSE, arguments, &ignored);
	attach_return(attach);
	attach->room.descriptor = -1;
	TRY(attach_write_room(attach));
	return error && error->kind != ERROR_NOT_FOUND ? error : NULL;
}

static struct error *start(struct attach *attach)
{
	TRY(fill_settings(attach));
	TRY(attach_function(attach, attach->room.start, attach->room_address));
	TRY(attach_read_room(attach));
	if (attach->room.state != RECORD_ATTACH_ON)
		return error_new(ERROR_UNSUPPORTED, "the recorder in process %d does not start: %s",
		                 attach->pid, text_printable(attach->arena, attach->room.reason));
	return NULL;
}

static struct error *load_and_start(struct attach *attach)
{
	if (!attach->library) {
		TRY(load(attach));
		TRY(find_room(attach));
	}
	return start(attach);
}

static struct error *release_memory(struct attach *attach)
{
	const uint64_t arguments[6] = { attach->room.shared, attach->room.shared_bytes };
	struct error *error;
	uint64_t ignored;

	TRY(attach_borrow(attach));
	error = attach_call(attach, OS_CALL_MUNMAP, arguments, &ignored);
	attach_return(attach);
	return error;
}

// What an earlier detach could not give back, because a thread was inside.
static struct error *finish_leaving(struct attach *attach)
{
	if (!attach_wait_outside(attach))
		return error_new(ERROR_UNSUPPORTED,
		                 "a thread of process %d is still inside the recorder that was "
		                 "stopped before",
		                 attach->pid);
	TRY(release_memory(attach));
	attach->room.shared = 0;
	return attach_write_room(attach);
}

// Somebody may be on his way out at this moment.
static struct error *await_leaving(struct attach *attach)
{
	uint64_t end_ns = os_monotonic_ns() + LEAVE_LIMIT_NS;

	do {
		TRY(attach_read_room(attach));
		if (attach->room.state != RECORD_ATTACH_ON || attach_room_is_patched(attach) ||
		    attach_room_is_stale(attach))
			return NULL;
		os_sleep_ns(LEAVE_LOOK_NS);
	} while (os_monotonic_ns() < end_ns && !attach_is_late(attach));
	return NULL;
}

static struct error *check_free(struct attach *attach)
{
	if (!attach->library)
		return NULL;
	TRY(await_leaving(attach));
	if (attach->room.state != RECORD_ATTACH_ON)
		return attach->room.shared ? finish_leaving(attach) : NULL;
	if (attach_room_is_inherited(attach)) {
		attach->room.shared = 0; // the recorder has unmapped it in the child
		attach->room.descriptor = -1;
		TRY(attach_write_room(attach));
	} else if (!attach_room_is_stale(attach))
		return error_new(ERROR_UNSUPPORTED,
		                 "process %d is being recorded already (by process %d)",
		                 attach->pid, attach->room.owner);
	TRY(attach_unpatch(attach));
	return attach_unload(attach);
}

struct error *attach_load(struct attach *attach)
{
	struct error *error;
	uint64_t began_ns;

	TRY(attach_read_modules(attach));
	TRY(check_free(attach));
	TRY(attach_borrow(attach));
	began_ns = os_monotonic_ns();
	error = load_and_start(attach);
	attach_return(attach);
	attach->result->borrowed_ns = os_monotonic_ns() - began_ns;
	attach->result->island = attach->room.island;
	attach->result->descriptor = attach->room.descriptor;
	return error;
}

static struct error *stop_recorder(struct attach *attach)
{
	struct error *error;

	TRY(attach_borrow(attach));
	error = attach_function(attach, attach->room.stop, attach->room_address);
	attach_return(attach);
	return error;
}

// Nothing leads to the recorder any more; what is left is found by who attaches next.
static struct error *leave_behind(struct attach *attach)
{
	const uint32_t off = RECORD_OFF;

	// So that the collector ends.
	if (attach->room.shared)
		TRY(os_inject_write(attach->memory_tid,
		                    attach->room.shared + offsetof(struct record_header, state),
		                    &off, sizeof(off)));
	attach->room.owner = 0;
	attach->result->remains = true;
	return attach_write_room(attach);
}

struct error *attach_unload(struct attach *attach)
{
	struct error *error;

	if (attach->suspended)
		return leave_behind(attach);
	error = attach_close_descriptor(attach);
	if (!error)
		error = stop_recorder(attach);
	if (error)
		return error->kind == ERROR_UNSUPPORTED ? leave_behind(attach) : error;
	TRY(attach_read_room(attach));
	if (attach->room.shared && attach_wait_outside(attach) && !release_memory(attach))
		attach->room.shared = 0;
	attach->result->remains = attach->room.shared != 0;
	attach->room.owner = 0;
	return attach_write_room(attach);
}
