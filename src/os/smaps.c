// SPDX-License-Identifier: MIT
// The text /proc/PID/smaps as a stream: each mapping is handed on as soon as its lines were read, so that
// a process with 60,000 mappings needs no more memory than one with ten, and the time is the kernel's
// (fs/proc/task_mmu.c, show_smap). The parser is pure. Called by accounts.
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "os/scan_impl.h"

#define PATH_BYTES 32

struct smaps {
	struct os_smaps_mapping mapping; // the one that the next lines are about
	bool has_mapping;
	unsigned next_key; // where the table of keys is looked at first
	size_t line;
	char name[OS_SMAPS_NAME_BYTES];
	os_smaps_each_fn each;
	void *context;
};

static void hand_on(struct smaps *smaps)
{
	if (smaps->has_mapping)
		smaps->each(smaps->context, &smaps->mapping);
	smaps->has_mapping = false;
}

static struct error *take_head(struct smaps *smaps, struct scan *line)
{
	struct os_mapping head = { 0 };
	uint64_t before = smaps->mapping.end;
	size_t length;

	hand_on(smaps);
	if (!scan_mapping_head(line, &head) || head.start >= head.end)
		return error_new(ERROR_DAMAGED, "line %zu of the list of mappings makes no sense",
		                 smaps->line);
	// Between two reads of the kernel the process runs on, and borders may move.
	if (head.start < before)
		head.start = before < head.end ? before : head.end;
	length = (size_t)(line->end - line->at);
	if (length >= sizeof(smaps->name))
		length = sizeof(smaps->name) - 1;
	memcpy(smaps->name, line->at, length);
	smaps->name[length] = '\0';
	smaps->mapping = (struct os_smaps_mapping){
		.start = head.start,
		.end = head.end,
		.offset = head.offset,
		.device = head.device,
		.inode = head.inode,
		.protection = head.protection,
		.shared = head.shared,
		.name = smaps->name,
	};
	smaps->has_mapping = true;
	smaps->next_key = 0;
	return NULL;
}

static struct error *take_lines(void *context, struct scan lines)
{
	struct smaps *smaps = context;
	struct scan line;

	while (scan_line(&lines, &line)) {
		smaps->line++;
		if (line.at < line.end && scan_digit(*line.at) < 16)
			TRY(take_head(smaps, &line));
		else if (smaps->has_mapping)
			scan_count(&line, &smaps->next_key, &smaps->mapping.counts);
	}
	return NULL;
}

struct error *os_smaps_parse(const char *text, size_t bytes, os_smaps_each_fn each, void *context)
{
	struct smaps smaps = { .each = each, .context = context };

	TRY(take_lines(&smaps, (struct scan){ text, text + bytes }));
	hand_on(&smaps);
	return NULL;
}

struct error *os_smaps_read(int proc, int pid, enum os_smaps_depth depth, os_smaps_each_fn each,
                            void *context)
{
	static const char *const files[] = { "smaps", "smaps_rollup", "maps" };
	struct smaps smaps = { .each = each, .context = context };
	OS_DESCRIPTOR int fd = -1;
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "%d/%s", pid, files[depth]);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT
		               ? error_new(ERROR_GONE, "there is no process %d (any more)", pid)
		               : error_system(errno, "cannot read the mappings of process %d", pid);
	TRY(scan_read_lines(fd, SIZE_MAX, take_lines, &smaps));
	hand_on(&smaps);
	return NULL;
}
