// SPDX-License-Identifier: MIT
// Symbols of this very program (live, as target_from_segments), of files built with the system's
// tools, and of damaged files.
#include "unit.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "os/os.h"
#include "symbols/symbols.h"
#include "target/target_impl.h"

int symbols_test_variable[4] = { 1, 2, 3, 4 };

__attribute__((noinline)) int symbols_test_function(int number);
int symbols_test_function(int number)
{
	return symbols_test_variable[number & 3];
}

// --- this process as a target --------------------------------------------------------------------
static size_t read_own_memory(struct target *target, const struct target_segment *segment,
                              uint64_t address, void *buffer, size_t n)
{
	(void)target, (void)segment;
	return os_remote_read(getpid(), -1, address, buffer, n);
}

static struct error *open_own_file(struct target *target, const struct target_file *file, int *ret)
{
	(void)target;
	return os_open_regular(file->path, ret);
}

static const struct target_ops own_ops = { .read = read_own_memory, .file_open = open_own_file };

static struct target_file *file_of(struct target *target, const struct os_mapping *mapping,
                                   struct target_file **files, size_t *count)
{
	for (size_t i = 0; i < *count; i++)
		if (files[i]->inode == mapping->inode && files[i]->device == mapping->device)
			return files[i];
	files[*count] = arena_alloc(target->arena, sizeof(**files));
	files[*count]->path = mapping->name;
	files[*count]->device = mapping->device;
	files[*count]->inode = mapping->inode;
	return files[(*count)++];
}

static struct target *open_ourselves(const struct target_ops *ops)
{
	struct target *target = target_new(TARGET_LIVE, ops);
	uint64_t *auxv = arena_array(target->arena, 2, 2 * sizeof(*auxv));
	struct target_file *files[512];
	struct target_segment *segments;
	struct os_mapping *mappings;
	size_t count, file_count = 0;

	assert_null(os_mappings_read_once(target->arena, getpid(), &mappings, &count));
	segments = arena_array(target->arena, count, sizeof(*segments));
	for (size_t i = 0; i < count; i++) {
		segments[i].start = mappings[i].start;
		segments[i].end = segments[i].contents_end = mappings[i].end;
		segments[i].readable = true;
		segments[i].protection = mappings[i].protection;
		segments[i].file_offset = mappings[i].offset;
		segments[i].name = mappings[i].name;
		if (mappings[i].inode)
			segments[i].file = file_of(target, &mappings[i], files, &file_count);
	}
	auxv[0] = AT_ENTRY;
	auxv[1] = getauxval(AT_ENTRY);
	target->auxv = auxv;
	target->auxv_count = 2;
	target->segments = segments;
	target->segment_count = count;
	return target;
}

static struct target *target;
static struct symbols *symbols;

static int open_symbols(void **state)
{
	(void)state;
	target = open_ourselves(&own_ops);
	return symbols_open(target, &symbols) ? -1 : 0;
}

static int close_symbols(void **state)
{
	(void)state;
	symbols_close(symbols);
	target_close(target);
	return 0;
}

static void finds_modules(void **state)
{
	const struct symbols_module *modules;
	bool executable = false, libc = false, vdso = getauxval(AT_SYSINFO_EHDR) == 0;
	size_t count;

	(void)state;
	if (unit_under_qemu())
		skip();
	modules = symbols_modules(symbols, &count);
	for (size_t i = 0; i < count; i++) {
		assert_true(!i || modules[i - 1].end <= modules[i].start);
		executable |= modules[i].executable && !strcmp(modules[i].name, "test_symbols");
		libc |= !strncmp(modules[i].name, "libc.so", 7) && !modules[i].executable;
		vdso |= !strcmp(modules[i].name, "[vdso]") && !modules[i].file;
	}
	assert_true(executable);
	assert_true(libc);
	assert_true(vdso);
}

static void names_a_function_with_line(void **state)
{
	struct symbols_name name;

	(void)state;
	if (unit_under_qemu())
		skip();
	symbols_name_at(symbols, (uintptr_t)symbols_test_function + 1, &name);
	assert_true(name.module->executable);
	assert_string_equal(name.function, "symbols_test_function");
	assert_int_equal(name.offset, 1);
	assert_non_null(name.file);
	assert_non_null(strstr(name.file, "test_symbols.c"));
	assert_in_range(name.line, 20, 30);
}

