// SPDX-License-Identifier: MIT
// Names of C++, Rust and D functions and of C++ types, through libiberty, and methods of Objective-C. Names
// are foreign: long ones are left as they are, and so are those with a long result,
// because a few hundred bytes with back references can stand for gigabytes.
// libiberty limits its recursion by itself as long as nobody asks it not to.
#include <ctype.h>
#include <libiberty/demangle.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "symbols/symbols_impl.h"

#define LONGEST_NAME      4096
#define LONGEST_RESULT    16384
#define MOST_D_REFERENCES 8

struct collected {
	char text[LONGEST_RESULT];
	size_t n;
	jmp_buf too_long;
};

// The demanglers with a callback own no memory while they print (cp-demangle.c, d_demangle_callback,
// keeps its tree on the stack), so that leaving them in the middle loses nothing.
static void collect(const char *piece, size_t n, void *context)
{
	struct collected *collected = context;

	if (n >= sizeof(collected->text) - collected->n)
		longjmp(collected->too_long, 1);
	memcpy(collected->text + collected->n, piece, n);
	collected->n += n;
	collected->text[collected->n] = '\0';
}

typedef int demangler(const char *, int, demangle_callbackref, void *);

static const char *demangle(struct arena *arena, const char *mangled, int options, demangler *with)
{
	struct collected collected;

	collected.n = 0;
	if (strlen(mangled) >= LONGEST_NAME || setjmp(collected.too_long) ||
	    !with(mangled, options, collect, &collected) || !collected.n)
		return NULL;
	return text_printable(arena, collected.text);
}

// Its result is built in memory, and each back reference ('Q') can double it.
static const char *demangle_d(struct arena *arena, const char *mangled)
{
	const char *copy = NULL;
	size_t references = 0;
	char *name;

	for (const char *at = mangled; *at; at++)
		references += *at == 'Q';
	if (strlen(mangled) >= LONGEST_NAME || references > MOST_D_REFERENCES)
		return NULL;
	name = dlang_demangle(mangled, DMGL_PARAMS);
	if (name && strlen(name) < LONGEST_RESULT)
		copy = text_printable(arena, name);
	free(name);
	return copy;
}

static bool starts_upper(const char *text)
{
	return isupper((unsigned char)text[0]);
}

// gcc and clang name a method of the GNU runtimes _i_Class_Category_selector_with_, or _c_ one of the class
// (gcc/objc/objc-act.c): without a category two '_' stand there, and each ':' is a '_'. Names that could be
// parted in another way, or that look like those of C, stay as they are.
static const char *demangle_method(struct arena *arena, const char *mangled)
{
	const char *class = mangled + 3, *end, *category = NULL, *selector;
	char *text;

	if ((mangled[1] != 'i' && mangled[1] != 'c') || mangled[2] != '_' || !starts_upper(class) ||
	    strlen(mangled) >= LONGEST_NAME)
		return NULL;
	end = strstr(class, "__");
	selector = end ? end + 2 : NULL;
	if (!end) {
		end = strchr(class, '_');
		category = end && starts_upper(end + 1) ? end + 1 : NULL;
		selector = category ? strchr(category, '_') : NULL;
		if (!selector || !islower((unsigned char)*++selector))
			return NULL;
	}
	text = arena_format(arena, "%c[%.*s%s%.*s%s %s]", mangled[1] == 'i' ? '-' : '+',
	                    (int)(end - class), class, category ? "(" : "",
	                    category ? (int)(selector - 1 - category) : 0, category ? category : "",
	                    category ? ")" : "", selector);
	for (char *at = strchr(text, ' ') + 2; *at; at++)
		if (*at == '_')
			*at = ':';
	return text_printable(arena, text);
}

const char *symbols_demangle(struct arena *arena, const char *mangled)
{
	const int options = DMGL_PARAMS | DMGL_ANSI;
	const char *name = NULL;

	// Older Rust names are C++ names with a hash at the end, so Rust is asked first.
	if (mangled[0] == '_' && (mangled[1] == 'R' || mangled[1] == 'Z'))
		name = demangle(arena, mangled, options, rust_demangle_callback);
	if (!name && mangled[0] == '_' && mangled[1] == 'Z')
		name = demangle(arena, mangled, options, cplus_demangle_v3_callback);
	if (!name && mangled[0] == '_' && mangled[1] == 'D')
		name = demangle_d(arena, mangled);
	if (!name && mangled[0] == '_')
		name = demangle_method(arena, mangled);
	return name ? name : text_printable(arena, mangled);
}

// std::type_info gives the name of a class local to its object file with a star in front
// (libstdc++, typeinfo: names are then compared by address).
const char *symbols_demangle_type(struct arena *arena, const char *mangled)
{
	const char *start = mangled + (*mangled == '*');
	const char *name = demangle(arena, start, DMGL_PARAMS | DMGL_ANSI | DMGL_TYPES,
	                            cplus_demangle_v3_callback);

	return name ? name : text_printable(arena, start);
}
