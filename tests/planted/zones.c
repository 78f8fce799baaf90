// SPDX-License-Identifier: MIT
// Zones by name, each with live and leaked blocks: small ones, whole pages, a mapping of its own; a zone
// that is destroyed takes its leaks with it.
#include <malloc/malloc.h>

#include "plant.h"

#define LIVE 40

static held_pointer live[3][LIVE];

PLANT void plant_zone(malloc_zone_t *zone, unsigned n, size_t size, unsigned leaks)
{
	for (unsigned i = 0; i < LIVE; i++) {
		live[n][i] = plant_filled(malloc_zone_malloc(zone, size + i));
		truth_live(live[n][i], malloc_get_zone_name(zone));
	}
	for (unsigned i = 0; i < leaks; i++)
		truth_direct(plant_filled(malloc_zone_malloc(zone, size)));
}

PLANT void plant_all(void)
{
	malloc_zone_t *pictures = malloc_create_zone(0, 0), *sounds = malloc_create_zone(0, 0);
	malloc_zone_t *gone = malloc_create_zone(0, 0);

	malloc_set_zone_name(pictures, "Pictures");
	malloc_set_zone_name(sounds, "Sounds");
	malloc_set_zone_name(gone, "Gone");
	plant_zone(pictures, 0, 48, 3);
	plant_zone(sounds, 1, 5000, 5);
	plant_zone(malloc_default_zone(), 2, 700, 2);
	truth_direct(plant_filled(malloc_zone_malloc(sounds, 300000)));
	truth_direct(plant_filled(malloc_zone_malloc(sounds, 5 << 20)));
	for (unsigned i = 0; i < 1000; i++)
		plant_filled(malloc_zone_malloc(gone, 100));
	malloc_destroy_zone(gone);
}

int main(int argc, char **argv)
{
	plant_open(argc, argv);
	plant_all();
	plant_serve(NULL);
}
