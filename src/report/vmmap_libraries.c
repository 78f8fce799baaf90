// SPDX-License-Identifier: MIT
/*
 * -allSplitLibs: libraries that the loader's cache names and the process does not use. On the Mac
 * these were the libraries of the shared region; what is installed for everyone on Linux stands in
 * /etc/ld.so.cache (elf/cache.c, sysdeps/generic/dl-cache.h of glibc tell its form). A cache that is
 * missing, of another form or damaged names nothing.
 */
#include <string.h>

#include "base/checked.h"
#include "base/text.h"
#include "os/os.h"
#include "report/vmmap_impl.h"

#define CACHE_MAGIC "glibc-ld.so.cache1.1"

enum { CACHE_BYTES_MOST = 16 << 20, HEADER_BYTES = 48, ENTRY_BYTES = 24 };

struct cache {
	char *bytes;
	size_t size;
	uint32_t count;
	bool wide; // whose entries count: those for 64 bit
};

// What was named already, so that a file with several names is listed once.
struct libraries {
	const struct vmmap_view *view;
	VEC(struct os_status) seen;
};

static uint32_t number_at(const struct cache *cache, size_t offset)
{
	uint32_t value;

	memcpy(&value, cache->bytes + offset, sizeof(value));
	return value;
}

static bool open_cache(const struct look *look, struct cache *ret)
{
	const char *path = arena_format(look->arena, "/proc/%d/root/etc/ld.so.cache",
	                                os_memory_tid(look->target->pid));
	struct error *error =
		os_read_text(look->arena, path, CACHE_BYTES_MOST, &ret->bytes, &ret->size);

	if (error || ret->size < HEADER_BYTES ||
	    memcmp(ret->bytes, CACHE_MAGIC, strlen(CACHE_MAGIC)) != 0)
		return false;
	ret->count = number_at(ret, strlen(CACHE_MAGIC));
	ret->wide = look->target->word_bytes == 8;
	return ret->count <= (ret->size - HEADER_BYTES) / ENTRY_BYTES;
}

// The path of an entry, or NULL. Entries for 32 bit have no bits above the first eight.
static const char *entry_path(const struct cache *cache, uint32_t index)
{
	size_t entry = HEADER_BYTES + (size_t)index * ENTRY_BYTES;
	uint32_t flags = number_at(cache, entry), path = number_at(cache, entry + 8);

	if ((flags >> 8 != 0) != cache->wide || path >= cache->size || cache->bytes[path] != '/' ||
	    !memchr(cache->bytes + path, '\0', cache->size - path))
		return NULL;
	return cache->bytes + path;
}

static bool is_used(const struct look *look, const struct os_status *file)
{
	for (size_t i = 0; i < look->target->segment_count; i++) {
		const struct target_file *used = look->target->segments[i].file;

		if (used && used->inode == file->inode && used->device == file->device)
			return true;
	}
	return false;
}

static bool was_seen(struct libraries *libraries, const struct os_status *file)
{
	for (size_t i = 0; i < libraries->seen.n; i++)
		if (libraries->seen.v[i].inode == file->inode &&
		    libraries->seen.v[i].device == file->device)
			return true;
	vec_push(&libraries->seen, *file);
	return false;
}

static void emit_entry(struct emitter *e, struct libraries *libraries, const char *path)
{
	const struct look *look = libraries->view->look;
	struct os_status file;

	if (os_path_status(arena_format(look->arena, "/proc/%d/root%s",
	                                os_memory_tid(look->target->pid), path),
	                   &file) ||
	    is_used(look, &file) || was_seen(libraries, &file))
		return;
	emit_string(e, NULL, text_printable(look->arena, path), "%s\n");
}

void vmmap_emit_unused_libraries(struct emitter *e, const struct vmmap_view *view)
{
	const struct target *target = view->look->target;
	struct libraries libraries = { .view = view };
	struct cache cache = { 0 };
	bool live = target->kind == TARGET_LIVE || target->kind == TARGET_CLONE;

	emit_text(e, "\n==== Libraries that process %d does not use\n", target->pid);
	emit_array(e, "unused_libraries");
	vec_init(&libraries.seen, &os_page_source);
	if (live && open_cache(view->look, &cache))
		for (uint32_t i = 0; i < cache.count; i++)
			if (entry_path(&cache, i))
				emit_entry(e, &libraries, entry_path(&cache, i));
	vec_deinit(&libraries.seen);
	emit_array_end(e);
}
