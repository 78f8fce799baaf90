// SPDX-License-Identifier: MIT
// A look through a clone: the tool's side. A guardian process (guardian.c) stops
// the target, makes the clone and lets the target go; here the clone is read at
// leisure, and given up again. Called by live.c.
#include "target/clone_impl.h"

#include <stdio.h>
#include <string.h>

#define BLOCK_BYTES       (512ull << 20) // of address space; only what is used costs memory
#define BLOCK_BYTES_SMALL (64ull << 20)  // where the kernel does not overcommit

// Below this a copy in place takes no longer than a clone.
#define WORTH_BYTES (16ull << 20)

struct clone_share {
	void *memory;
	size_t bytes;
};

struct clone {
	struct guardian guardian; // as forked
	int guardian_pid;
	int target_pagemap; // for shared memory, which the clone has but does not show as present
	VEC(struct clone_share) shares;
};

static bool has_flag(const struct os_mapping *mapping, const char *word)
{
	return mapping->counts && os_flags_have(mapping->counts->flags, word);
}

// --- the guardian --------------------------------------------------------------------------------
static struct error *ask(struct clone *clone, enum guardian_verb verb, const uint64_t arguments[3],
                         uint64_t *ret)
{
	struct guardian_request request = { .verb = verb };
	struct guardian_reply reply;
	int channel = clone->guardian.channel;

	memcpy(request.arguments, arguments, sizeof(request.arguments));
	if (!os_channel_send(channel, &request, sizeof(request)) ||
	    !os_channel_receive(channel, &reply, sizeof(reply)))
		return error_new(ERROR_GONE, "the guardian of the clone has ended");
	if (reply.failed) {
		struct error *error = error_new(reply.error.kind, "%s", reply.error.text);

		error->errno_value = reply.error.errno_value;
		error->has_address = reply.error.has_address;
		error->address = reply.error.address;
		return error;
	}
	*ret = reply.result;
	return NULL;
}

// Ends the guardian, which ends the clone. When somebody killed the guardian, the clone died with
// it, and what it would have done for the target is done here.
static void dismiss(struct clone *clone)
{
	struct guardian *guardian = &clone->guardian;
	struct guardian_block *block = guardian->block;

	os_close(guardian->channel);
	if (os_process_collect(clone->guardian_pid) != 0 && block->injection.child_there > 0)
		(void)guardian_reap(guardian->pid, &block->injection, &guardian->gadgets);
	os_release(block, block->bytes);
	os_close(clone->target_pagemap);
	for (size_t i = 0; i < clone->shares.n; i++)
		os_release(clone->shares.v[i].memory, clone->shares.v[i].bytes);
	vec_deinit(&clone->shares);
}

static struct error *start_guardian(struct clone *clone)
{
	struct guardian *guardian = &clone->guardian;
	size_t bytes = BLOCK_BYTES;

	guardian->block = os_share(bytes);
	if (!guardian->block)
		guardian->block = os_share(bytes = BLOCK_BYTES_SMALL);
	if (!guardian->block)
		return &error_out_of_memory;
	guardian->block->bytes = bytes;
	guardian->block->used = sizeof(*guardian->block);
	struct error *error =
		os_guardian_fork("heapwright-grd", &clone->guardian_pid, &guardian->channel);
	if (error) {
		os_release(guardian->block, bytes);
		return error;
	}
	if (clone->guardian_pid == 0)
		guardian_serve(guardian);
	return NULL;
}

// --- whether -------------------------------------------------------------------------------------
static bool is_worth_it(const struct live *live)
{
	const struct os_process *process = &live->process;

	return live->options.force_clone ||
	       process->anonymous_bytes + process->shared_bytes + process->swapped_bytes >=
	               WORTH_BYTES;
}

static const char *refuse_mappings(const struct guardian *guardian)
{
	for (size_t i = 0; i < guardian->mapping_count; i++) {
		const struct os_mapping *mapping = &guardian->mappings[i];

		// A clone may have to wait for who handles the faults, who is stopped.
		if (has_flag(mapping, "um") || has_flag(mapping, "uw") || has_flag(mapping, "ui"))
			return "it handles page faults itself (userfaultfd)";
	}
	return NULL;
}

static void find_uncloned(struct arena *arena, struct guardian *guardian)
{
	guardian->uncloned =
		arena_array(arena, guardian->mapping_count, sizeof(struct os_mapping *));
	for (size_t i = 0; i < guardian->mapping_count; i++)
		if (has_flag(&guardian->mappings[i], "dc") ||
		    has_flag(&guardian->mappings[i], "wf"))
			guardian->uncloned[guardian->uncloned_count++] = &guardian->mappings[i];
}

