// SPDX-License-Identifier: MIT
// All zones of the program: core zones, wrappers of them, and zones that the program wrote itself.
//
// 1. malloc_zones is the list that programs see: dense, the default zone first. Taking one out moves
//    the last one into its place.
// 2. Where a zone stands in the list is looked up in places by its number (core zones), or in others,
//    a dense list of all zones that are no core zones. Only those are asked about a pointer, and only
//    when the map of slices knows nothing of it.
// 3. Who asks takes no lock: it counts itself in asking[phase]. Who takes a zone out waits until both
//    counters were zero once after the zone left the list. So a zone must not unregister while it is
//    asked.
// 4. Most programs have one zone: until a second one comes the lists cost no memory.
#include "malloc/malloc.h"

#include <link.h>
#include <string.h>

#include "os/inside.h"

enum { ZONES_MAX = MALLOC_ZONES_MAX + 4096, NOWHERE = -1 };

struct other {
	malloc_zone_t *zone;
	int32_t place;
};

MALLOC_EXPORT malloc_zone_t **malloc_zones;
MALLOC_EXPORT unsigned malloc_num_zones;
struct malloc_zone_list malloc_zone_list;
malloc_zone_t *(*malloc_zone_wrap)(malloc_zone_t *core);

static malloc_zone_t *first_zones[1];
static malloc_zone_t *zone_of_start;
static int32_t *places; // of core zones in malloc_zones, plus 1
static struct other *others;
static uint32_t other_count;
static struct inside_lock registry_lock;
static uint32_t phase, asking[2];

static struct malloc_zone_record *record_of(uint32_t number)
{
	return (struct malloc_zone_record *)heapwright_malloc.zones + number;
}

// The core zone behind a zone, which may be itself; NULL when there is none.
static const malloc_zone_t *core_of(const malloc_zone_t *zone)
{
	const struct malloc_introspection_t *table = zone->introspect;

	if (table && zone->version >= 14 && table->zone_type == MALLOC_ZONE_TYPE_WRAPPER)
		return ((const struct malloc_wrapper *)zone)->wrapped;
	return zone;
}

static struct malloc_zone_record *zone_record(const malloc_zone_t *zone)
{
	uint32_t number = malloc_core_index(core_of(zone));

	return number == UINT32_MAX ? NULL : record_of(number);
}

// --- who asks, and who waits for them ---------------------------------------------------------------
static uint32_t start_asking(void)
{
	uint32_t mine = __atomic_load_n(&phase, __ATOMIC_SEQ_CST) & 1;

	__atomic_fetch_add(&asking[mine], 1, __ATOMIC_SEQ_CST);
	return mine;
}

static void stop_asking(uint32_t mine)
{
	__atomic_fetch_sub(&asking[mine], 1, __ATOMIC_SEQ_CST);
}

static void wait_for_askers(void)
{
	for (int i = 0; i < 2; i++) {
		uint32_t old = __atomic_fetch_add(&phase, 1, __ATOMIC_SEQ_CST) & 1;

		while (__atomic_load_n(&asking[old], __ATOMIC_SEQ_CST))
			inside_yield();
	}
}

static void set_count(unsigned count)
{
	__atomic_store_n(&malloc_num_zones, count, __ATOMIC_RELEASE);
	__atomic_store_n(&malloc_zone_list.count, count, __ATOMIC_RELEASE);
}

static void set_zones(malloc_zone_t **zones)
{
	__atomic_store_n(&malloc_zones, zones, __ATOMIC_RELEASE);
	__atomic_store_n(&malloc_zone_list.zones, zones, __ATOMIC_RELEASE);
}

// --- the lists --------------------------------------------------------------------------------------
static bool has_lists(void)
{
	return places;
}

static struct other *find_other(const malloc_zone_t *zone)
{
	for (uint32_t i = 0; i < other_count; i++)
		if (others[i].zone == zone)
			return &others[i];
	return NULL;
}

static int32_t place_of(const malloc_zone_t *zone)
{
	const struct other *other;
	uint32_t number;

	if (!has_lists())
		return malloc_num_zones && malloc_zones[0] == zone ? 0 : NOWHERE;
	number = malloc_core_index(zone);
	if (number != UINT32_MAX)
		return places[number] - 1;
	other = find_other(zone);
	return other ? other->place : NOWHERE;
}

