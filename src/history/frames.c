// SPDX-License-Identifier: MIT
// Nodes as functions: each code address is named once, in the module that was mapped there. Modules that
// took each other's place in the address space are laid out side by side for the symbols; the one that was
// loaded last is believed.
#include <stdlib.h>
#include <string.h>

#include "history/history_impl.h"

#define FIRST_INDEX_COUNT 1024
#define ASIDE             (UINT64_C(1) << 56) // where modules go that overlap others
#define MOST_INLINED      32

struct place {
	uint64_t code; // of the node, with its flags
	const struct history_frame *frames;
	uint32_t count;
};

struct name {
	const struct symbols_module *module;
	const char *function; // NULL: address
	uint64_t address;
};

// An open-addressed index of numbers of elements, from 1.
struct index {
	uint32_t *v;
	size_t count, used;
};

struct history_frames {
	struct symbols *symbols;
	bool own_symbols;
	uint64_t *shift; // per module: added to its addresses
	VEC(struct place) places;
	VEC(struct name) names;
	struct index place_index, name_index;
	bool *named, *asked; // per module
	VEC(const struct log_module *) unnamed;
};

// --- modules -------------------------------------------------------------------------------------
struct placed {
	size_t module;
	uint64_t start;
};

static int compare_placed(const void *a, const void *b)
{
	const struct placed *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static struct symbols_recorded recorded(const struct log_module *module, uint64_t shift)
{
	return (struct symbols_recorded){
		.start = module->start + shift,
		.end = module->end + shift,
		.bias = module->bias + shift,
		.path = module->path,
		.build_id = module->build_id,
		.build_id_bytes = module->build_id_bytes,
	};
}

// Those that overlap an earlier one come behind the others, where nothing else is.
static void open_symbols(struct history *history, struct history_frames *frames)
{
	const struct history_given *given = &history->given;
	size_t count = given->module_count, laid = 0;
	struct placed *order = arena_array(&history->arena, count, sizeof(*order));
	struct symbols_recorded *list = arena_array(&history->arena, count, sizeof(*list));
	uint64_t end = 0, aside = ASIDE;

	for (size_t i = 0; i < count; i++)
		order[i] = (struct placed){ i, given->modules[i].start };
	qsort(order, count, sizeof(*order), compare_placed);
	for (size_t i = 0; i < count; i++) {
		const struct log_module *module = &given->modules[order[i].module];

		frames->shift[order[i].module] = module->start < end ? 1 : 0;
		if (module->start < end)
			continue;
		list[laid++] = recorded(module, 0);
		end = module->end;
	}
	for (size_t i = 0; i < count; i++) {
		const struct log_module *module = &given->modules[i];

		if (!frames->shift[i])
			continue;
		frames->shift[i] = aside - module->start;
		list[laid++] = recorded(module, frames->shift[i]);
		aside += module->end - module->start;
	}
	symbols_open_recorded(list, laid, "", &frames->symbols);
	frames->own_symbols = true;
}

static struct history_frames *open_frames(struct history *history)
{
	struct history_frames *frames = history->frames;
	size_t modules = history->given.module_count;

	if (frames)
		return frames;
	frames = history->frames = arena_alloc(&history->arena, sizeof(*frames));
	frames->shift = arena_array(&history->arena, modules, sizeof(*frames->shift));
	frames->named = arena_array(&history->arena, modules, sizeof(*frames->named));
	frames->asked = arena_array(&history->arena, modules, sizeof(*frames->asked));
	vec_init(&frames->places, &os_page_source);
	vec_init(&frames->names, &os_page_source);
	vec_init(&frames->unnamed, &os_page_source);
	frames->symbols = history->given.symbols;
	if (!frames->symbols)
		open_symbols(history, frames);
	return frames;
}

void history_frames_close(struct history_frames *frames)
{
	if (!frames)
		return;
	if (frames->own_symbols)
		symbols_close(frames->symbols);
	if (frames->place_index.v)
		os_page_source.resize(frames->place_index.v,
		                      frames->place_index.count * sizeof(uint32_t), 0);
	if (frames->name_index.v)
		os_page_source.resize(frames->name_index.v,
		                      frames->name_index.count * sizeof(uint32_t), 0);
	vec_deinit(&frames->places);
	vec_deinit(&frames->names);
	vec_deinit(&frames->unnamed);
}

// The index of the module that was loaded there last, module_count when there is none.
static size_t module_of(const struct history *history, uint64_t address)
{
	const struct log_module *modules = history->given.modules;
	size_t found = history->given.module_count;

	for (size_t i = 0; i < history->given.module_count; i++)
		if (address >= modules[i].start && address < modules[i].end &&
		    (found == history->given.module_count ||
		     modules[i].loaded_ns >= modules[found].loaded_ns))
			found = i;
	return found;
}

// --- indexes -------------------------------------------------------------------------------------
static bool index_is_full(const struct index *index)
{
	return (index->used + 1) * 2 > index->count;
}

static void index_resize(struct index *index)
{
	if (index->v)
		os_page_source.resize(index->v, index->count * sizeof(uint32_t), 0);
	index->count = index->count ? index->count * 2 : FIRST_INDEX_COUNT;
	index->v = os_page_source.resize(NULL, 0, index->count * sizeof(uint32_t));
}

static uint32_t *place_at(const struct history_frames *frames, uint64_t code)
{
	const struct index *index = &frames->place_index;
	size_t at = (size_t)(code * 0x9e3779b97f4a7c15u >> 32) & (index->count - 1);

	while (index->v[at] && frames->places.v[index->v[at] - 1].code != code)
		at = (at + 1) & (index->count - 1);
	return &index->v[at];
}

static uint64_t name_hash(const struct name *name)
{
	uint64_t hash = (uintptr_t)name->module + name->address;

	for (const char *c = name->function; c && *c; c++)
		hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
	return hash * 0x9e3779b97f4a7c15u;
}

static bool name_equal(const struct name *a, const struct name *b)
{
	return a->module == b->module && a->address == b->address && !a->function == !b->function &&
	       (!a->function || strcmp(a->function, b->function) == 0);
}

static uint32_t *name_at(const struct history_frames *frames, const struct name *name)
{
	const struct index *index = &frames->name_index;
	size_t at = (size_t)(name_hash(name) >> 32) & (index->count - 1);

	while (index->v[at] && !name_equal(&frames->names.v[index->v[at] - 1], name))
		at = (at + 1) & (index->count - 1);
	return &index->v[at];
}

static uint32_t key_of(struct history_frames *frames, const struct name *name)
{
	uint32_t *at;

	if (index_is_full(&frames->name_index)) {
		index_resize(&frames->name_index);
		for (size_t i = 0; i < frames->names.n; i++)
			*name_at(frames, &frames->names.v[i]) = (uint32_t)i + 1;
	}
	at = name_at(frames, name);
	if (!*at) {
		vec_push(&frames->names, *name);
		*at = (uint32_t)frames->names.n;
		frames->name_index.used++;
	}
	return *at;
}

// --- names ---------------------------------------------------------------------------------------
static void remember_named(struct history *history, size_t module, bool named)
{
	struct history_frames *frames = history->frames;

	if (module == history->given.module_count)
		return;
	frames->asked[module] = true;
	frames->named[module] |= named;
}

struct history_frame history_frame_named(uint64_t address, bool is_return,
                                         const struct symbols_name *name, bool inlined)
{
	return (struct history_frame){
		.address = address,
		.function = name->function,
		.offset = !name->module ? address
		          : inlined     ? 0
		                        : name->offset + is_return,
		.module = name->module,
		.file = name->file,
		.line = name->line,
		.inlined = inlined,
		.interrupted = !is_return,
	};
}

static struct history_frame make_frame(struct history_frames *frames, uint64_t code,
                                       const struct symbols_name *name, bool inlined)
{
	uint64_t address = code & RECORD_NODE_ADDRESS;
	bool exact = code & RECORD_NODE_EXACT;
	struct name own = { name->module, name->function, name->function ? 0 : address };
	struct history_frame frame = history_frame_named(address, !exact && address, name, inlined);

	frame.key = key_of(frames, &own);
	frame.place = (uint32_t)frames->places.n + 1;
	frame.truncated = !inlined && code & RECORD_NODE_TRUNCATED;
	frame.interrupted = exact;
	return frame;
}

// A call is named by its last byte: behind it another function may begin.
static struct place name_place(struct history *history, uint64_t code)
{
	struct history_frames *frames = history->frames;
	uint64_t address = code & RECORD_NODE_ADDRESS;
	uint64_t back = code & RECORD_NODE_EXACT || !address ? 0 : 1;
	size_t module = module_of(history, address - back), count;
	uint64_t shift = module < history->given.module_count ? frames->shift[module] : 0;
	struct symbols_name names[MOST_INLINED];
	struct history_frame *list;

	count = symbols_names_at(frames->symbols, address - back + shift, names, MOST_INLINED);
	list = arena_array(&history->arena, count, sizeof(*list));
	for (size_t i = 0; i < count; i++)
		list[i] = make_frame(frames, code, &names[i], i + 1 < count);
	remember_named(history, module, names[count - 1].function);
	return (struct place){ code, list, (uint32_t)count };
}

void history_frames_of(struct history *history, uint32_t node, const struct history_frame **ret,
                       size_t *ret_count)
{
	struct history_frames *frames = open_frames(history);
	struct log_node found;
	uint32_t *at;

	*ret = NULL;
	*ret_count = 0;
	if (!history_node(history, node, &found))
		return;
	if (index_is_full(&frames->place_index)) {
		index_resize(&frames->place_index);
		for (size_t i = 0; i < frames->places.n; i++)
			*place_at(frames, frames->places.v[i].code) = (uint32_t)i + 1;
	}
	at = place_at(frames, found.code);
	if (!*at) {
		struct place place = name_place(history, found.code);

		vec_push(&frames->places, place);
		*at = (uint32_t)frames->places.n;
		frames->place_index.used++;
	}
	*ret = frames->places.v[*at - 1].frames;
	*ret_count = frames->places.v[*at - 1].count;
}

uint32_t history_parent(const struct history *history, uint32_t node)
{
	struct log_node found;

	return history_node(history, node, &found) ? found.parent : 0;
}

void history_stack(struct history *history, uint32_t node, struct arena *arena,
                   const struct history_frame *const **ret, size_t *ret_count)
{
	const struct history_frame **stack = NULL, *frames;
	size_t n = 0, capacity = 0, count;
	struct log_node at;

	for (; history_node(history, node, &at); node = at.parent) {
		history_frames_of(history, node, &frames, &count);
		if (!stack || n + count > capacity) {
			const struct history_frame **more =
				arena_array(arena, 2 * (n + count) + 32, sizeof(*more));

			capacity = 2 * (n + count) + 32;
			if (n)
				memcpy(more, stack, n * sizeof(*more));
			stack = more;
		}
		for (size_t i = 0; i < count; i++)
			stack[n++] = &frames[i];
	}
	*ret = stack;
	*ret_count = n;
}

const char *history_type_name(struct history *history, uint32_t type)
{
	static const char prefix[] = "vtable for ";
	struct history_frames *frames = open_frames(history);
	struct symbols_name name;
	const struct log_type *types;
	size_t count = 0, module;

	types = history->log ? log_types(history->log, &count) : NULL;
	if (type == LOG_TYPE_NONE || type >= count)
		return NULL;
	module = module_of(history, types[type].word);
	if (module == history->given.module_count)
		return NULL;
	symbols_name_at(frames->symbols, types[type].word + frames->shift[module], &name);
	if (!name.function || !text_starts_with(name.function, prefix))
		return NULL;
	return name.function + sizeof(prefix) - 1;
}

const struct log_module *const *history_unnamed_modules(struct history *history, size_t *ret_count)
{
	struct history_frames *frames = open_frames(history);

	frames->unnamed.n = 0;
	for (size_t i = 0; i < history->given.module_count; i++)
		if (frames->asked[i] && !frames->named[i])
			vec_push(&frames->unnamed, &history->given.modules[i]);
	*ret_count = frames->unnamed.n;
	return frames->unnamed.v;
}

struct symbols *history_symbols(struct history *history)
{
	return open_frames(history)->symbols;
}
