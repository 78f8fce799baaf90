// SPDX-License-Identifier: MIT
// What a process costs: the parsers of the kernel's texts, and our own numbers among those of the machine.
#include "unit.h"

#include <unistd.h>

#include "accounts/accounts.h"

static bool parse_stat(const char *text, struct os_account *ret)
{
	*ret = (struct os_account){ 0 };
	return os_account_parse_stat(text, strlen(text), ret);
}

static void stat_may_have_any_name(void **state)
{
	struct os_account account;

	(void)state;
	assert_true(
		parse_stat("812 (a) (S 1) R) S 7 812 812 0 -1 4194304 104 5 6 7 8 9 0 0 20 0 3 0 "
	                   "3450960 3133440 389\n",
	                   &account));
	assert_string_equal(account.name, "a) (S 1) R");
	assert_int_equal(account.state, 'S');
	assert_int_equal(account.parent_pid, 7);
	assert_int_equal(account.soft_faults, 104);
	assert_int_equal(account.hard_faults, 6);
	assert_int_equal(account.children_soft_faults, 5);
	assert_int_equal(account.children_hard_faults, 7);
	assert_int_equal(account.cpu_ticks, 17);
	assert_int_equal(account.threads, 3);
	assert_int_equal(account.start_ticks, 3450960);
	assert_false(account.is_kernel);
}

static void stat_that_is_cut_is_refused(void **state)
{
	static const char *const texts[] = { "",
		                             "812",
		                             "812 (",
		                             "812 (x",
		                             ")(",
		                             "812 (x)",
		                             "812 (x) S 7 812 812 0 -1 4194304 104 5 6" };
	struct os_account account;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_false(parse_stat(texts[i], &account));
}

static void statm_is_in_pages(void **state)
{
	struct os_account account = { 0 };

	(void)state;
	assert_true(os_account_parse_statm("765 418 389 5 0 123 0\n", 22, &account));
	assert_int_equal(account.virtual_bytes, 765 * os_page_bytes());
	assert_int_equal(account.resident_bytes, 418 * os_page_bytes());
	assert_int_equal(account.anonymous_bytes, 29 * os_page_bytes());
	assert_true(os_account_parse_statm("9 3 5", 5, &account));
	assert_int_equal(account.anonymous_bytes, 0);
	assert_false(os_account_parse_statm("765 418", 7, &account));
	assert_false(os_account_parse_statm("1 1 18446744073709551615", 24, &account));
}

struct listed {
	struct os_smaps_mapping mappings[3];
	char names[3][64];
	size_t count;
};

static void list_mapping(void *context, const struct os_smaps_mapping *mapping)
{
	struct listed *listed = context;

	assert_true(listed->count < 3);
	snprintf(listed->names[listed->count], sizeof(listed->names[0]), "%s", mapping->name);
	listed->mappings[listed->count++] = *mapping;
}

static void smaps_come_one_by_one(void **state)
{
	static const char text[] =
		"1000-3000 rw-p 00000000 00:00 0    [heap]\n"
		"Size: 8 kB\nRss: 8 kB\nPss: 6 kB\nShared_Dirty: 4 kB\nPrivate_Dirty: 4 kB\n"
		"LazyFree: 4 kB\nSwap: 12 kB\nTomorrow: 9 kB\nVmFlags: rd wr lo ac \n"
		"2000-4000 r-xs 00001000 08:02 77  /a (deleted)\n"
		"Private_Hugetlb: 2048 kB\nRss: 18446744073709551615 kB\n";
	struct listed listed = { .count = 0 };

	(void)state;
	assert_null(os_smaps_parse(text, sizeof(text) - 1, list_mapping, &listed));
	assert_int_equal(listed.count, 2);
	assert_string_equal(listed.names[0], "[heap]");
	assert_int_equal(listed.mappings[0].counts.resident, 8192);
	assert_int_equal(listed.mappings[0].counts.proportional, 6144);
	assert_int_equal(listed.mappings[0].counts.shared_dirty, 4096);
	assert_int_equal(listed.mappings[0].counts.private_dirty, 4096);
	assert_int_equal(listed.mappings[0].counts.lazy_free, 4096);
	assert_int_equal(listed.mappings[0].counts.swapped, 12288);
	assert_string_equal(listed.mappings[0].counts.flags, "rd wr lo ac");
	assert_true(os_flags_have(listed.mappings[0].counts.flags, "lo"));
	assert_false(os_flags_have(listed.mappings[0].counts.flags, "io"));
	assert_int_equal(listed.mappings[1].start, 0x3000); // moved while the kernel wrote
	assert_int_equal(listed.mappings[1].inode, 77);
	assert_true(listed.mappings[1].shared);
	assert_int_equal(listed.mappings[1].counts.huge_reserved, 2048 * 1024);
	assert_int_equal(listed.mappings[1].counts.resident, 0);
}

