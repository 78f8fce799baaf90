// SPDX-License-Identifier: MIT
// The first call of malloc, often by the loader before libc and the program are set up: finds what to
// forward to, reads the settings, starts the recorder. Relies on dlsym and system calls.
//
// Programs that run with rights which their starter does not have are never recorded: the kernel says
// so in the auxiliary vector, and no variable counts there.
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "interpose/interpose_impl.h"
#include "os/inside.h"

bool interpose_started;
bool interpose_forwards;
struct record_hooks interpose_hooks, interpose_shared_hooks;

static struct inside_lock lock;
static int starter; // id of the thread that is at it

static struct interpose_settings settings;
static struct record_hooks hooks;        // what the recorder filled in
static struct record_hooks malloc_tells; // those that malloc's functions tell

bool interpose_is_starting(void)
{
	return __atomic_load_n(&starter, __ATOMIC_RELAXED) &&
	       __atomic_load_n(&starter, __ATOMIC_RELAXED) == inside_thread_id();
}

static void say(const char *text)
{
	inside_write(STDERR_FILENO, text, strlen(text));
}

static void complain(const char *why)
{
	say("heapwright: not recorded: ");
	say(why);
	say("\n");
}

// --- what is recorded -----------------------------------------------------------------------------
static const char *own_path(void)
{
	Dl_info info;

	return dladdr((void *)own_path, &info) ? info.dli_fname : "";
}

// Beside this library.
static void default_collector(char *ret)
{
	static const char name[] = "collector";
	const char *path = own_path(), *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) + 1 : 0;

	if (n + sizeof(name) > RECORD_PATH_BYTES)
		return;
	memcpy(ret, path, n);
	memcpy(ret + n, name, sizeof(name));
}

static void append_number(char *path, uint64_t n)
{
	char digits[INSIDE_NUMBER_BYTES + 1], *at = inside_number_text(digits + sizeof(digits), n);
	size_t length = strlen(path);

	*--at = '.';
	if (length + strlen(at) < RECORD_PATH_BYTES)
		memcpy(path + length, at, strlen(at) + 1);
}

// For those who look for the log later, from elsewhere.
static void make_absolute(char *path)
{
	char folder[RECORD_PATH_BYTES];
	long bytes; // with the NUL
	size_t length = strlen(path);

	if (path[0] == '/')
		return;
	bytes = syscall(SYS_getcwd, folder, sizeof(folder));
	if (bytes <= 0 || (size_t)bytes + length >= sizeof(folder))
		return;
	folder[bytes - 1] = '/';
	memcpy(folder + bytes, path, length + 1);
	memcpy(path, folder, (size_t)bytes + length + 1);
}

// LOG for the process that was meant, LOG.2 for the program that it became, LOG.PID for a child.
static void name_log(void)
{
	if (settings.record.mode == RECORD_LITE)
		return;
	if (!settings.log_path[0])
		memcpy(settings.log_path, "heapwright.hwlog", sizeof("heapwright.hwlog"));
	make_absolute(settings.log_path);
	if (settings.process && settings.process != (uint64_t)inside_process_id())
		append_number(settings.log_path, (uint64_t)inside_process_id());
	if (settings.part)
		append_number(settings.log_path, settings.part + 1);
}

static bool is_meant(void)
{
	return !settings.process || settings.process == (uint64_t)inside_process_id() ||
	       settings.record.follow_fork;
}

// Whoever answers malloc in this program comes before us: we would hear of nothing. A program at a fixed address
// that takes the address of malloc has a place for it that leads to us, with a symbol that defines nothing.
static bool malloc_is_ours(void)
{
	void *found = dlsym(RTLD_DEFAULT, "malloc");
	const Elf64_Sym *symbol = NULL;
	Dl_info info;

	return found == (void *)malloc ||
	       (dladdr1(found, &info, (void **)&symbol, RTLD_DL_SYMENT) && symbol &&
	        symbol->st_shndx == SHN_UNDEF);
}

static void publish(unsigned what)
{
	if (what & RECORD_WHAT_VM)
		mappings_hooks = hooks;
	if (what & RECORD_WHAT_SHARED_MEMORY) {
		interpose_shared_hooks = hooks;
		mappings_shared = interpose_shared_map;
	}
	if (what & RECORD_WHAT_MALLOC)
		interpose_hooks = malloc_tells;
}

struct range {
	uintptr_t address, start, end;
};

