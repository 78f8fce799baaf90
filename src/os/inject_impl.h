// SPDX-License-Identifier: MIT
// What inject.c and the inject files of the CPUs share.
#pragma once

#include "os/inject.h"

// Of the CPU that we run on; each CPU's file defines it under its own #if.
extern const struct os_inject_cpu os_inject_here;

struct sock_filter;
struct seccomp_data;

// Whether a filter lets a call through. It was checked by the kernel when it was installed, but is
// not trusted: it ends, and reads nothing but the call.
bool os_inject_filter_allows(const struct sock_filter *codes, size_t count,
                             const struct seccomp_data *call);