static void smaps_that_make_no_sense_are_refused(void **state)
{
	static const char *const texts[] = {
		"1000\n", "3000-1000 rw-p 00000000 00:00 0 \n",
		"1000-2000 rw-q 00000000 00:00 0 \n",
		"1000-2000 rw-p 00000000 00:00 99999999999999999999 \n"
	};
	struct listed listed = { .count = 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_non_null(os_smaps_parse(texts[i], strlen(texts[i]), list_mapping, &listed));
	assert_null(os_smaps_parse("Rss: 4 kB\n", 10, list_mapping, &listed));
	assert_int_equal(listed.count, 0);
}

static void take_segment(void *context, const struct os_sysv_segment *segment)
{
	*(struct os_sysv_segment *)context = *segment;
}

static void system_v_segments_are_read(void **state)
{
	static const char text[] =
		"       key      shmid perms   size  cpid  lpid nattch   uid   gid  cuid  cgid"
		"      atime      dtime      ctime   rss  swap\n"
		"-559038737  12 600  5000  812  813  2  33 33 0 0  1  2  1795403797  8192  4096\n"
		"  7 13 600\n";
	struct os_sysv_segment segment = { 0 };

	(void)state;
	os_sysv_parse(text, sizeof(text) - 1, take_segment, &segment);
	assert_int_equal(segment.key, 0xdeadbeef);
	assert_int_equal(segment.id, 12);
	assert_int_equal(segment.bytes, 5000);
	assert_int_equal(segment.creator_pid, 812);
	assert_int_equal(segment.last_pid, 813);
	assert_int_equal(segment.attached_count, 2);
	assert_int_equal(segment.uid, 33);
	assert_int_equal(segment.changed_s, 1795403797);
	assert_true(segment.has_pages);
	assert_int_equal(segment.resident_bytes, 8192);
	assert_int_equal(segment.swapped_bytes, 4096);
}

struct mounts {
	struct os_mount last;
	size_t count;
};

static void take_mount(void *context, const struct os_mount *mount)
{
	struct mounts *mounts = context;

	mounts->last = *mount;
	mounts->count++;
}

static void mounts_are_read(void **state)
{
	static const char text[] = "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
				   "30 24 0:26 / /my\\040shm rw - tmpfs tmpfs rw,size=4k\n"
				   "31 24 0:27 / /cut rw\n";
	struct mounts mounts = { .count = 0 };

	(void)state;
	os_mounts_parse(text, sizeof(text) - 1, take_mount, &mounts);
	assert_int_equal(mounts.count, 2);
	assert_true(mounts.last.in_memory);
	assert_string_equal(mounts.last.place, "/my shm");
	assert_int_equal(mounts.last.device, 26);
}

struct search {
	int pid;
	bool found, kernel;
};

static bool look_for(void *context, const struct account *account)
{
	struct search *search = context;

	search->kernel |= account->process.is_kernel;
	search->found |= account->process.pid == search->pid;
	return true;
}

static void we_are_among_the_processes(void **state)
{
	struct search search = { .pid = getpid() };
	struct accounts *accounts;
	struct account account;

	(void)state;
	assert_null(accounts_open(&accounts));
	assert_null(accounts_each(accounts, false, look_for, &search));
	assert_true(search.found);
	assert_false(search.kernel);
	assert_true(accounts_read(accounts, getpid(), &account));
	assert_int_equal(account.process.parent_pid, getppid());
	assert_true(account.footprint_bytes > 0);
	assert_true(account.footprint_bytes <=
	            account.process.resident_bytes + account.process.swapped_bytes);
	assert_false(accounts_read(accounts, 0x7fffffff, &account));
	accounts_close(accounts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stat_may_have_any_name),
		cmocka_unit_test(stat_that_is_cut_is_refused),
		cmocka_unit_test(statm_is_in_pages),
		cmocka_unit_test(smaps_come_one_by_one),
		cmocka_unit_test(smaps_that_make_no_sense_are_refused),
		cmocka_unit_test(system_v_segments_are_read),
		cmocka_unit_test(mounts_are_read),
		cmocka_unit_test(we_are_among_the_processes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
