// SPDX-License-Identifier: MIT
// Finds a CPU's register layout by ELF machine number. All layouts are compiled
// everywhere, because a core of one CPU may be read on another.
#include "os/os.h"

#include <elf.h>
#include <string.h>

#include "os/cpu_impl.h"

static const struct os_cpu *const cpus[] = { &os_cpu_x86_64, &os_cpu_i386, &os_cpu_aarch64 };

const struct os_cpu *os_cpu_of_machine(uint16_t elf_machine, unsigned word_bytes)
{
	for (size_t i = 0; i < sizeof(cpus) / sizeof(cpus[0]); i++) {
		if (cpus[i]->elf_machine == elf_machine && cpus[i]->word_bytes == word_bytes)
			return cpus[i];
	}
	return NULL;
}

bool os_cpu_widen(const struct os_cpu *cpu, const void *set, size_t bytes,
                  uint64_t ret[OS_REGISTERS_MAX])
{
	const uint8_t *from = set;

	if (bytes < (size_t)cpu->register_count * cpu->word_bytes)
		return false;
	for (unsigned i = 0; i < cpu->register_count; i++) {
		ret[i] = 0;
		memcpy(&ret[i], from + (size_t)i * cpu->word_bytes, cpu->word_bytes);
	}
	return true;
}
