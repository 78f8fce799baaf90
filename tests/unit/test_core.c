// SPDX-License-Identifier: MIT
// Cores written by the test: what is there is read, what is missing is told, and what lies about
// itself neither crashes nor invents memory.
#include "unit.h"

#include <zstd.h>

#include "core_writer.h"
#include "target/target_impl.h"

static uint8_t page_a[4096], page_b[4096], page_c[8192];

static void fill_pages(void)
{
	memset(page_a, 'a', sizeof(page_a));
	memset(page_b, 'b', sizeof(page_b));
	memset(page_c, 'c', sizeof(page_c));
}

static struct core_writer *new_writer(unsigned word_bytes, uint16_t machine)
{
	struct core_writer *writer = calloc(1, sizeof(*writer));

	fill_pages();
	writer->word_bytes = word_bytes;
	writer->machine = machine;
	return writer;
}

static void free_writer(struct core_writer *writer)
{
	free(writer->bytes);
	free(writer);
}

static struct error *open_bytes(const void *bytes, size_t size, struct target **ret)
{
	struct target_options options = { .want = TARGET_WANT_MEMORY };

	return core_open("test.core", core_writer_file_of(bytes, size), &options, ret);
}

static struct target *open_writer(const struct core_writer *writer, size_t size)
{
	struct target *target = NULL;
	struct error *error = open_bytes(writer->bytes, size, &target);

	if (error)
		fail_msg("%s", error->text);
	return target;
}

static bool warned(const struct target *target, const char *part)
{
	for (size_t i = 0; i < target->warning_count; i++)
		if (strstr(target->warnings[i], part))
			return true;
	return false;
}

static char byte_at(struct target *target, uint64_t address)
{
	char byte = 0;

	return target_read(target, address, &byte, 1) ? '!' : byte;
}

// Two threads, two segments given in descending order.
static struct core_writer *usual_core(unsigned word_bytes, uint16_t machine)
{
	struct core_writer *writer = new_writer(word_bytes, machine);

	core_writer_thread(writer, 100, 0x1000);
	core_writer_process(writer, 100, "victim");
	core_writer_thread(writer, 101, 0x2000);
	core_writer_segment(writer, 0x20000, 8192, page_c, 8192, PF_R | PF_W);
	core_writer_segment(writer, 0x10000, 4096, page_a, 4096, PF_R | PF_X);
	core_writer_finish(writer);
	return writer;
}

static void reads_a_core(void **state)
{
	struct core_writer *writer = usual_core(8, EM_X86_64);
	struct target *target = open_writer(writer, writer->size);

	(void)state;
	assert_int_equal(target->kind, TARGET_CORE);
	assert_int_equal(target->pid, 100);
	assert_string_equal(target->name, "victim");
	assert_string_equal(target->cpu, "x86_64");
	assert_int_equal(target->word_bytes, 8);
	assert_true(target->complete);
	assert_int_equal(target->warning_count, 0);
	assert_false(target->kernel_roots_known);
	assert_int_equal(target->segment_count, 2);
	assert_int_equal(target->segments[0].start, 0x10000);
	assert_int_equal(target->segments[0].protection, TARGET_READ | TARGET_EXEC);
	assert_int_equal(target->segments[1].protection, TARGET_READ | TARGET_WRITE);
	assert_non_null(target->segments[1].image);
	assert_int_equal(byte_at(target, 0x10fff), 'a');
	assert_int_equal(byte_at(target, 0x20000), 'c');
	assert_int_equal(byte_at(target, 0x30000), '!');
	target_close(target);
	free_writer(writer);
}

static void reads_threads(void **state)
{
	struct core_writer *writer = new_writer(8, EM_X86_64);
	uint8_t vector[832];
	struct target *target;

	(void)state;
	memset(vector, 7, sizeof(vector));
	core_writer_thread(writer, 100, 0x1000);
	core_writer_note(writer, "CORE", NT_FPREGSET, vector, 512);
	core_writer_note(writer, "LINUX", NT_X86_XSTATE, vector, sizeof(vector));
	core_writer_thread(writer, 101, 0x2000);
	core_writer_note(writer, "CORE", NT_FPREGSET, vector, 512);
	core_writer_segment(writer, 0x10000, 4096, page_a, 4096, PF_R);
	core_writer_finish(writer);
	target = open_writer(writer, writer->size);
	assert_int_equal(target->thread_count, 2);
	assert_int_equal(target->threads[0].tid, 100);
	assert_int_equal(target->threads[1].own_tid, 101);
	assert_true(target->threads[1].has_registers);
	// struct user_regs_struct: rip is number 16, rsp 19, fs_base 21.
	assert_int_equal(target->threads[1].pc, 0x2000 + 16);
	assert_int_equal(target->threads[1].sp, 0x2000 + 19);
	assert_int_equal(target->threads[1].tp, 0x2000 + 21);
	assert_int_equal(target->threads[0].registers[5], 0x1005);
	assert_int_equal(target->threads[0].vector_bytes, sizeof(vector));
	assert_int_equal(target->threads[1].vector_bytes, 512);
	target_close(target);
	free_writer(writer);
}