static const char *refuse(const struct live *live)
{
	const struct os_inject_cpu *cpu = os_inject_cpu();
	const char *refusal;
	bool filtered;

	if (live->options.no_inject)
		return "it was asked for";
	if (!is_worth_it(live))
		return "it is small";
	if (!cpu->supported || !live->cpu || live->cpu->elf_machine != cpu->elf_machine ||
	    live->cpu->word_bytes != sizeof(uint64_t))
		return "clones are made of 64-bit x86 programs only";
	if (live->process.tracer_pid)
		return "another program traces it";
	if (live->process.state == 'T' || live->process.state == 't')
		return "it is stopped";
	refusal = os_inject_refuse_status(live->pid, live->memory_tid, &filtered);
	return refusal ? refusal : os_inject_refuse_room(live->pid, &live->process);
}

// Their flags tell what a clone would not have. Whoever asked for counts has read them a moment ago.
static struct error *read_counted(struct live *live)
{
	struct os_mapping *mappings;
	bool stable;

	if (live->counted)
		return NULL;
	TRY(os_mappings_read(live->target->arena, live->memory_tid, true, &mappings,
	                     &live->counted_count, &stable));
	live->counted = mappings;
	return NULL;
}

static struct error *prepare(struct live *live, struct guardian *guardian, const char **ret_refusal)
{
	const struct os_mapping *mappings;

	*ret_refusal = refuse(live);
	if (*ret_refusal)
		return NULL;
	TRY(read_counted(live));
	guardian->mappings = mappings = live->counted;
	guardian->mapping_count = live->counted_count;
	guardian->pid = live->pid;
	guardian->memory_tid = live->memory_tid;
	guardian->cpu = live->cpu;
	guardian->thread_count = live->process.thread_count;
	find_uncloned(live->target->arena, guardian);
	*ret_refusal = refuse_mappings(guardian);
	os_inject_find_gadgets(live->memory_tid, mappings, guardian->mapping_count,
	                       &guardian->gadgets);
	if (!*ret_refusal && (!guardian->gadgets.call_return || !guardian->gadgets.sigreturn))
		*ret_refusal = "its code has no system call that we could use";
	return NULL;
}

// --- the clone's memory --------------------------------------------------------------------------
static struct clone *clone_of(struct target *target)
{
	struct live *live = target->own;

	return live->clone;
}

static struct error *clone_present(struct target *target, uint64_t start, uint64_t end,
                                   void (*each)(void *, uint64_t, uint64_t), void *context)
{
	const struct target_segment *segment = target_segment_at(target, start);
	struct live *live = target->own;
	int pagemap = segment->shared ? live->clone->target_pagemap : live->pagemap;
	bool is_file = segment->file && !segment->file->anonymous;
	uint64_t page_bytes = os_page_bytes();
	struct error *error = NULL;
	struct os_ranges ranges;

	vec_init(&ranges.ranges, &os_page_source);
	if (!is_file && pagemap >= 0 && !segment->image)
		error = os_present_ranges(pagemap, round_down(start, page_bytes),
		                          round_up(end, page_bytes),
		                          segment->shared ? OS_PRESENT : OS_PRESENT_OWN, &ranges);
	// Shared memory can only be asked for while the target lives.
	if (is_file || pagemap < 0 || segment->image || error ||
	    (segment->shared && !ranges.ranges.n))
		each(context, start, end);
	else
		for (size_t i = 0; i < ranges.ranges.n; i++) {
			const struct os_range *range = &ranges.ranges.v[i];

			each(context, range->start > start ? range->start : start,
			     range->end < end ? range->end : end);
		}
	vec_deinit(&ranges.ranges);
	return NULL;
}

static struct error *clone_share(struct target *target, size_t bytes, struct target_shared *ret)
{
	struct clone *clone = clone_of(target);
	uint64_t arguments[3] = { 0 }, descriptor;
	struct clone_share share = { .bytes = bytes };

	TRY(ask(clone, GUARDIAN_MEMFD, arguments, &descriptor));
	TRY(os_share_descriptor(clone->guardian.block->injection.child, (int)descriptor, bytes,
	                        &share.memory));
	vec_push(&clone->shares, share);
	arguments[0] = descriptor;
	arguments[1] = bytes;
	TRY(ask(clone, GUARDIAN_MAP, arguments, &ret->there));
	ret->here = share.memory;
	ret->bytes = bytes;
	return NULL;
}

static struct error *clone_run(struct target *target, uint64_t entry, uint64_t argument,
                               uint64_t stack)
{
	const uint64_t arguments[3] = { entry, argument, stack };
	uint64_t ignored;

	return ask(clone_of(target), GUARDIAN_RUN, arguments, &ignored);
}

static void clone_close(struct target *target)
{
	dismiss(clone_of(target));
	live_close(target);
}

// --- making the target ---------------------------------------------------------------------------
static const struct target_segment *find_before(const struct target_segment *before, size_t count,
                                                uint64_t start)
{
	for (size_t i = 0; i < count; i++)
		if (before[i].start == start)
			return &before[i];
	return NULL;
}

static void miss(struct live *live, const struct target_segment *segment)
{
	target_warn(live->target,
	            "the mapping at 0x%llx (%llu bytes) is not passed to copies and was not read",
	            (unsigned long long)segment->start,
	            (unsigned long long)(segment->end - segment->start));
	live->target->complete = false;
}

