// SPDX-License-Identifier: MIT
// The sections of a snapshot file, each from what the look knows (snapshot.c,
// layout/snapshot.h).
#include <string.h>

#include "report/snapshot_impl.h"

#define MOST_FRAMES  64
#define MOST_UNWOUND 256 // threads; naming frames of thousands would take long

void put_target(struct snapshot *s, struct section *out)
{
	const struct target *t = s->look->target;
	struct snapshot_target record = {
		.pid = t->pid,
		.parent_pid = t->parent_pid,
		.name = snapshot_string(s, t->name),
		.parent_name = snapshot_string(s, t->parent_name),
		.path = snapshot_string(s, t->path),
		.cpu = snapshot_string(s, t->cpu),
		.how = snapshot_string(s, t->how),
		.word_bytes = t->word_bytes,
		.flags = (t->big_endian ? SNAPSHOT_TARGET_BIG_ENDIAN : 0u) |
		         (t->complete ? SNAPSHOT_TARGET_COMPLETE : 0u) |
		         (t->kernel_roots_known ? SNAPSHOT_TARGET_KERNEL_ROOTS : 0u) |
		         (t->has_stop ? SNAPSHOT_TARGET_STOPPED : 0u),
		.content = s->content,
		.launched_ns = t->launched_ns,
		.looked_ns = t->looked_ns,
		.stopped_ns = (uint64_t)(t->stopped_ms * 1e6),
		.footprint_bytes = t->footprint_bytes,
		.footprint_peak_bytes = t->footprint_peak_bytes,
	};

	section_add_struct(out, record);
}

static uint32_t file_index(const struct snapshot *s, const struct target_file *file)
{
	for (uint32_t i = 0; file && i < s->file_count; i++)
		if (s->files[i] == file)
			return i;
	return SNAPSHOT_NO_INDEX;
}

// Collects the files that segments and modules name.
static void files_collect(struct snapshot *s)
{
	const struct target *t = s->look->target;

	s->files = arena_array(s->look->arena, t->segment_count, sizeof(*s->files));
	for (size_t i = 0; i < t->segment_count; i++) {
		const struct target_file *file = t->segments[i].file;

		if (file && file_index(s, file) == SNAPSHOT_NO_INDEX)
			s->files[s->file_count++] = file;
	}
}

void put_files(struct snapshot *s, struct section *out)
{
	files_collect(s);
	for (uint32_t i = 0; i < s->file_count; i++) {
		const struct target_file *file = s->files[i];
		struct snapshot_file record = {
			.path = snapshot_string(s, file->path),
			.flags = (file->deleted ? 1u : 0u) | (file->anonymous ? 2u : 0u),
			.device = file->device,
			.inode = file->inode,
			.build_id_bytes = file->build_id_bytes,
		};

		memcpy(record.build_id, file->build_id, sizeof(record.build_id));
		section_add_struct(out, record);
	}
}

static struct snapshot_pages pages_of(const struct target_pages *p)
{
	return (struct snapshot_pages){
		p->resident,      p->proportional,         p->shared_clean, p->shared_dirty,
		p->private_clean, p->private_dirty,        p->referenced,   p->anonymous,
		p->swapped,       p->swapped_proportional, p->locked,       p->huge,
	};
}

void put_segments(struct snapshot *s, struct section *out)
{
	const struct target *t = s->look->target;

	for (size_t i = 0; i < t->segment_count; i++) {
		const struct target_segment *segment = &t->segments[i];
		struct snapshot_segment record = {
			.start = segment->start,
			.end = segment->end,
			.file_offset = segment->file_offset,
			.file = file_index(s, segment->file),
			.name = snapshot_string(s, segment->name),
			.protection = segment->protection,
			.max_protection = segment->max_protection,
			.flags = (uint8_t)((segment->shared ? 1u : 0u) |
			                   (segment->readable ? 2u : 0u) |
			                   (segment->has_pages ? 4u : 0u)),
			.page_flags = snapshot_string(s, segment->pages.flags),
			.pages = pages_of(&segment->pages),
		};

		section_add_struct(out, record);
	}
}

void put_threads(struct snapshot *s, struct section *out, struct section *registers)
{
	const struct target *t = s->look->target;

	for (size_t i = 0; i < t->thread_count; i++) {
		const struct target_thread *thread = &t->threads[i];
		struct snapshot_thread record = {
			.tid = thread->tid,
			.own_tid = thread->own_tid,
			.name = snapshot_string(s, thread->name),
			.state = (uint8_t)thread->state,
			.has_registers = thread->has_registers,
			.sp = thread->sp,
			.pc = thread->pc,
			.tp = thread->tp,
			.register_count = thread->register_count,
			.vector_bytes = (uint32_t)thread->vector_bytes,
		};

		record.registers_offset = registers->bytes.n;
		section_add(registers, thread->registers,
		            thread->register_count * sizeof(uint64_t));
		record.vector_offset = registers->bytes.n;
		section_add(registers, thread->vector, thread->vector_bytes);
		section_add_struct(out, record);
	}
}