static void reads_32_bit(void **state)
{
	struct core_writer *writer = usual_core(4, EM_386);
	struct target *target = open_writer(writer, writer->size);

	(void)state;
	assert_int_equal(target->word_bytes, 4);
	assert_string_equal(target->cpu, "i386");
	assert_int_equal(target->pid, 100);
	assert_string_equal(target->name, "victim");
	assert_int_equal(target->thread_count, 2);
	assert_int_equal(target->threads[1].tid, 101);
	assert_int_equal(target->threads[1].pc, 0x2000 + 12);
	assert_int_equal(target->threads[1].sp, 0x2000 + 15);
	assert_int_equal(byte_at(target, 0x20001), 'c');
	target_close(target);
	free_writer(writer);
}

static void reads_aarch64(void **state)
{
	struct core_writer *writer = usual_core(8, EM_AARCH64);
	struct target *target = open_writer(writer, writer->size);

	(void)state;
	assert_string_equal(target->cpu, "aarch64");
	assert_int_equal(target->threads[0].sp, 0x1000 + 31);
	assert_int_equal(target->threads[0].pc, 0x1000 + 32);
	target_close(target);
	free_writer(writer);
}

static void tells_where_a_truncated_core_ends(void **state)
{
	struct core_writer *writer = usual_core(8, EM_X86_64);
	// The file holds the writable segment first; half of its second page is left.
	struct target *target = open_writer(writer, writer->size - 4096 - 2048);

	(void)state;
	assert_false(target->complete);
	assert_true(warned(target, "truncated"));
	assert_true(warned(target, "0x10000"));
	assert_false(target->segments[0].readable);
	assert_int_equal(target->segments[1].contents_end, 0x20000 + 4096 + 2048);
	assert_int_equal(byte_at(target, 0x20000 + 4096 + 2047), 'c');
	assert_int_equal(byte_at(target, 0x20000 + 4096 + 2048), '!');
	target_close(target);
	free_writer(writer);
}

static void stays_complete_without_read_only_memory(void **state)
{
	struct core_writer *writer = usual_core(8, EM_X86_64);
	struct target *target = open_writer(writer, writer->size - 4096);

	(void)state;
	assert_true(target->complete);
	assert_true(warned(target, "truncated"));
	target_close(target);
	free_writer(writer);
}

static void tells_what_a_filter_left_out(void **state)
{
	static const struct core_writer_file files[] = { { 0x30000, 0x32000, 0, "/srv/table" } };
	struct core_writer *writer = new_writer(8, EM_X86_64);
	struct target *target;

	(void)state;
	core_writer_thread(writer, 1, 0);
	core_writer_files(writer, files, 1);
	core_writer_segment(writer, 0x10000, 4096, page_a, 4096, PF_R | PF_W);
	core_writer_segment(writer, 0x20000, 4096, page_b, 0, PF_R);
	core_writer_segment(writer, 0x28000, 4096, page_b, 0, PF_R | PF_W);
	core_writer_finish(writer);
	target = open_writer(writer, writer->size);
	// Read-only memory and anonymous memory that the kernel had no page for.
	assert_true(target->complete);
	target_close(target);

	core_writer_segment(writer, 0x30000, 8192, page_b, 0, PF_R | PF_W);
	core_writer_finish(writer);
	target = open_writer(writer, writer->size);
	assert_false(target->complete);
	assert_true(warned(target, "8.00K of writable memory in 1 range is not in the core"));
	assert_true(warned(target, "0x30000"));
	target_close(target);
	free_writer(writer);
}

static void tells_that_no_memory_was_dumped(void **state)
{
	struct core_writer *writer = new_writer(8, EM_X86_64);
	struct target *target;

	(void)state;
	core_writer_thread(writer, 1, 0);
	core_writer_segment(writer, 0x10000, 4096, page_a, 4096, PF_R | PF_X);
	core_writer_segment(writer, 0x30000, 8192, page_b, 0, PF_R | PF_W);
	core_writer_finish(writer);
	target = open_writer(writer, writer->size);
	assert_false(target->complete);
	assert_true(warned(target, "0x30000"));
	target_close(target);
	free_writer(writer);
}

