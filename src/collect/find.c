// SPDX-License-Identifier: MIT
// Questions of the tools about the recording of a process: is there one, and may it write now what it
// has. Called by tools.
#include "collect/collect_impl.h"

#include <string.h>

#include "base/text.h"

// Where the mapping cannot be opened (nobody holds its descriptor: lite mode), the header is read in
// the memory of the process.
static struct error *read_header(int process, uint64_t address, struct collect_share *share,
                                 struct record_header *copy)
{
	struct error *error = collect_share_open(process, -1, share);

	if (!error) {
		memcpy(copy, share->header, sizeof(*copy));
		collect_share_close(share);
		return NULL;
	}
	if (os_remote_read(os_memory_tid(process), -1, address, copy, sizeof(*copy)) !=
	    sizeof(*copy))
		return error;
	if (memcmp(copy->magic, RECORD_MAGIC, sizeof(copy->magic)) != 0 ||
	    copy->version != RECORD_VERSION || copy->bytes != sizeof(*copy))
		return error_at(ERROR_DAMAGED, address,
		                "the recording of process %d cannot be read", process);
	return NULL;
}

struct error *collect_find(int process, struct arena *arena, struct collect_recording *ret)
{
	struct record_header *header = arena_alloc(arena, sizeof(*header));
	struct collect_share share;
	uint64_t start, end;

	TRY(collect_share_find(process, &start, &end));
	TRY(read_header(process, start, &share, header));
	*ret = (struct collect_recording){
		.process = process,
		.mode = header->mode,
		.log_path = arena_copy_n(arena, header->log_path, sizeof(header->log_path) - 1),
		.address = start,
	};
	if (header->collector == RECORD_COLLECTOR_RUNS)
		ret->collector = (int)header->collector_id;
	return NULL;
}

const char *collect_log_path(const struct collect_recording *recording, struct arena *arena)
{
	const char *path = recording->log_path;

	if (!*path)
		return NULL;
	if (log_is(path))
		return path;
	return arena_format(arena, "/proc/%d/root%s", os_memory_tid(recording->process), path);
}

bool collect_log_is(const char *log)
{
	return log_is(log);
}

const char *collect_log_failure(const char *log, struct arena *arena)
{
	const char *text = NULL, *failure = NULL;
	struct log_reader *reader;

	if (log_open(log, &reader))
		return NULL;
	for (size_t i = 0; i < log_note_count(reader); i++)
		if (log_note(reader, i)->kind == LOG_NOTE_END &&
		    !log_read_note(reader, i, arena, &text) &&
		    text_starts_with(text, COLLECT_FAILED))
			failure = text_printable(arena, text + strlen(COLLECT_FAILED));
	if (!failure && !log_complete(reader))
		failure =
			"its collector was ended before it could close it; it is good up to there";
	log_close(reader);
	return failure;
}

struct error *collect_flush(int process, uint64_t limit_ns)
{
	uint64_t deadline = os_monotonic_ns() + limit_ns, now;
	struct collect_share share;
	struct record_header *header;
	uint32_t asked, done;

	TRY(collect_share_open(process, -1, &share));
	header = share.header;
	asked = __atomic_add_fetch(&header->flush_asked, 1, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&header->wake, 1, __ATOMIC_SEQ_CST);
	os_shared_wake(&header->wake);
	while ((int32_t)((done = collect_load_32(&header->flush_done)) - asked) < 0) {
		now = os_monotonic_ns();
		if (now >= deadline || collect_load_32(&header->collector) != RECORD_COLLECTOR_RUNS)
			break;
		os_shared_wait(&header->flush_done, done, deadline - now);
	}
	collect_share_close(&share);
	if ((int32_t)(done - asked) >= 0)
		return NULL;
	return error_new(ERROR_GONE, "the collector of process %d does not answer", process);
}
