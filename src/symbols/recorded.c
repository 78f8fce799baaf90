// SPDX-License-Identifier: MIT
// Symbols of the modules that a recording lists, without the program: the file of this machine with the
// recorded build-id; when there is none, the debug file with it, or a debuginfod server's. Called by
// history.
#include <string.h>

#include "symbols/symbols_impl.h"

struct recorded_file {
	struct target_file file; // first: what symbols_module.file points to
	const char *here;        // its path on this machine
};

static bool has_build_id(int fd, const struct target_file *file)
{
	struct symbols_image image;
	bool same;

	same = !symbols_image_open_fd(fd, &image) &&
	       (!file->build_id_bytes ||
	        (image.build_id_bytes == file->build_id_bytes &&
	         memcmp(image.build_id, file->build_id, file->build_id_bytes) == 0));
	image.fd = -1;
	symbols_image_close(&image);
	return same;
}

// A file without a recorded build-id is believed by its path.
static struct error *open_recorded(struct symbols *symbols, const struct symbols_module *module,
                                   int *ret)
{
	const struct recorded_file *recorded = (const struct recorded_file *)module->file;
	const struct target_file *file = &recorded->file;
	bool there = !os_open_regular(recorded->here, ret);

	if (there && has_build_id(*ret, file))
		return NULL;
	if (there)
		os_close(*ret);
	*ret = symbols_open_by_build_id(file->build_id, file->build_id_bytes);
	if (*ret < 0)
		*ret = symbols_open_by_server(symbols, file->build_id, file->build_id_bytes, true);
	if (*ret < 0)
		*ret = symbols_open_by_server(symbols, file->build_id, file->build_id_bytes, false);
	if (*ret >= 0)
		return NULL;
	return error_new(ERROR_NOT_FOUND,
	                 there ? "%s is another build here" : "there is no %s here", file->path);
}

static void module_add(struct symbols *symbols, const struct symbols_recorded *from,
                       const char *root)
{
	struct symbols_module *module = vec_add(&symbols->modules);
	struct recorded_file *recorded = arena_alloc(&symbols->arena, sizeof(*recorded));
	size_t id_bytes = from->build_id_bytes;

	if (id_bytes > sizeof(recorded->file.build_id))
		id_bytes = 0;
	recorded->file.path = arena_copy(&symbols->arena, from->path);
	recorded->here = arena_format(&symbols->arena, "%s%s", root, from->path);
	recorded->file.build_id_bytes = (uint8_t)id_bytes;
	if (id_bytes)
		memcpy(recorded->file.build_id, from->build_id, id_bytes);
	*module = (struct symbols_module){
		.file = from->path[0] == '/' ? &recorded->file : NULL,
		.path = text_printable(&symbols->arena, from->path),
		.start = from->start,
		.end = from->end,
		.bias = from->bias,
	};
	module->name = text_base_name(module->path);
}

struct error *symbols_open_recorded(const struct symbols_recorded *modules, size_t count,
                                    const char *root, struct symbols **ret)
{
	struct symbols *symbols = symbols_create(&os_page_source);

	symbols->open_file = open_recorded;
	for (size_t i = 0; i < count; i++)
		module_add(symbols, &modules[i], root);
	symbols_make_tables(symbols);
	*ret = symbols;
	return NULL;
}