static void cuts_overlaps(void **state)
{
	struct core_writer *writer = new_writer(8, EM_X86_64);
	struct target *target;

	(void)state;
	core_writer_thread(writer, 1, 0);
	core_writer_segment(writer, 0x10000, 8192, page_c, 8192, PF_R | PF_W);
	core_writer_segment(writer, 0x10800, 4096, page_a, 4096, PF_R | PF_W);
	core_writer_segment(writer, 0x11800, 4096, page_b, 4096, PF_R | PF_W);
	core_writer_finish(writer);
	target = open_writer(writer, writer->size);
	assert_true(warned(target, "overlap"));
	for (size_t i = 1; i < target->segment_count; i++)
		assert_true(target->segments[i - 1].end <= target->segments[i].start);
	assert_int_equal(byte_at(target, 0x11000), 'c');
	assert_int_equal(byte_at(target, 0x12000), 'b');
	target_close(target);
	free_writer(writer);
}

static void reads_more_segments_than_16_bits_count(void **state)
{
	struct core_writer *writer = new_writer(8, EM_X86_64);
	struct target *target;

	(void)state;
	core_writer_thread(writer, 1, 0);
	core_writer_segment(writer, 0x10000, 4096, page_a, 4096, PF_R | PF_W);
	writer->repeated = 70000;
	core_writer_finish(writer);
	target = open_writer(writer, writer->size);
	assert_int_equal(target->segment_count, 70001);
	assert_int_equal(byte_at(target, 0x10000), 'a');
	target_close(target);

	// The number itself stood at the end and is lost.
	target = open_writer(writer, writer->size - 16);
	assert_int_equal(target->segment_count, 70001);
	target_close(target);
	free_writer(writer);
}

static void survives_absurd_numbers(void **state)
{
	struct core_writer *writer = new_writer(8, EM_X86_64);
	struct target *target;

	(void)state;
	core_writer_thread(writer, 1, 0);
	core_writer_segment(writer, 0x10000, 4096, page_a, 4096, PF_R | PF_W);
	core_writer_segment(writer, 0x20000, UINT64_MAX, page_b, 4096, PF_R | PF_W);
	core_writer_segment(writer, UINT64_MAX - 4095, UINT64_MAX, page_b, 4096, PF_R | PF_W)
		->offset = UINT64_MAX - 100;
	core_writer_segment(writer, 0x30000, 4096, page_b, 4096, PF_R | PF_W)->offset = 1;
	core_writer_finish(writer);
	target = open_writer(writer, writer->size);
	assert_int_equal(byte_at(target, 0x10000), 'a');
	assert_int_equal(byte_at(target, 0x20fff), 'b');
	assert_int_equal(byte_at(target, 0x21000), '!');
	assert_false(target->complete);
	target_close(target);
	free_writer(writer);
}

static void loads_what_lies_askew_in_the_file(void **state)
{
	struct core_writer *writer = new_writer(8, EM_X86_64);
	struct target_segment *segment;
	struct target *target;

	(void)state;
	core_writer_thread(writer, 1, 0);
	core_writer_segment(writer, 0x10000, 4096, page_a, 4096, PF_R | PF_W);
	core_writer_finish(writer);
	// Point the segment 3 bytes further: its words would not be aligned in the mapped file.
	((Elf64_Phdr *)(writer->bytes + sizeof(Elf64_Ehdr)))[1].p_offset -= 3;
	target = open_writer(writer, writer->size);
	segment = (struct target_segment *)&target->segments[0];
	assert_null(segment->image);
	assert_null(target->ops->load(target, segment));
	assert_int_equal(segment->image[2], 0);
	assert_int_equal(segment->image[3], 'a');
	assert_int_equal((uintptr_t)segment->image % 16, 0);
	target_close(target);
	free_writer(writer);
}