static void set_place(malloc_zone_t *zone, int32_t place)
{
	uint32_t number = malloc_core_index(zone);
	struct other *other;

	if (number != UINT32_MAX) {
		places[number] = place + 1;
		return;
	}
	other = find_other(zone);
	if (other) {
		other->place = place;
		return;
	}
	others[other_count] = (struct other){ zone, place };
	__atomic_store_n(&other_count, other_count + 1, __ATOMIC_SEQ_CST);
}

// The hole is filled by the last one before the list gets shorter: an asker may ask one twice.
static void forget_place(const malloc_zone_t *zone)
{
	uint32_t number = malloc_core_index(zone);
	struct other *other;

	if (number != UINT32_MAX) {
		places[number] = 0;
		return;
	}
	other = find_other(zone);
	other->place = others[other_count - 1].place;
	__atomic_store_n(&other->zone, others[other_count - 1].zone, __ATOMIC_SEQ_CST);
	__atomic_store_n(&other_count, other_count - 1, __ATOMIC_SEQ_CST);
}

static bool make_lists(void)
{
	size_t zones_bytes = ZONES_MAX * sizeof(*malloc_zones);
	size_t others_bytes = ZONES_MAX * sizeof(*others);
	size_t places_bytes = MALLOC_ZONES_MAX * sizeof(*places);
	char *memory;

	if (has_lists())
		return true;
	memory = inside_map(zones_bytes + others_bytes + places_bytes, 4096, INSIDE_READ_WRITE);
	if (!memory)
		return false;
	inside_name(memory, zones_bytes + others_bytes + places_bytes, "MALLOC metadata");
	memcpy(memory, malloc_zones, malloc_num_zones * sizeof(*malloc_zones));
	set_zones((malloc_zone_t **)memory);
	others = (struct other *)(memory + zones_bytes);
	places = (int32_t *)(memory + zones_bytes + others_bytes);
	for (unsigned i = 0; i < malloc_num_zones; i++)
		set_place(malloc_zones[i], (int32_t)i);
	return true;
}

static bool append(malloc_zone_t *zone)
{
	if (malloc_num_zones == ZONES_MAX || !make_lists())
		return false;
	malloc_zones[malloc_num_zones] = zone;
	set_place(zone, (int32_t)malloc_num_zones);
	set_count(malloc_num_zones + 1);
	return true;
}

static void take_out(malloc_zone_t *zone, int32_t place)
{
	malloc_zone_t *moved = malloc_zones[malloc_num_zones - 1];

	__atomic_store_n(&malloc_zones[place], moved, __ATOMIC_RELEASE);
	set_count(malloc_num_zones - 1);
	if (!has_lists())
		return;
	if (moved != zone)
		set_place(moved, place);
	forget_place(zone);
}

// False when it is not in the list.
static bool unregister(malloc_zone_t *zone)
{
	int32_t place;

	inside_lock(&registry_lock);
	place = place_of(zone);
	if (place != NOWHERE)
		take_out(zone, place);
	inside_unlock(&registry_lock);
	if (place != NOWHERE)
		wait_for_askers();
	return place != NOWHERE;
}

MALLOC_EXPORT void malloc_zone_register(malloc_zone_t *zone)
{
	bool known, added;

	zone = malloc_registry_real(zone);
	inside_lock(&registry_lock);
	known = place_of(zone) != NOWHERE;
	added = !known && append(zone);
	inside_unlock(&registry_lock);
	if (known)
		malloc_message("*** malloc_zone_register: zone %p is registered already",
		               (void *)zone);
	else if (!added)
		malloc_message("*** malloc_zone_register: no room for zone %p", (void *)zone);
}

MALLOC_EXPORT void malloc_zone_unregister(malloc_zone_t *zone)
{
	zone = malloc_registry_real(zone);
	if (!unregister(zone))
		malloc_message("*** malloc_zone_unregister: zone %p is not registered",
		               (void *)zone);
}

