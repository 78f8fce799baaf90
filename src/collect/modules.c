// SPDX-License-Identifier: MIT
// The shared table of mapped ELF files, taken over into the log; and whether an address lies in one.
// Called by stream.c.
#include "collect/collect_impl.h"

#include <stdlib.h>
#include <string.h>

#include "base/search.h"

#define CHUNK_SHIFT 21

void collect_modules_init(struct collect_modules *modules)
{
	memset(modules->chunks, 0, sizeof(modules->chunks));
	vec_init(&modules->modules, &os_page_source);
	vec_init(&modules->sorted, &os_page_source);
}

void collect_modules_deinit(struct collect_modules *modules)
{
	vec_deinit(&modules->modules);
	vec_deinit(&modules->sorted);
}

static int by_start(const void *a, const void *b)
{
	const struct collect_module *left = a, *right = b;

	return (left->start > right->start) - (left->start < right->start);
}

static void mark_chunks(struct collect_modules *modules, const struct collect_module *module)
{
	uint64_t first = module->start >> CHUNK_SHIFT, last = (module->end - 1) >> CHUNK_SHIFT;

	for (uint64_t n = 0; n < COLLECT_MODULE_CHUNKS && first + n <= last; n++) {
		uint64_t chunk = (first + n) & (COLLECT_MODULE_CHUNKS - 1);

		modules->chunks[chunk / 64] |= UINT64_C(1) << (chunk % 64);
	}
}

static void sort(struct collect_modules *modules)
{
	modules->sorted.n = 0;
	memset(modules->chunks, 0, sizeof(modules->chunks));
	for (size_t i = 0; i < modules->modules.n; i++) {
		if (modules->modules.v[i].ended)
			continue;
		vec_push(&modules->sorted, modules->modules.v[i]);
		mark_chunks(modules, &modules->modules.v[i]);
	}
	if (modules->sorted.n)
		qsort(modules->sorted.v, modules->sorted.n, sizeof(*modules->sorted.v), by_start);
}

static void end_module(struct collect_modules *modules, size_t module, uint64_t unloaded_ns,
                       struct collect_pack *pack)
{
	struct collect_module_end end = { module, unloaded_ns };

	modules->modules.v[module].ended = true;
	vec_push(&pack->module_ends, end);
}

static void add_module(struct collect_modules *modules, const struct record_module *shared,
                       uint64_t loaded, const struct collect_clock *clock,
                       struct collect_pack *pack)
{
	struct record_module copy;
	struct collect_module module;
	struct log_module log;

	memcpy(&copy, shared, sizeof(copy));
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	log = (struct log_module){
		.start = copy.start,
		.end = copy.end > copy.start ? copy.end : copy.start,
		.bias = copy.bias,
		.loaded_ns = collect_clock_ns(clock, loaded),
		.unloaded_ns = UINT64_MAX,
		.device = copy.device,
		.inode = copy.inode,
		.build_id_bytes =
			copy.build_id_bytes <= RECORD_BUILD_ID_BYTES ? copy.build_id_bytes : 0,
		.path = arena_copy_n(&pack->arena, copy.path, sizeof(copy.path) - 1),
	};
	memcpy(log.build_id, copy.build_id, sizeof(log.build_id));
	vec_push(&pack->modules, log);
	module = (struct collect_module){ log.start, log.end, log.end == log.start };
	vec_push(&modules->modules, module);
}

void collect_modules_update(struct collect_modules *modules, const struct collect_share *share,
                            const struct collect_clock *clock, bool again,
                            struct collect_pack *pack)
{
	uint32_t count = collect_load_32(&share->header->module_count);
	size_t known = modules->modules.n;
	bool changed = false;

	if (count > share->module_capacity)
		count = share->module_capacity;
	if (!again && known >= count)
		return;
	for (size_t i = known; i < count; i++) {
		uint64_t loaded = collect_load_64(&share->modules[i].loaded);

		if (!loaded) // being written; the rest comes in another round
			break;
		add_module(modules, &share->modules[i], loaded, clock, pack);
		changed = true;
	}
	for (size_t i = 0; i < modules->modules.n; i++) {
		uint64_t unloaded = collect_load_64(&share->modules[i].unloaded);

		if (!unloaded || modules->modules.v[i].ended)
			continue;
		end_module(modules, i, collect_clock_ns(clock, unloaded), pack);
		changed = true;
	}
	if (changed)
		sort(modules);
}

bool collect_modules_hold(const struct collect_modules *modules, uint64_t address)
{
	size_t at = first_index(modules->sorted.n, i, modules->sorted.v[i].start > address);

	return at && address < modules->sorted.v[at - 1].end;
}