static void names_data(void **state)
{
	struct symbols_name name;

	(void)state;
	if (unit_under_qemu())
		skip();
	symbols_name_at(symbols, (uintptr_t)&symbols_test_variable[2], &name);
	assert_string_equal(name.function, "symbols_test_variable");
	assert_int_equal(name.offset, 8);
	assert_string_equal(symbols_section_at(symbols, (uintptr_t)symbols_test_variable), ".data");
	assert_string_equal(symbols_section_at(symbols, (uintptr_t)symbols_test_function), ".text");
	assert_null(symbols_section_at(symbols, 16));
}

static void names_what_it_does_not_know(void **state)
{
	struct symbols_name name;
	int local;

	(void)state;
	symbols_name_at(symbols, (uintptr_t)&local, &name);
	assert_null(name.module);
	assert_null(name.function);
	symbols_name_at(symbols, 0, &name);
	assert_null(name.module);
}

static void finds_by_name(void **state)
{
	uint64_t address, bytes;
	struct error *error;

	(void)state;
	if (unit_under_qemu())
		skip();
	assert_null(symbols_find(symbols, NULL, "symbols_test_variable", &address, &bytes));
	assert_int_equal(address, (uintptr_t)symbols_test_variable);
	assert_true(bytes >= sizeof(symbols_test_variable)); // ASan pads it
	assert_null(
		symbols_find(symbols, "libc.so", "_thread_db_sizeof_pthread", &address, &bytes));
	if (dlsym(RTLD_DEFAULT, "_thread_db_sizeof_pthread"))
		assert_int_equal(address,
		                 (uintptr_t)dlsym(RTLD_DEFAULT, "_thread_db_sizeof_pthread"));
	error = symbols_find(symbols, "libc.so", "symbols_test_variable", &address, &bytes);
	assert_int_equal(error->kind, ERROR_NOT_FOUND);
	error = symbols_find(symbols, NULL, "no such symbol", &address, &bytes);
	assert_int_equal(error->kind, ERROR_NOT_FOUND);
}

// main_arena is static: only libc's debug file knows it.
static void finds_libc_internals_when_installed(void **state)
{
	uint64_t address, bytes, top = 0;
	struct error *error = symbols_find(symbols, "libc.so", "main_arena", &address, &bytes);

	(void)state;
	if (unit_under_asan())
		skip();
	if (error) {
		assert_int_equal(error->kind, ERROR_NOT_FOUND);
		print_message("libc's debug file is not installed\n");
		return;
	}
	assert_true(bytes > 1000);
	assert_string_equal(symbols_module_at(symbols, address)->name, "libc.so.6");
	// Its field top points into the heap (glibc malloc.c, struct malloc_state), not far above a block.
	void *block = malloc(40);
	bool near = false;
	for (uint64_t at = address; at < address + 128; at += 8) {
		assert_null(target_read(target, at, &top, 8));
		near |= top >= (uintptr_t)block && top - (uintptr_t)block < 1 << 20;
	}
	free(block);
	assert_true(near);
}

static void reads_the_vdso_from_memory(void **state)
{
	struct symbols_name name;
	uint64_t address, bytes;

	(void)state;
	if (!getauxval(AT_SYSINFO_EHDR))
		skip();
	if (symbols_find(symbols, "[vdso]", "__vdso_clock_gettime", &address, &bytes))
		assert_null(symbols_find(symbols, "[vdso]", "__kernel_clock_gettime", &address,
		                         &bytes));
	symbols_name_at(symbols, address, &name);
	assert_non_null(name.function);
}

// A library that was replaced on disk: its file cannot be had, its dynamic symbols are in memory.
static void finds_dynamic_symbols_without_files(void **state)
{
	static const struct target_ops ops = { .read = read_own_memory };
	struct target *fileless = open_ourselves(&ops);
	struct symbols *found;
	struct symbols_name name;
	uint64_t address, bytes;
	size_t warnings;

	(void)state;
	if (unit_under_qemu())
		skip();
	assert_null(symbols_open(fileless, &found));
	assert_null(symbols_find(found, "libc.so", "getppid", &address, &bytes));
	assert_int_equal(address, (uintptr_t)dlsym(RTLD_DEFAULT, "getppid"));
	symbols_name_at(found, address + 1, &name);
	assert_non_null(name.function);
	assert_int_equal(name.offset, 1);
	assert_non_null(symbols_warnings(found, &warnings));
	assert_true(warnings > 0);
	symbols_close(found);
	target_close(fileless);
}

