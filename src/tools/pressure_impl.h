// SPDX-License-Identifier: MIT
// What the files of `heapwright pressure` share: the level from now on, measured or simulated, and what
// is done about it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine/machine.h"
#include "tools/tools.h"

struct pressure_settings {
	struct report_options common;
	const char *wait;     // a level; NULL: do not
	const char *simulate; // a level instead of what is found; NULL none
	const char *group;    // a control group besides the machine
	const char *root;     // machine.h
	uint64_t timeout_ns;
	bool has_timeout;
	uint64_t grace_ns;
	bool has_grace;
	bool serve, dry_run;
	struct option_list run; // a command
	struct option_list end; // names of processes
};

// --- pressure_loop.c -----------------------------------------------------------------------------
// The level from now on, and what it is waited for with.
struct pressure_loop {
	const struct pressure_settings *settings;
	struct machine_watch *watch; // NULL when the level is simulated from the start
	struct machine_verdict verdict;
	enum machine_level level; // of the verdict, or simulated
	bool is_simulated;
	int interrupts;
	uint64_t deadline_ns; // monotonic; UINT64_MAX none
	uint64_t calm_ns;     // until then nothing is ended
};

enum pressure_end {
	PRESSURE_GOES_ON,
	PRESSURE_TIMEOUT,
	PRESSURE_INTERRUPT,
};

struct error *pressure_loop_open(const struct pressure_settings *settings,
                                 struct pressure_loop *ret);
void pressure_loop_close(struct pressure_loop *loop);

// Looks at the level.
struct error *pressure_loop_look(struct pressure_loop *loop);
// Waits, at most until the next look is due, for a trigger, an interrupt or one of these; then looks.
struct error *pressure_loop_next(struct pressure_loop *loop, struct os_awaited *others,
                                 size_t count, enum pressure_end *ret);
void pressure_simulate(struct pressure_loop *loop, enum machine_level level);

// --- pressure_end.c ------------------------------------------------------------------------------
// When the level is critical, ends one process by the settings' names: the biggest of the first name that
// has one. Then the level, whose averages lag behind, gets ten seconds to become better. *ret_some is
// whether there was one to end.
struct error *pressure_end_one(struct pressure_loop *loop, bool *ret_some);

// --- pressure_serve.c ----------------------------------------------------------------------------
// Warns who registers, and ends processes where that is asked for, until an interrupt or the timeout.
struct error *pressure_serve(const struct pressure_settings *settings);
// Asks the server to take a level for the one it found, for as long as the timeout.
struct error *pressure_ask_simulation(const struct pressure_settings *settings);