static void lists_mapped_files(void **state)
{
	static const struct core_writer_file files[] = {
		{ 0x10000, 0x11000, 0, "/nowhere/program" },
		{ 0x11000, 0x13000, 3, "/nowhere/program" },
		{ 0x20000, 0x21000, 0, "/memfd:heap (deleted)" },
		{ 0x30000, 0x31000, 5, "/nowhere/gone.so (deleted)" },
	};
	uint64_t auxv[] = { AT_PHDR, 0x10040, AT_RANDOM, 0x40010, AT_NULL, 0 };
	struct core_writer *writer = new_writer(8, EM_X86_64);
	struct target *target;

	(void)state;
	core_writer_thread(writer, 1, 0);
	core_writer_note(writer, "CORE", NT_AUXV, auxv, sizeof(auxv));
	core_writer_files(writer, files, 4);
	core_writer_segment(writer, 0x10000, 4096, page_a, 4096, PF_R | PF_X);
	core_writer_segment(writer, 0x11000, 8192, page_b, 0, PF_R);
	core_writer_segment(writer, 0x20000, 4096, page_b, 4096, PF_R | PF_W);
	core_writer_segment(writer, 0x30000, 4096, page_b, 4096, PF_R | PF_W);
	core_writer_segment(writer, 0x40000, 4096, page_b, 4096, PF_R | PF_W);
	core_writer_finish(writer);
	target = open_writer(writer, writer->size);
	assert_string_equal(target->path, "/nowhere/program");
	assert_string_equal(target->name, "program");
	assert_int_equal(target->auxv_count, 3);
	assert_ptr_equal(target->segments[0].file, target->segments[1].file);
	assert_int_equal(target->segments[1].file_offset, 3 * 4096);
	assert_false(target->segments[1].readable);
	assert_true(target->segments[2].file->anonymous);
	assert_true(target->segments[3].file->deleted);
	assert_string_equal(target->segments[3].file->path, "/nowhere/gone.so");
	assert_string_equal(target->segments[4].name, "[stack]");
	assert_true(warned(target, "/nowhere/program"));
	target_close(target);
	free_writer(writer);
}

static void decompresses(void **state)
{
	struct core_writer *writer = usual_core(8, EM_X86_64);
	size_t bound = ZSTD_compressBound(writer->size), bytes;
	uint8_t *compressed = malloc(bound);
	struct target *target = NULL;
	int fd;

	(void)state;
	bytes = ZSTD_compress(compressed, bound, writer->bytes, writer->size, 3);
	fd = core_writer_file_of(compressed, bytes);
	assert_true(core_is(fd));
	close(fd);
	assert_null(open_bytes(compressed, bytes, &target));
	assert_true(target->complete);
	assert_int_equal(byte_at(target, 0x20000), 'c');
	target_close(target);

	// Cut off: what came before can be read or the error says why not, and nothing is complete.
	if (!open_bytes(compressed, bytes - 8, &target)) {
		assert_false(target->complete);
		assert_true(warned(target, "cut off"));
		target_close(target);
	}
	free(compressed);
	free_writer(writer);
}

static void refuses_with_a_reason(void **state)
{
	struct core_writer *writer = usual_core(8, EM_X86_64);
	struct target *target = NULL;
	struct error *error;

	(void)state;
	writer->bytes[EI_DATA] = ELFDATA2MSB;
	error = open_bytes(writer->bytes, writer->size, &target);
	assert_int_equal(error->kind, ERROR_UNSUPPORTED);
	assert_non_null(strstr(error->text, "big-endian"));
	writer->bytes[EI_DATA] = ELFDATA2LSB;
	error = open_bytes(writer->bytes, 20, &target);
	assert_int_equal(error->kind, ERROR_DAMAGED);
	error = open_bytes(writer->bytes, 0, &target);
	assert_int_equal(error->kind, ERROR_DAMAGED);
	writer->bytes[16] = ET_EXEC;
	error = open_bytes(writer->bytes, writer->size, &target);
	assert_non_null(strstr(error->text, "not a core"));
	free_writer(writer);
}

static void survives_every_truncation(void **state)
{
	struct core_writer *writer = usual_core(8, EM_X86_64);

	(void)state;
	for (size_t size = 0; size < writer->size; size += size < 1200 ? 1 : 977) {
		struct target *target = NULL;

		if (open_bytes(writer->bytes, size, &target))
			continue;
		assert_true(target->warning_count > 0);
		for (size_t i = 0; i < target->segment_count; i++)
			byte_at(target, target->segments[i].start);
		target_close(target);
	}
	free_writer(writer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_core),
		cmocka_unit_test(reads_threads),
		cmocka_unit_test(reads_32_bit),
		cmocka_unit_test(reads_aarch64),
		cmocka_unit_test(tells_where_a_truncated_core_ends),
		cmocka_unit_test(stays_complete_without_read_only_memory),
		cmocka_unit_test(tells_what_a_filter_left_out),
		cmocka_unit_test(tells_that_no_memory_was_dumped),
		cmocka_unit_test(cuts_overlaps),
		cmocka_unit_test(reads_more_segments_than_16_bits_count),
		cmocka_unit_test(survives_absurd_numbers),
		cmocka_unit_test(loads_what_lies_askew_in_the_file),
		cmocka_unit_test(lists_mapped_files),
		cmocka_unit_test(decompresses),
		cmocka_unit_test(refuses_with_a_reason),
		cmocka_unit_test(survives_every_truncation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