// --- demangling ----------------------------------------------------------------------------------
static void demangles(void **state)
{
	struct arena arena;

	(void)state;
	arena_init(&arena, &unit_pages);
	assert_string_equal(symbols_demangle(&arena, "_ZN3foo3barEi"), "foo::bar(int)");
	assert_string_equal(symbols_demangle(&arena, "_RNvC7mycrate3foo"), "mycrate::foo");
	assert_string_equal(symbols_demangle(&arena, "_ZN4core3fmt5write17h01234567abcdef01E"),
	                    "core::fmt::write");
	assert_string_equal(symbols_demangle(&arena, "malloc"), "malloc");
	assert_string_equal(symbols_demangle(&arena, "_c_My_Shelf__makeBook_named_"),
	                    "+[My_Shelf makeBook:named:]");
	assert_string_equal(symbols_demangle(&arena, "_i_Shelf___private_"), "-[Shelf _private:]");
	assert_string_equal(symbols_demangle(&arena, "_i_Shelf_More_count"),
	                    "-[Shelf(More) count]");
	assert_string_equal(symbols_demangle(&arena, "_i_My_Shelf_More_count"),
	                    "_i_My_Shelf_More_count");
	assert_string_equal(symbols_demangle(&arena, "_i_"), "_i_");
	assert_string_equal(symbols_demangle(&arena, ""), "");
	assert_string_equal(symbols_demangle(&arena, "_Z\x1b[2J"), "_Z\\x1B[2J");
	assert_string_equal(symbols_demangle_type(&arena, "3Foo"), "Foo");
	assert_string_equal(symbols_demangle_type(&arena, "*3Foo"), "Foo");
	assert_string_equal(symbols_demangle_type(&arena, "N12_GLOBAL__N_13FooE"),
	                    "(anonymous namespace)::Foo");
	assert_string_equal(symbols_demangle_type(&arena, "St6vectorIiSaIiEE"),
	                    "std::vector<int, std::allocator<int> >");
	assert_string_equal(symbols_demangle_type(&arena, "!"), "!");
	arena_deinit(&arena);
}

// Each pair refers to the pair before it twice: the name would have 2^60 parts.
static void leaves_explosive_names_alone(void **state)
{
	char name[2000] = "_Z1fN1aIiiEE";
	struct arena arena;

	(void)state;
	arena_init(&arena, &unit_pages);
	strcpy(name, "_Z1f1aIiiE");
	for (int i = 0; i < 60; i++) {
		static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
		char part[32], code[8] = "S_";

		if (i > 36)
			snprintf(code, sizeof(code), "S1%c_", digits[i - 37]);
		else if (i > 0)
			snprintf(code, sizeof(code), "S%c_", digits[i - 1]);
		snprintf(part, sizeof(part), "S_I%s%sE", code, code);
		strcat(name, part);
	}
	assert_non_null(symbols_demangle(&arena, name));
	memset(name, 'P', sizeof(name) - 1);
	memcpy(name, "_Z1f", 4);
	assert_non_null(symbols_demangle(&arena, name));
	arena_deinit(&arena);
}

// --- files of the system's tools -----------------------------------------------------------------
static char folder[200];

static bool run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static bool run(const char *format, ...)
{
	char command[2000];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(command, sizeof(command), format, arguments);
	va_end(arguments);
	return system(command) == 0;
}

// A target that has mapped the start of a file at 0x10000; memory is what the file holds.
static struct target *open_mapped_file(const char *path, struct symbols **ret)
{
	static struct target_file file;
	struct target_segment segment = { .start = 0x10000, .readable = true, .file = &file };
	struct target *mapped;
	struct os_status status;
	uint8_t *bytes;
	int fd;

	assert_null(os_open_regular(path, &fd));
	assert_null(os_file_status(fd, &status));
	mapped = target_new(TARGET_LIVE, &(struct target_ops){ .file_open = open_own_file });
	bytes = arena_alloc(mapped->arena, status.bytes + 4096);
	os_pread(fd, bytes, status.bytes, 0);
	os_close(fd);
	file = (struct target_file){ .path = arena_copy(mapped->arena, path) };
	segment.image = bytes;
	segment.end = segment.contents_end = round_up(0x10000 + status.bytes + 1, 4096);
	mapped->segments =
		memcpy(arena_alloc(mapped->arena, sizeof(segment)), &segment, sizeof(segment));
	mapped->segment_count = 1;
	assert_null(symbols_open(mapped, ret));
	return mapped;
}

static bool build_library(void)
{
	return run(
		"cd %s && printf 'static int hidden(int a) { return a * 3; }\n"
		"int (*table[])(int) = { hidden };\nint shown(int a) { return table[0](a); }\n' "
		">lib.c && cc -g -O1 -shared -fPIC -nostdlib -Wl,--build-id=sha1 -o full.so lib.c "
		"2>/dev/null",
		folder);
}