// --- start, making and ending -----------------------------------------------------------------------
static void publish(malloc_zone_t *zone)
{
	struct malloc_zone_record *record = zone_record(zone);

	if (record)
		__atomic_store_n(&record->address, (uintptr_t)zone, __ATOMIC_RELEASE);
}

// Runs in the loader, possibly: libc cannot be asked for anything yet.
MALLOC_AT_START void malloc_registry_start(malloc_zone_t *default_zone)
{
	static const char name[] = "DefaultMallocZone";
	struct malloc_zone_record *record = zone_record(default_zone);

	first_zones[0] = default_zone;
	set_zones(first_zones);
	set_count(1);
	zone_of_start = default_zone;
	default_zone->zone_name = name;
	for (size_t i = 0; record && i < sizeof(name); i++)
		((volatile char *)record->name)[i] =
			name[i]; // see order.ld: libc's memcpy lies far away
	publish(default_zone);
	if (malloc_core_index(default_zone) == UINT32_MAX)
		make_lists();
}

malloc_zone_t *malloc_registry_first(void)
{
	if (__builtin_expect(!zone_of_start, 0))
		malloc_registry_start(malloc_core_default());
	return __builtin_expect(malloc_num_zones != 0, 1) ? malloc_zones[0] : zone_of_start;
}

MALLOC_EXPORT malloc_zone_t *malloc_create_zone(vm_size_t start_size, unsigned flags)
{
	malloc_zone_t *core, *zone;

	(void)start_size;
	(void)flags;
	malloc_registry_first();
	core = malloc_core_create();
	if (!core)
		return NULL;
	zone = malloc_zone_wrap ? malloc_zone_wrap(core) : core;
	if (!zone) {
		core->destroy(core);
		return NULL;
	}
	publish(zone);
	malloc_zone_register(zone);
	return zone;
}

MALLOC_EXPORT void malloc_destroy_zone(malloc_zone_t *zone)
{
	if (!zone)
		return;
	if (malloc_registry_real(zone) == zone_of_start) {
		malloc_message("*** malloc_destroy_zone: zone %p is the default zone, "
		               "which cannot be destroyed",
		               (void *)zone);
		return;
	}
	if (!zone->destroy) {
		malloc_message("*** malloc_destroy_zone: zone %p cannot be destroyed",
		               (void *)zone);
		return;
	}
	malloc_set_zone_name(zone, NULL);
	unregister(zone);
	zone->destroy(zone);
}

// --- names ------------------------------------------------------------------------------------------
struct place_in_image {
	uintptr_t address;
	bool constant;
};

// RELRO is writable in the program header but not when the program runs.
static int look_in_image(struct dl_phdr_info *image, size_t bytes, void *context)
{
	struct place_in_image *place = context;

	(void)bytes;
	for (unsigned i = 0; i < image->dlpi_phnum; i++) {
		const ElfW(Phdr) *header = &image->dlpi_phdr[i];
		uintptr_t start = image->dlpi_addr + header->p_vaddr;
		bool fixed = header->p_type == PT_GNU_RELRO ||
		             (header->p_type == PT_LOAD && !(header->p_flags & PF_W));

		if (fixed && place->address >= start && place->address - start < header->p_memsz) {
			place->constant = true;
			return 1;
		}
	}
	return 0;
}

static bool is_constant(const char *name)
{
	struct place_in_image place = { .address = (uintptr_t)name };

	dl_iterate_phdr(look_in_image, &place);
	return place.constant;
}

// Our own copies: short ones in the table that readers see, long ones in the zone itself.
static void drop_name(malloc_zone_t *zone, const struct malloc_zone_record *record)
{
	char *old = (char *)zone->zone_name;

	zone->zone_name = NULL;
	if (old && (!record || old != record->name) && !is_constant(old) && zone->size(zone, old))
		zone->free(zone, old);
}

static const char *copy_name(malloc_zone_t *zone, struct malloc_zone_record *record,
                             const char *name)
{
	size_t bytes = strlen(name) + 1;
	char *copy;

	if (record && bytes <= MALLOC_NAME_BYTES)
		return record->name;
	copy = zone->malloc(zone, bytes);
	return copy ? memcpy(copy, name, bytes) : NULL;
}

