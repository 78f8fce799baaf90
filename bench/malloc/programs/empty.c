// SPDX-License-Identifier: MIT
// A library of nothing: what preloading itself costs, against which start-up memory is held.
extern int malloc_bench_nothing;
int malloc_bench_nothing;