static void assert_finds(const char *name, const char *symbol, bool expected)
{
	uint64_t address, bytes;
	struct symbols *found;
	char path[300];
	struct target *mapped;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	mapped = open_mapped_file(path, &found);
	assert_int_equal(symbols_find(found, NULL, symbol, &address, &bytes) == NULL, expected);
	if (expected)
		assert_true(address > 0x10000);
	symbols_close(found);
	target_close(mapped);
}

static void reads_stripped_files_with_their_debug_files(void **state)
{
	(void)state;
	if (!build_library() ||
	    !run("cd %s && objcopy --strip-all full.so bare.so && "
	         "objcopy --only-keep-debug full.so linked.dbg && "
	         "objcopy --strip-all --add-gnu-debuglink=linked.dbg full.so linked.so",
	         folder))
		skip();
	assert_finds("full.so", "hidden", true);
	assert_finds("bare.so", "shown", true);
	assert_finds("bare.so", "hidden", false);
	assert_finds("linked.so", "hidden", true);
	// Another build's debug file is not taken.
	assert_true(run(
		"cd %s && cc -g -O0 -shared -fPIC -nostdlib -Wl,--build-id=sha1 -o other.so lib.c && "
		"cp other.so linked.dbg",
		folder));
	assert_finds("linked.so", "hidden", false);
}

static void reads_the_embedded_table(void **state)
{
	(void)state;
	if (!build_library() ||
	    !run("cd %s && cp full.so mini && objcopy -S --keep-symbol=hidden mini && "
	         "rm -f mini.xz && xz mini && objcopy --strip-all --add-section "
	         ".gnu_debugdata=mini.xz full.so embedded.so",
	         folder))
		skip();
	assert_finds("embedded.so", "hidden", true);
}

// Every byte of the headers, and bytes all over the file, set to hostile values; and every truncation.
static void survives_damaged_files(void **state)
{
	uint8_t *original, *copy;
	struct stat status;
	char path[300];
	int fd;

	(void)state;
	if (!build_library())
		skip();
	snprintf(path, sizeof(path), "%s/full.so", folder);
	fd = open(path, O_RDONLY);
	assert_int_equal(fstat(fd, &status), 0);
	original = malloc((size_t)status.st_size);
	copy = malloc((size_t)status.st_size);
	assert_int_equal(read(fd, original, (size_t)status.st_size), status.st_size);
	close(fd);
	snprintf(path, sizeof(path), "%s/damaged.so", folder);
	for (size_t i = 0; i < 400; i++) {
		size_t size = (size_t)status.st_size;
		struct symbols_name name;
		struct target *mapped;
		struct symbols *found;
		uint64_t address, bytes;

		memcpy(copy, original, size);
		if (i < 64)
			copy[i] = 0xff;
		else if (i < 300)
			copy[(i * 7919) % size] ^= (uint8_t)(i | 1);
		else
			size = size * (i - 300) / 100;
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		assert_int_equal(write(fd, copy, size), size);
		close(fd);
		mapped = open_mapped_file(path, &found);
		symbols_find(found, NULL, "hidden", &address, &bytes);
		for (uint64_t at = 0x10000; at < 0x13000; at += 97)
			symbols_name_at(found, at, &name);
		symbols_section_at(found, 0x11000);
		symbols_close(found);
		target_close(mapped);
	}
	free(original);
	free(copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_modules),
		cmocka_unit_test(names_a_function_with_line),
		cmocka_unit_test(names_data),
		cmocka_unit_test(names_what_it_does_not_know),
		cmocka_unit_test(finds_by_name),
		cmocka_unit_test(finds_libc_internals_when_installed),
		cmocka_unit_test(reads_the_vdso_from_memory),
		cmocka_unit_test(finds_dynamic_symbols_without_files),
		cmocka_unit_test(demangles),
		cmocka_unit_test(leaves_explosive_names_alone),
		cmocka_unit_test(reads_stripped_files_with_their_debug_files),
		cmocka_unit_test(reads_the_embedded_table),
		cmocka_unit_test(survives_damaged_files),
	};
	const char *temporary = getenv("TMPDIR");
	int failed;

	unsetenv("DEBUGINFOD_URLS");
	snprintf(folder, sizeof(folder), "%s/symbols-XXXXXX", temporary ? temporary : "/tmp");
	if (!mkdtemp(folder))
		return 1;
	failed = cmocka_run_group_tests(tests, open_symbols, close_symbols);
	run("rm -rf '%s'", folder);
	return failed;
}