void put_kernel_roots(struct snapshot *s, struct section *out)
{
	const struct target *t = s->look->target;

	for (size_t i = 0; i < t->kernel_root_count; i++) {
		struct snapshot_kernel_root record = {
			.value = t->kernel_roots[i].value,
			.what = snapshot_string(s, t->kernel_roots[i].what),
		};

		section_add_struct(out, record);
	}
}

void put_auxv(struct snapshot *s, struct section *out)
{
	const struct target *t = s->look->target;

	section_add(out, t->auxv, t->auxv_count * 2 * sizeof(uint64_t));
}

void put_warnings(struct snapshot *s, struct section *out)
{
	const struct target *t = s->look->target;

	for (size_t i = 0; i < t->warning_count; i++) {
		uint32_t text = snapshot_string(s, t->warnings[i]);

		section_add_struct(out, text);
	}
}

void put_modules(struct snapshot *s, struct section *out)
{
	size_t count;
	const struct symbols_module *modules = symbols_modules(s->look->symbols, &count);

	for (size_t i = 0; i < count; i++) {
		struct snapshot_module record = {
			.start = modules[i].start,
			.end = modules[i].end,
			.bias = modules[i].bias,
			.file = file_index(s, modules[i].file),
			.executable = modules[i].executable,
		};

		section_add_struct(out, record);
	}
}

static uint32_t module_index(const struct symbols *symbols, const struct symbols_module *module)
{
	size_t count;
	const struct symbols_module *modules = symbols_modules(symbols, &count);

	return module ? (uint32_t)(module - modules) : SNAPSHOT_NO_INDEX;
}

static void put_thread_frames(struct snapshot *s, struct section *out, uint32_t thread)
{
	struct symbols *symbols = s->look->symbols;
	struct symbols_frame frames[MOST_FRAMES];
	size_t count;

	if (symbols_unwind(symbols, thread, frames, MOST_FRAMES, &count))
		return; // nothing is known about where it stood
	for (size_t i = 0; i < count; i++) {
		struct symbols_name name;
		struct snapshot_frame record = { .pc = frames[i].pc, .thread = thread };

		symbols_name_at(symbols, frames[i].pc - frames[i].is_return, &name);
		record.offset = name.offset;
		record.module = module_index(symbols, name.module);
		record.function = snapshot_string(s, name.function);
		record.source = snapshot_string(s, name.file);
		record.line = name.line;
		section_add_struct(out, record);
	}
}

void put_frames(struct snapshot *s, struct section *out)
{
	size_t threads = s->look->target->thread_count;

	for (size_t i = 0; i < threads && i < MOST_UNWOUND; i++)
		put_thread_frames(s, out, (uint32_t)i);
}

void put_heaps(struct snapshot *s, struct section *out)
{
	const struct heaps *heaps = s->look->heaps;
	struct snapshot_heaps record = { heaps->used_count, heaps->used_bytes, heaps->in_malloc,
		                         snapshot_string(s, heaps->how) };

	section_add_struct(out, record);
}

void put_zones(struct snapshot *s, struct section *out)
{
	const struct heaps *heaps = s->look->heaps;

	for (size_t i = 0; i < heaps->zone_count; i++) {
		const struct heap_zone *zone = &heaps->zones[i];
		struct snapshot_zone record = {
			.address = zone->address,
			.capacity_bytes = zone->capacity_bytes,
			.used_bytes = zone->used_bytes,
			.used_count = zone->used_count,
			.free_bytes = zone->free_bytes,
			.free_count = zone->free_count,
			.largest_free_bytes = zone->largest_free_bytes,
			.name = snapshot_string(s, zone->name),
			.allocator = snapshot_string(s, zone->allocator),
			.damaged = zone->damaged,
		};

		section_add_struct(out, record);
	}
}

void put_blocks(struct snapshot *s, struct section *out)
{
	const struct heaps *heaps = s->look->heaps;

	for (size_t i = 0; i < heaps->block_count; i++) {
		const struct heap_block *b = &heaps->blocks[i];
		struct snapshot_block record = { b->hb_address,
			                         (uint64_t)b->hb_size | (uint64_t)b->hb_zone << 40 |
			                                 (uint64_t)b->hb_state << 56 |
			                                 (uint64_t)b->hb_flags << 58 };

		section_add_struct(out, record);
	}
}

