// SPDX-License-Identifier: MIT
// A recorder that only counts, behind the real functions of src/interpose/attach.c: what
// the tests of attaching load into their programs. Its counters lie in shared memory of a name that
// the tests look for.
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "record/record.h"

static struct record_header *shared;
static int descriptor = -1;
static bool on;

static void count(uint64_t *counter)
{
	if (__atomic_load_n(&on, __ATOMIC_ACQUIRE))
		__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

static uint32_t allocated(uint32_t kind, uint64_t address, uint64_t bytes, uint32_t extra,
                          const struct record_position *at)
{
	(void)kind, (void)address, (void)bytes, (void)extra, (void)at;
	count(&shared->sample_bytes);
	return 0;
}

static void freed(uint32_t kind, uint64_t address, const struct record_position *at)
{
	(void)kind, (void)address, (void)at;
	count(&shared->lost);
}

static void called(uint32_t kind, uint64_t address, uint64_t bytes, uint32_t extra,
                   const char *text, const struct record_position *at)
{
	(void)kind, (void)address, (void)bytes, (void)extra, (void)text, (void)at;
	count(&shared->wait_ns);
}

bool record_start(const struct record_settings *settings, struct record_hooks *ret_hooks,
                  const char **ret_reason)
{
	if (settings->mode == RECORD_SAMPLED) {
		*ret_reason = "the test asks for that";
		return false;
	}
	descriptor = memfd_create(RECORD_NAME, MFD_CLOEXEC);
	if (descriptor < 0 || ftruncate(descriptor, sizeof(*shared)) < 0)
		return false;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
	shared->total_bytes = sizeof(*shared);
	*ret_hooks = (struct record_hooks){ allocated, freed, called };
	__atomic_store_n(&on, true, __ATOMIC_RELEASE);
	return true;
}

void record_stop(void)
{
	__atomic_store_n(&on, false, __ATOMIC_RELEASE);
	close(descriptor);
}

struct record_header *record_shared(void)
{
	return shared;
}

void record_forked(int child, const struct record_position *at)
{
	(void)child, (void)at;
}

void record_fork_child(void)
{
	__atomic_store_n(&on, false, __ATOMIC_RELEASE);
}

void record_exec(const struct record_position *at)
{
	(void)at;
}

void record_modules_changed(void)
{
}
