// SPDX-License-Identifier: MIT
// What inject.c and the inject files of the CPUs share.
#pragma once

#include "os/inject.h"

// Of the CPU that we run on; each CPU's file defines it under its own #if.
extern const struct os_inject_cpu os_inject_here;

// A register set of a stopped thread (NT_*).
struct error *os_inject_get_set(int tid, unsigned set, void *buffer, size_t bytes,
                                size_t *ret_bytes);