static const struct live_image *image_at(const struct guardian_block *block, uint64_t start)
{
	for (size_t i = 0; i < block->image_count; i++)
		if (block->images[i].start == start)
			return &block->images[i];
	return NULL;
}

// Gives the segments that a clone lacks or gets empty the contents that the guardian took.
static void add_uncloned(struct live *live, const struct target_segment *before,
                         size_t before_count)
{
	const struct guardian *guardian = &live->clone->guardian;
	struct target *target = live->target;
	size_t count = target->segment_count;
	struct target_segment *all =
		arena_array(target->arena, count + guardian->uncloned_count, sizeof(*all));

	memcpy(all, target->segments, count * sizeof(*all));
	for (size_t i = 0; i < guardian->uncloned_count; i++) {
		const struct os_mapping *mapping = guardian->uncloned[i];
		const struct target_segment *old =
			find_before(before, before_count, mapping->start);
		const struct live_image *image = image_at(guardian->block, mapping->start);
		size_t at = 0;

		if (!old)
			continue;
		while (at < count && all[at].end <= old->start)
			at++;
		if (at == count || all[at].start >= old->end) {
			memmove(&all[at + 1], &all[at], (count++ - at) * sizeof(*all));
			all[at] = *old;
			all[at].readable = image;
		}
		if (image && all[at].start == image->start && all[at].end == image->end)
			all[at].image = image->memory;
		else if (all[at].protection & TARGET_WRITE)
			miss(live, old);
	}
	target->segments = all;
	target->segment_count = count;
}

static void read_from_clone(struct live *live)
{
	char path[64];
	int clone = live->clone->guardian.block->injection.child;

	live->clone->target_pagemap = live->pagemap;
	os_close(live->memory);
	live->memory = live->pagemap = -1;
	live->memory_tid = clone;
	snprintf(path, sizeof(path), "/proc/%d/mem", clone);
	(void)os_open(path, &live->memory);
	live->is_clone = true;
	snprintf(path, sizeof(path), "/proc/%d/pagemap", clone);
	(void)os_open(path, &live->pagemap);
}

static void set_operations(struct target *target)
{
	struct target_ops *ops = arena_alloc(target->arena, sizeof(*ops));

	*ops = *target->ops;
	ops->read = live_read;
	ops->present = clone_present;
	ops->share = clone_share;
	ops->run = clone_run;
	ops->close = clone_close;
	target->ops = ops;
	target->kind = TARGET_CLONE;
}

static struct error *adopt(struct live *live)
{
	struct guardian_block *block = live->clone->guardian.block;
	const struct target_segment *before = live->target->segments;
	size_t before_count = live->target->segment_count;
	struct target *target = live->target;
	struct stop stop = {
		.pid = live->pid,
		.cpu = live->cpu,
		.threads = { .v = block->threads, .n = block->thread_count },
		.vectors = { .v = block->vectors, .n = block->vector_bytes },
		.began_ns = block->began_ns,
		.ended_ns = block->ended_ns,
	};

	TRY(live_read_segments(live, block->injection.child, false));
	if (live_has_restarted(live))
		return error_new(ERROR_GONE, "the process started another program");
	read_from_clone(live);
	live_take_counts(live, before, before_count);
	live_set_threads(live, &stop);
	add_uncloned(live, before, before_count);
	set_operations(target);
	target->has_stop = true;
	target->stopped_ms = (double)(stop.ended_ns - stop.began_ns) / 1e6;
	target->how =
		arena_format(target->arena, "read through a clone: %zu threads stopped for %.1f ms",
	                     stop.threads.n, target->stopped_ms);
	return NULL;
}

static struct error *look(struct live *live, const char **ret_refusal)
{
	const uint64_t arguments[3] = { 0 };
	struct clone *clone = live->clone;
	struct error *error;
	uint64_t ignored;

	error = ask(clone, GUARDIAN_LOOK, arguments, &ignored);
	if (!error && clone->guardian.block->why_not[0])
		*ret_refusal = arena_copy(live->target->arena, clone->guardian.block->why_not);
	else if (!error)
		error = adopt(live);
	return error;
}

struct error *clone_look(struct live *live, const char **ret_refusal)
{
	struct clone *clone = arena_alloc(live->target->arena, sizeof(*clone));
	struct error *error;

	*clone = (struct clone){ .target_pagemap = -1 };
	vec_init(&clone->shares, &os_page_source);
	TRY(prepare(live, &clone->guardian, ret_refusal));
	if (*ret_refusal)
		return NULL;
	TRY(start_guardian(clone));
	live->clone = clone;
	error = look(live, ret_refusal);
	if (!error && !*ret_refusal)
		return NULL;
	dismiss(clone);
	live->clone = NULL;
	if (error && error->kind != ERROR_GONE && error->kind != ERROR_RIGHTS) {
		*ret_refusal = arena_copy(live->target->arena, error->text);
		return NULL;
	}
	return error;
}
