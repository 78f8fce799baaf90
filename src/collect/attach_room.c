// SPDX-License-Identifier: MIT
// The room in our library inside a program (layout/record_attach.h), read and written from
// outside. The program could have overwritten it: counts and sizes are checked.
#include "collect/attach_impl.h"

#include <stddef.h>
#include <string.h>

#define FUNCTIONS_MAX 256
#define CLOCK_STEP_NS 2000000000ull // starts are given by the wall clock, which may be set

struct error *attach_read_room(struct attach *attach)
{
	struct record_attach_room *room = &attach->room;
	size_t bytes;

	attach->room_address = attach_symbol(attach, attach->library, RECORD_ATTACH_SYMBOL);
	if (!attach->room_address ||
	    os_remote_read(attach->memory_tid, -1, attach->room_address, room, sizeof(*room)) !=
	            sizeof(*room) ||
	    memcmp(room->magic, RECORD_ATTACH_MAGIC, sizeof(room->magic)) ||
	    room->version != RECORD_ATTACH_VERSION || room->bytes != sizeof(*room) ||
	    room->function_bytes != sizeof(*attach->functions) ||
	    room->function_count > FUNCTIONS_MAX)
		return error_new(ERROR_UNSUPPORTED,
		                 "another version of the recorder was loaded into it before");
	room->reason[sizeof(room->reason) - 1] = '\0';
	bytes = room->function_count * sizeof(*attach->functions);
	attach->functions = arena_alloc(attach->arena, bytes);
	if (os_remote_read(attach->memory_tid, -1, room->functions, attach->functions, bytes) !=
	    bytes)
		return error_at(ERROR_DAMAGED, room->functions,
		                "the recorder's table cannot be read");
	for (size_t i = 0; i < room->function_count; i++)
		attach->functions[i].name[RECORD_ATTACH_NAME_BYTES - 1] = '\0';
	return NULL;
}

// One that is in use is none for us: its own library records.
static bool is_usable(const struct attach *attach, const struct record_switch *switches)
{
	uint64_t records;

	return !memcmp(switches->magic, RECORD_SWITCH_MAGIC, sizeof(switches->magic)) &&
	       switches->version == RECORD_SWITCH_VERSION && switches->bytes == sizeof(*switches) &&
	       switches->thread_offset &&
	       os_remote_read(attach->memory_tid, -1, switches->records, &records,
	                      sizeof(records)) == sizeof(records) &&
	       !records;
}

void attach_read_switch(struct attach *attach)
{
	struct record_switch *switches = &attach->switches;
	uint64_t address = attach_symbol(attach, attach->provider, RECORD_SWITCH_SYMBOL);

	if (!address ||
	    os_remote_read(attach->memory_tid, -1, address, switches, sizeof(*switches)) !=
	            sizeof(*switches) ||
	    !is_usable(attach, switches))
		*switches = (struct record_switch){ 0 };
}

uint64_t attach_switch_word(const struct attach *attach, const char *name)
{
	const struct record_switch *switches = &attach->switches;
	const struct {
		const char *name;
		uint64_t address;
	} words[] = {
		{ "allocated", switches->allocated }, { "freed", switches->freed },
		{ "stack", switches->stack },         { "called", switches->called },
		{ "records", switches->records },     { "every_call", switches->every_call },
		{ "mapped", switches->mapped },       { "mapped_shared", switches->mapped_shared },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcmp(words[i].name, name))
			return words[i].address;
	return 0;
}

struct error *attach_write_room(struct attach *attach)
{
	return os_inject_write(attach->memory_tid, attach->room_address, &attach->room,
	                       sizeof(attach->room));
}

struct error *attach_write_function(struct attach *attach, size_t index)
{
	return os_inject_write(attach->memory_tid,
	                       attach->room.functions + index * sizeof(*attach->functions),
	                       &attach->functions[index], sizeof(*attach->functions));
}

struct error *attach_own_start(int pid, uint64_t *ret)
{
	struct os_process process;

	TRY(os_process_read(pid, &process));
	if (process.state == 'Z' || process.state == 'X')
		return error_new(ERROR_GONE, "process %d has ended", pid);
	*ret = process.launched_ns;
	return NULL;
}

bool attach_room_is_patched(const struct attach *attach)
{
	for (size_t i = 0; i < attach->room.function_count; i++)
		if (attach->functions[i].site)
			return true;
	return false;
}

// A child made by fork has its parent's room; there the recorder has ended by itself.
bool attach_room_is_inherited(const struct attach *attach)
{
	struct os_process process;

	return !os_process_read(attach->pid, &process) && process.own_pid > 0 &&
	       (uint64_t)process.own_pid != attach->room.process;
}

bool attach_room_is_stale(const struct attach *attach)
{
	uint64_t start;

	if (attach->room.owner <= 0 || attach_own_start(attach->room.owner, &start))
		return true;
	return start - attach->room.owner_start + CLOCK_STEP_NS > 2 * CLOCK_STEP_NS;
}
