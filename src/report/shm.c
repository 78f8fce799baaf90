// SPDX-License-Identifier: MIT
// The shared memory of the machine: every segment with its size, who uses it, and whether anybody does.
// Called by tools/shm.c.
#include <inttypes.h>

#include "accounts/accounts.h"
#include "base/text.h"
#include "os/os.h"
#include "report/report.h"

#define MOST_PIDS  4 // in a line; -v lists all
#define PIDS_BYTES 64

struct shm_view {
	const struct shm_settings *settings;
	struct segments segments;
	struct arena arena;
	uint64_t unused_count, unused_bytes, allocated_bytes;
};

static const char *const kind_words[] = {
	[SEGMENT_POSIX] = "POSIX",         [SEGMENT_SYSV] = "System V", [SEGMENT_MEMFD] = "memfd",
	[SEGMENT_ANONYMOUS] = "anonymous", [SEGMENT_TMPFS] = "tmpfs",   [SEGMENT_OTHER] = "kernel",
};

static const char *const kind_keys[] = {
	[SEGMENT_POSIX] = "posix",         [SEGMENT_SYSV] = "sysv",   [SEGMENT_MEMFD] = "memfd",
	[SEGMENT_ANONYMOUS] = "anonymous", [SEGMENT_TMPFS] = "tmpfs", [SEGMENT_OTHER] = "kernel",
};

static const char *const verdict_words[] = {
	[SEGMENT_USED] = "used",
	[SEGMENT_UNUSED] = "unused",
	[SEGMENT_ORPHANED] = "orphaned",
};

static char *size_text(bool known, uint64_t bytes, char buffer[TEXT_SIZE_BYTES])
{
	if (!known)
		buffer[0] = '-', buffer[1] = '\0';
	else
		text_size_k(bytes, buffer);
	return buffer;
}

// What a reader must know to act on it.
static const char *remark(struct shm_view *view, const struct segment *segment)
{
	if (segment->verdict == SEGMENT_ORPHANED)
		return arena_format(&view->arena,
		                    "orphaned: nobody maps it, %d that made it has ended",
		                    segment->creator_pid);
	if (segment->verdict == SEGMENT_USED)
		return segment->deleted ? "unlinked: ends with its last user" : NULL;
	return segment->kind == SEGMENT_SYSV ? "unused: nobody maps it"
	                                     : "unused: nobody maps it or has it open, and it was "
	                                       "never unlinked";
}

static const char *pids_text(const struct segment *segment, char buffer[PIDS_BYTES])
{
	size_t n = 0, shown = segment->user_count < MOST_PIDS ? segment->user_count : MOST_PIDS;

	for (size_t i = 0; i < shown; i++)
		n += (size_t)snprintf(buffer + n, PIDS_BYTES - n, "%s%d", i ? " " : "",
		                      segment->users[i].pid);
	if (segment->user_count > shown)
		snprintf(buffer + n, PIDS_BYTES - n, " +%zu", segment->user_count - shown);
	return segment->user_count ? buffer : "-";
}

static void emit_users(struct emitter *e, struct shm_view *view, const struct segment *segment)
{
	char size[TEXT_SIZE_BYTES];

	emit_array(e, "users");
	for (size_t i = 0; i < segment->user_count; i++) {
		const struct segment_user *user = &segment->users[i];
		const char *name = text_printable(&view->arena, user->name);

		emit_object(e, NULL);
		if (view->settings->common.verbose)
			emit_text(e,
			          "                     %s [%d]: maps %s in %u, %u descriptors\n",
			          name, user->pid, size_text(true, user->mapped_bytes, size),
			          user->mapping_count, user->descriptor_count);
		emit_u64(e, "pid", (uint64_t)user->pid, NULL);
		emit_string(e, "name", name, NULL);
		emit_u64(e, "mapped_bytes", user->mapped_bytes, NULL);
		emit_u64(e, "mapping_count", user->mapping_count, NULL);
		emit_u64(e, "descriptor_count", user->descriptor_count, NULL);
		emit_object_end(e);
	}
	emit_array_end(e);
}

static void json_sysv(struct emitter *e, const struct segment *segment)
{
	if (segment->kind != SEGMENT_SYSV)
		return;
	emit_address(e, "key", segment->key, NULL);
	emit_u64(e, "id", (uint64_t)segment->id, NULL);
	emit_u64(e, "creator_pid", (uint64_t)segment->creator_pid, NULL);
	emit_bool(e, "creator_lives", segment->creator_lives, NULL);
	emit_u64(e, "last_pid", (uint64_t)segment->last_pid, NULL);
	emit_known_u64(e, "resident_bytes", segment->has_swapped, segment->resident_bytes, NULL);
	emit_known_u64(e, "swapped_bytes", segment->has_swapped, segment->swapped_bytes, NULL);
}

