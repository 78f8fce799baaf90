// SPDX-License-Identifier: MIT
// footprint --unmapped: shared memory that a process keeps alive, or made, and does not map. No count of
// its mappings has it. Called by footprint.c.
#include <inttypes.h>

#include "base/text.h"
#include "report/footprint_impl.h"

static const struct segment_user *user_in(const struct segment *segment, int pid)
{
	for (size_t i = 0; i < segment->user_count; i++)
		if (segment->users[i].pid == pid)
			return &segment->users[i];
	return NULL;
}

static bool is_kept(const struct segment *segment, int pid)
{
	const struct segment_user *user = user_in(segment, pid);

	if (user && user->mapping_count)
		return false;
	return user ? user->descriptor_count
	            : segment->kind == SEGMENT_SYSV && segment->creator_lives &&
	                       segment->creator_pid == pid;
}

static void emit_mappers(struct emitter *e, const struct segment *segment)
{
	bool any = false;

	emit_array(e, "mapped_by");
	for (size_t i = 0; i < segment->user_count; i++) {
		if (!segment->users[i].mapping_count)
			continue;
		emit_text(e, any ? " " : " mapped by ");
		emit_u64(e, NULL, (uint64_t)segment->users[i].pid, "%" PRIu64);
		any = true;
	}
	emit_array_end(e);
	emit_text(e, any ? "\n" : " mapped by nobody\n");
}

void footprint_emit_unmapped(struct emitter *e, struct footprint_view *view, int pid)
{
	char size[FOOTPRINT_SIZE_BYTES];
	uint64_t bytes = 0;

	emit_array(e, "unmapped");
	for (size_t i = 0; i < view->segments.count; i++) {
		const struct segment *segment = &view->segments.segments[i];

		if (!is_kept(segment, pid))
			continue;
		bytes += segment->allocated_bytes;
		emit_object(e, NULL);
		emit_text(e, "    unmapped: %s",
		          footprint_size(view, segment->allocated_bytes, size));
		emit_string(e, "name", text_printable(&view->arena, segment->name), " %s");
		emit_u64(e, "bytes", segment->allocated_bytes, NULL);
		emit_mappers(e, segment);
		emit_object_end(e);
	}
	emit_array_end(e);
	emit_u64(e, "unmapped_bytes", bytes, NULL);
	emit_text(e, "    unmapped, in all: %s\n", footprint_size(view, bytes, size));
}