void put_ranges(struct snapshot *s, struct section *out)
{
	const struct heaps *heaps = s->look->heaps;

	for (size_t i = 0; i < heaps->range_count; i++) {
		const struct heap_range *range = &heaps->ranges[i];
		struct snapshot_range record = { range->start, range->end, range->kind,
			                         range->zone };

		section_add_struct(out, record);
	}
}

void put_faults(struct snapshot *s, struct section *out)
{
	const struct heaps *heaps = s->look->heaps;

	for (size_t i = 0; i < heaps->fault_count; i++) {
		const struct heap_fault *fault = &heaps->faults[i];
		struct snapshot_fault record = {
			fault->address,
			fault->expected,
			fault->found,
			fault->block_before,
			fault->zone,
			snapshot_string(s, fault->what),
			snapshot_string(s, fault->text),
			0,
		};

		section_add_struct(out, record);
	}
}

void put_unknown(struct snapshot *s, struct section *out)
{
	const struct heaps *heaps = s->look->heaps;

	for (size_t i = 0; i < heaps->unknown_count; i++) {
		struct snapshot_unknown record = { snapshot_string(s, heaps->unknown[i].name),
			                           snapshot_string(s, heaps->unknown[i].evidence) };

		section_add_struct(out, record);
	}
}

void put_requested(struct snapshot *s, struct section *out)
{
	const struct heaps *heaps = s->look->heaps;

	for (size_t i = 0; i < heaps->requested_count; i++) {
		struct snapshot_requested record = { heaps->requested[i].address,
			                             heaps->requested[i].bytes };

		section_add_struct(out, record);
	}
}

void put_messages(struct snapshot *s, struct section *out)
{
	const struct heaps *heaps = s->look->heaps;

	for (size_t i = 0; i < heaps->message_count; i++) {
		uint32_t text = snapshot_string(s, heaps->messages[i]);

		section_add_struct(out, text);
	}
}

void put_regions(struct snapshot *s, struct section *out)
{
	const struct regions *regions = s->look->regions;

	for (size_t i = 0; i < regions->region_count; i++) {
		const struct region *region = &regions->regions[i];
		struct snapshot_region record = {
			.start = region->start,
			.end = region->end,
			.kind = region->kind,
			.type = snapshot_string(s, region->type),
			.detail = snapshot_string(s, region->detail),
			.zone = region->zone,
			.thread = region->thread,
			.flags = (region->whole_segment ? 1u : 0u) | (region->has_pages ? 2u : 0u),
			.pages = pages_of(&region->pages),
		};

		section_add_struct(out, record);
	}
}

void put_reached(struct snapshot *s, struct section *out)
{
	section_add(out, s->look->graph->reached, (s->look->heaps->block_count + 63) / 64 * 8);
}

// --- references ---------------------------------------------------------------------------------

struct reference_sections {
	struct snapshot *s;
	struct section *blocks, *roots;
};

static bool put_reference(void *context, const struct graph_reference *r)
{
	struct reference_sections *sections = context;

	if (r->from != GRAPH_NO_BLOCK) {
		struct snapshot_reference record = { r->from, r->to, r->from_offset, r->to_offset };

		section_add_struct(sections->blocks, record);
	} else {
		struct snapshot_root_reference record = {
			r->root,
			r->to_offset,
			r->to,
			snapshot_string(sections->s, report_root_text(sections->s->look, r)),
		};

		section_add_struct(sections->roots, record);
	}
	return true;
}

struct error *put_references(struct snapshot *s, struct section *out, struct section *roots)
{
	const struct heaps *heaps = s->look->heaps;
	struct reference_sections sections = { s, out, roots };
	uint32_t *blocks = arena_array(s->look->arena, heaps->block_count, sizeof(*blocks));
	size_t n = 0;

	for (uint32_t i = 0; i < heaps->block_count; i++)
		if (heaps->blocks[i].hb_state == HEAP_USED)
			blocks[n++] = i;
	return graph_references_to(s->look->graph, blocks, n, put_reference, &sections);
}

void put_types(struct snapshot *s, struct section *out, struct section *of_blocks)
{
	const struct heaps *heaps = s->look->heaps;
	const struct type *const *all;
	size_t count;

	for (uint32_t i = 0; i < heaps->block_count; i++) {
		const struct type *type = types_of(s->look->types, i);
		uint32_t id = type ? type->id : 0;

		section_add_struct(of_blocks, id);
	}
	all = types_all(s->look->types, &count);
	for (size_t i = 0; i < count; i++) {
		struct snapshot_type record = { snapshot_string(s, all[i]->name),
			                        snapshot_string(s, all[i]->language),
			                        snapshot_string(s, all[i]->binary), 0 };

		section_add_struct(out, record);
	}
}