static void emit_segment(struct emitter *e, struct shm_view *view, const struct segment *segment)
{
	const char *name = text_printable(&view->arena, segment->name), *note;
	char sizes[2][TEXT_SIZE_BYTES], pids[PIDS_BYTES];

	note = remark(view, segment);
	emit_object(e, NULL);
	emit_text(e, "%9s %9s  %-9s  %-20s  %s\n",
	          size_text(segment->has_bytes, segment->bytes, sizes[0]),
	          size_text(segment->has_bytes, segment->allocated_bytes, sizes[1]),
	          kind_words[segment->kind], pids_text(segment, pids), name);
	emit_string(e, "kind", kind_keys[segment->kind], NULL);
	emit_string(e, "name", name, NULL);
	emit_u64(e, "device", segment->device, NULL);
	emit_u64(e, "inode", segment->inode, NULL);
	emit_known_u64(e, "size_bytes", segment->has_bytes, segment->bytes, NULL);
	emit_known_u64(e, "allocated_bytes", segment->has_bytes, segment->allocated_bytes, NULL);
	emit_known_u64(e, "owner_uid", segment->has_owner, segment->owner_uid, NULL);
	emit_bool(e, "unlinked", segment->deleted, NULL);
	emit_string(e, "verdict", verdict_words[segment->verdict], NULL);
	emit_string(e, "remark", note, "                     %s\n");
	json_sysv(e, segment);
	emit_users(e, view, segment);
	emit_object_end(e);
}

static void count_segment(struct shm_view *view, const struct segment *segment)
{
	view->allocated_bytes += segment->allocated_bytes;
	if (segment->verdict == SEGMENT_USED)
		return;
	view->unused_count++;
	view->unused_bytes += segment->allocated_bytes;
}

static void emit_segments(struct emitter *e, struct shm_view *view)
{
	bool only_unused = view->settings->orphaned;

	emit_text(e, "     SIZE    IN USE  KIND       USERS                 NAME\n");
	emit_array(e, "segments");
	for (size_t i = 0; i < view->segments.count; i++) {
		const struct segment *segment = &view->segments.segments[i];

		count_segment(view, segment);
		if (!only_unused || segment->verdict != SEGMENT_USED)
			emit_segment(e, view, segment);
	}
	emit_array_end(e);
}

static void emit_mounts(struct emitter *e, struct shm_view *view)
{
	char sizes[2][TEXT_SIZE_BYTES];

	if (view->settings->orphaned)
		return;
	emit_text(e, "\nFile systems in memory:\n    LIMIT    IN USE  PLACE\n");
	emit_array(e, "file_systems");
	for (size_t i = 0; i < view->segments.mount_count; i++) {
		const struct segment_mount *mount = &view->segments.mounts[i];

		emit_object(e, NULL);
		emit_text(e, "%9s %9s  ", size_text(mount->has_bytes, mount->limit_bytes, sizes[0]),
		          size_text(mount->has_bytes, mount->bytes, sizes[1]));
		emit_string(e, "place", text_printable(&view->arena, mount->place), "%s\n");
		emit_known_u64(e, "limit_bytes", mount->has_bytes, mount->limit_bytes, NULL);
		emit_known_u64(e, "allocated_bytes", mount->has_bytes, mount->bytes, NULL);
		emit_object_end(e);
	}
	emit_array_end(e);
}

static void emit_totals(struct emitter *e, struct shm_view *view)
{
	char all[TEXT_SIZE_BYTES], unused[TEXT_SIZE_BYTES];

	emit_text(e, "\n%zu segments, %s in use; %" PRIu64 " of them unused or orphaned (%s).\n",
	          view->segments.count, text_size_k(view->allocated_bytes, all), view->unused_count,
	          text_size_k(view->unused_bytes, unused));
	emit_u64(e, "segment_count", view->segments.count, NULL);
	emit_u64(e, "allocated_bytes", view->allocated_bytes, NULL);
	emit_u64(e, "unused_count", view->unused_count, NULL);
	emit_u64(e, "unused_bytes", view->unused_bytes, NULL);
	emit_u64(e, "unseen_process_count", view->segments.unseen_count, NULL);
	if (view->segments.unseen_count)
		emit_text(e,
		          "Processes that may not be looked at: %zu. What they use is missing, and "
		          "what\nseems unused may be theirs.\n",
		          view->segments.unseen_count);
}

struct error *report_shm(const struct shm_settings *settings, int *ret_exit)
{
	struct shm_view view = { .settings = settings };
	struct accounts *accounts;
	struct error *error;
	struct emitter *e;

	TRY(accounts_open(&accounts));
	arena_init(&view.arena, &os_page_source);
	error = segments_read(accounts, &view.arena, &view.segments);
	if (!error) {
		e = emit_begin(settings->common.out, settings->common.json ? EMIT_JSON : EMIT_TEXT);
		emit_string(e, "tool", settings->common.tool, NULL);
		emit_string(e, "version", HEAPWRIGHT_VERSION, NULL);
		emit_segments(e, &view);
		emit_mounts(e, &view);
		emit_totals(e, &view);
		error = emit_end(e);
	}
	*ret_exit = settings->orphaned && view.unused_count ? EXIT_FOUND
	            : view.segments.unseen_count            ? EXIT_PARTLY
	                                                    : EXIT_FINE;
	accounts_close(accounts);
	arena_deinit(&view.arena);
	return error;
}
