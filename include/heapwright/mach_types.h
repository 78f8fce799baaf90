// SPDX-License-Identifier: MIT
// The Mach types and result codes that Heapwright's headers need, in their meaning on Linux: a task is
// a process id. Nothing here needs a library.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

typedef int kern_return_t;
typedef int task_t; // a process id
typedef uintptr_t vm_address_t;
typedef size_t vm_size_t;
typedef int boolean_t;

typedef struct {
	vm_address_t address;
	vm_size_t size; // bytes
} vm_range_t;

#define KERN_SUCCESS           0
#define KERN_INVALID_ADDRESS   1
#define KERN_NO_SPACE          3
#define KERN_INVALID_ARGUMENT  4
#define KERN_FAILURE           5
#define KERN_RESOURCE_SHORTAGE 6
#define KERN_NOT_SUPPORTED     46

static inline task_t mach_task_self(void)
{
	return getpid();
}