static int find_range(struct dl_phdr_info *module, size_t bytes, void *argument)
{
	struct range *range = argument;
	uintptr_t end = 0;

	(void)bytes;
	for (unsigned i = 0; i < module->dlpi_phnum; i++)
		if (module->dlpi_phdr[i].p_type == PT_LOAD)
			end = module->dlpi_addr + module->dlpi_phdr[i].p_vaddr +
			      module->dlpi_phdr[i].p_memsz;
	if (range->address < module->dlpi_addr || range->address >= end)
		return 0;
	range->start = module->dlpi_addr;
	range->end = end;
	return 1;
}

// Of an allocator that is a library of its own; libc's other parts may well map for the program.
static void find_allocator(void)
{
	struct range range = { .address = (uintptr_t)interpose_real.malloc };

	if (dl_iterate_phdr(find_range, &range) &&
	    (uintptr_t)getauxval - range.start >= range.end - range.start) {
		mappings_leave_out(range.start, range.end);
		interpose_new_start(range.start, range.end);
	}
}

// Our malloc library has a recorder of its own, which is told of malloc without a step through here. But
// samples are told of here, where the step is all that other calls take; it only hears of the recording
// (src/entry/record.c).
typedef bool start_function(const struct record_settings *wanted, struct record_hooks *ret_hooks,
                            const char **ret_reason);
typedef bool possible_function(void);
typedef void before_function(struct record_header *shared, const struct record_hooks *own_hooks,
                             struct record_hooks *ret_hooks);

static before_function *stand_before;

static bool stands_before(void)
{
	possible_function *possible =
		(possible_function *)dlsym(RTLD_DEFAULT, "heapwright_record_is_possible_before");

	if (!possible || settings.record.mode != RECORD_SAMPLED ||
	    !(settings.record.what & RECORD_WHAT_MALLOC) || !possible())
		return false;
	stand_before = (before_function *)dlsym(RTLD_DEFAULT, "heapwright_record_before");
	return true;
}

static bool start_any(const char **ret_reason)
{
	start_function *own = (start_function *)dlsym(RTLD_DEFAULT, "heapwright_record_start");

	if (own && !stands_before()) {
		if (!own(&settings.record, &hooks, ret_reason))
			return false;
		settings.record.what &= ~(unsigned)RECORD_WHAT_MALLOC;
		return true;
	}
	if (!record_start(&settings.record, &hooks, ret_reason))
		return false;
	malloc_tells = hooks;
	if (stand_before)
		stand_before(record_shared(), &hooks, &malloc_tells);
	return true;
}

void interpose_forked(void)
{
	if (stand_before && record_shared())
		stand_before(record_shared(), NULL, NULL);
}

static void start_recorder(void)
{
	const char *reason;

	name_log();
	if (!settings.collector[0])
		default_collector(settings.collector);
	settings.record.log_path = settings.log_path[0] ? settings.log_path : NULL;
	settings.record.collector_options = settings.options;
	settings.record.collector = settings.record.mode == RECORD_LITE ? NULL : settings.collector;
	settings.record.block_distance = interpose_real_distance();
	find_allocator();
	if (start_any(&reason))
		publish(settings.record.what);
	else
		complain(reason);
}

static void consider(void)
{
	const char *text = getauxval(AT_SECURE) ? NULL : inside_variable(INTERPOSE_VARIABLE);
	const char *wrong;

	if (!text)
		return;
	wrong = interpose_settings_read(text, &settings);
	interpose_variables_start(own_path(), &settings);
	if (!settings.record.follow_fork)
		interpose_variables_remove();
	if (wrong)
		complain(wrong);
	else if (!is_meant())
		return;
	else if (!malloc_is_ours())
		complain("the program defines malloc itself, before which no library can stand");
	else
		start_recorder();
}

// A block of early memory must be told from others when it is freed.
static void choose_way(void)
{
	interpose_forwards = !interpose_hooks.allocated;
	if ((interpose_forwards || record_samples) && interpose_early_is_unused())
		interpose_malloc_shorten();
}

void interpose_start(void)
{
	int saved_errno = errno;

	inside_lock(&lock);
	if (!interpose_started) {
		__atomic_store_n(&starter, inside_thread_id(), __ATOMIC_RELAXED);
		interpose_real_find();
		__atomic_store_n(&interpose_started, true, __ATOMIC_RELEASE);
		__atomic_store_n(&starter, 0, __ATOMIC_RELAXED);
		consider();
		choose_way();
	}
	inside_unlock(&lock);
	errno = saved_errno;
}

__attribute__((constructor(101))) static void start_with_program(void)
{
	if (!interpose_started)
		interpose_start();
	if (record_shared())
		interpose_process_start();
}

__attribute__((destructor)) static void end_with_program(void)
{
	record_finish();
}
