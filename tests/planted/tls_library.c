// SPDX-License-Identifier: MIT
// A library with thread-local storage too big for the static surplus, so each thread gets it late.
static __thread char tls_library_padding[8192];
static __thread void *volatile tls_library_value;

__attribute__((visibility("default"))) void *tls_library_slot(void)
{
	tls_library_padding[17] = 1;
	return (void *)&tls_library_value;
}