MALLOC_EXPORT void malloc_set_zone_name(malloc_zone_t *zone, const char *name)
{
	struct malloc_zone_record *record;
	char cut[MALLOC_NAME_BYTES] = "";

	zone = malloc_registry_real(zone);
	record = zone_record(zone);
	if (name)
		memcpy(cut, name, strnlen(name, sizeof(cut) - 1));
	if (name == zone->zone_name && name)
		return;
	drop_name(zone, record);
	if (record)
		memcpy(record->name, cut, sizeof(cut));
	if (name)
		zone->zone_name = is_constant(name) ? name : copy_name(zone, record, name);
}

MALLOC_EXPORT const char *malloc_get_zone_name(malloc_zone_t *zone)
{
	return malloc_registry_real(zone)->zone_name;
}

// --- whose is it ------------------------------------------------------------------------------------
static malloc_zone_t *ask_others(const void *p, size_t *ret_bytes)
{
	uint32_t mine = start_asking();
	malloc_zone_t *owner = NULL;

	for (uint32_t i = 0; !owner && i < __atomic_load_n(&other_count, __ATOMIC_SEQ_CST); i++) {
		malloc_zone_t *zone = __atomic_load_n(&others[i].zone, __ATOMIC_SEQ_CST);

		*ret_bytes = zone->size(zone, p);
		owner = *ret_bytes ? zone : NULL;
	}
	stop_asking(mine);
	return owner;
}

malloc_zone_t *malloc_registry_owner(const void *p, size_t *ret_bytes)
{
	uint32_t word = malloc_word_at((uintptr_t)p);
	malloc_zone_t *zone;

	*ret_bytes = 0;
	if (!p)
		return NULL;
	if (!(word >> 8 & 0xff))
		return __atomic_load_n(&other_count, __ATOMIC_ACQUIRE) ? ask_others(p, ret_bytes)
		                                                       : NULL;
	zone = (malloc_zone_t *)record_of(word >> 16)->address;
	if (!zone)
		return NULL;
	*ret_bytes = zone->size(zone, p);
	return *ret_bytes ? zone : NULL;
}

void malloc_registry_each(bool (*each)(void *context, malloc_zone_t *zone), void *context)
{
	uint32_t mine = start_asking();

	malloc_registry_first();
	for (unsigned i = 0; i < __atomic_load_n(&malloc_num_zones, __ATOMIC_SEQ_CST); i++) {
		malloc_zone_t *zone = __atomic_load_n(&malloc_zones[i], __ATOMIC_SEQ_CST);

		if (zone && !each(context, zone))
			break;
	}
	stop_asking(mine);
}

// --- fork -------------------------------------------------------------------------------------------
enum fork_step { FORK_LOCK, FORK_UNLOCK, FORK_REINIT };

static void step_zone(malloc_zone_t *zone, enum fork_step step)
{
	const struct malloc_introspection_t *table = zone->introspect;
	void (*call)(malloc_zone_t *) = NULL;

	if (!table || core_of(zone) != zone || zone == zone_of_start)
		return; // the rooms of these have their own place in the order
	if (step == FORK_LOCK)
		call = table->force_lock;
	else if (step == FORK_REINIT && zone->version >= 9 && table->reinit_lock)
		call = table->reinit_lock;
	else
		call = table->force_unlock;
	if (call)
		call(zone);
}

static void step_others(enum fork_step step)
{
	for (uint32_t i = 0; i < other_count; i++)
		step_zone(others[i].zone, step);
}

void malloc_registry_fork_prepare(void)
{
	malloc_discharge_fork_prepare();
	inside_lock(&registry_lock);
	step_others(FORK_LOCK);
}

void malloc_registry_fork_parent(void)
{
	step_others(FORK_UNLOCK);
	inside_unlock(&registry_lock);
	malloc_discharge_fork_parent();
}

void malloc_registry_fork_child(void)
{
	asking[0] = asking[1] = 0;
	registry_lock.state = 0;
	step_others(FORK_REINIT);
	malloc_discharge_fork_child();
}
