// SPDX-License-Identifier: MIT
// Allocates on every kind of stack that an unwinder may meet. Run under the oracle preload, with the
// number of rounds and the paths of two plugins (torture_plugin.c) that differ in all their frames.
#include <alloca.h>
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

extern "C" void oracle_probe(void) __attribute__((weak));

static volatile unsigned sink;

__attribute__((noinline)) static void leaf(unsigned bytes)
{
	void *block = malloc(bytes % 500 + 1);

	sink += *(unsigned char *)&block;
	free(block);
}

static unsigned next(unsigned *state)
{
	*state = *state * 1103515245 + 12345;
	return *state >> 16 & 0x7fff;
}

// --- Frames of all shapes -------------------------------------------------------------------------
static void walk(unsigned *state, int depth);

__attribute__((noinline)) static void variable_frame(unsigned *state, int depth)
{
	unsigned bytes = next(state) % 300 + 1;
	char *local = (char *)alloca(bytes);

	memset(local, 1, bytes);
	walk(state, depth - 1);
	sink += local[bytes / 2];
	leaf(bytes);
}

// Realigns its stack, and has a frame of variable size: gcc addresses arguments through r10 (DRAP).
__attribute__((noinline)) static void aligned_frame(unsigned *state, int depth, int a, int b, int c,
                                                    int d, int e, int f)
{
	alignas(64) volatile int vector[16];
	char *local = (char *)alloca(next(state) % 100 + 1);

	local[0] = (char)a;
	vector[3] = b + c + d + e + f;
	walk(state, depth - 1);
	sink += vector[3] + local[0];
	leaf(3);
}

__attribute__((noinline)) static void large_frame(unsigned *state, int depth)
{
	volatile char local[9000];

	local[5] = 1;
	walk(state, depth - 1);
	leaf(local[5]);
}

__attribute__((noinline, optimize("no-omit-frame-pointer"))) static void framed(unsigned *state,
                                                                                int depth)
{
	walk(state, depth - 1);
	leaf(7);
}

__attribute__((noinline)) static void thrower(unsigned *state, int depth)
{
	if (depth > 0 && next(state) % 4)
		walk(state, depth - 1);
	leaf(9);
	throw std::runtime_error("thrown at a depth of " + std::to_string(depth));
}

__attribute__((noinline)) static void catcher(unsigned *state, int depth)
{
	std::string text = "something that does not fit into a short string";

	try {
		thrower(state, depth - 1);
	} catch (const std::exception &error) {
		text += error.what();
		walk(state, depth - 2);
	}
	sink += (unsigned)text.size();
}

__attribute__((noinline)) static void jump_from(jmp_buf *target, int depth)
{
	leaf((unsigned)depth);
	if (depth == 0)
		longjmp(*target, 1);
	jump_from(target, depth - 1);
	leaf(11);
}

__attribute__((noinline)) static void jumper(unsigned *state, int depth)
{
	jmp_buf target;

	if (!setjmp(target))
		jump_from(&target, (int)(next(state) % 10));
	leaf(13);
	walk(state, depth - 1);
}

static int by_value(const void *a, const void *b)
{
	leaf(17);
	return *(const int *)a - *(const int *)b;
}

__attribute__((noinline)) static void sorter(unsigned *state, int depth)
{
	int numbers[8];

	for (int &number : numbers)
		number = (int)next(state);
	qsort(numbers, 8, sizeof(numbers[0]), by_value);
	walk(state, depth - 1);
}

__attribute__((noinline)) static void caller(unsigned *state, int depth)
{
	std::function<void(int)> function = [state](int inner) { walk(state, inner); };
	std::map<int, std::string> map;

	for (int i = 0; i < 5; i++)
		map[(int)next(state)] = std::string(next(state) % 40, 'x');
	function(depth - 1);
}

// Raised where the compiler knows of it, and by the timer where it does not.
__attribute__((noinline)) static void signaller(unsigned *state, int depth)
{
	raise(next(state) % 2 ? SIGUSR1 : SIGUSR2);
	walk(state, depth - 1);
}

static void walk(unsigned *state, int depth)
{
	leaf((unsigned)depth);
	if (depth <= 0)
		return;
	switch (next(state) % 10) {
	case 0:
		return variable_frame(state, depth);
	case 1:
		return aligned_frame(state, depth, 1, 2, 3, 4, 5, 6);
	case 2:
		return large_frame(state, depth);
	case 3:
		return framed(state, depth);
	case 4:
		return catcher(state, depth);
	case 5:
		return jumper(state, depth);
	case 6:
		return sorter(state, depth);
	case 7:
		return caller(state, depth);
	case 8:
		return signaller(state, depth);
	default:
		walk(state, depth - 1);
		leaf(19);
	}
}

// --- Stacks ---------------------------------------------------------------------------------------
enum { COROUTINES = 6, COROUTINE_BYTES = 256 << 10, GUARD = 4096 };

struct coroutine {
	ucontext_t own, back;
	char *stack;
	unsigned state;
};

static thread_local coroutine *running;

static void coroutine_main()
{
	for (;;) {
		walk(&running->state, 6);
		leaf(23);
		swapcontext(&running->own, &running->back);
	}
}

static void coroutine_start(coroutine *made, unsigned seed)
{
	made->state = seed;
	made->stack = (char *)mmap(NULL, COROUTINE_BYTES + GUARD, PROT_READ | PROT_WRITE,
	                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(made->stack, GUARD, PROT_NONE);
	getcontext(&made->own);
	made->own.uc_stack.ss_sp = made->stack + GUARD;
	made->own.uc_stack.ss_size = COROUTINE_BYTES;
	made->own.uc_link = NULL;
	makecontext(&made->own, coroutine_main, 0);
}

__attribute__((noinline)) static void coroutines(unsigned *state, int switches)
{
	std::vector<coroutine> all(COROUTINES);

	for (coroutine &one : all)
		coroutine_start(&one, next(state));
	for (int i = 0; i < switches; i++) {
		running = &all[next(state) % COROUTINES];
		swapcontext(&running->back, &running->own);
		if (next(state) % 8 == 0) { // another stack may come where this one was
			munmap(running->stack, COROUTINE_BYTES + GUARD);
			coroutine_start(running, next(state));
		}
		leaf(29);
	}
	for (coroutine &one : all)
		munmap(one.stack, COROUTINE_BYTES + GUARD);
}

__attribute__((noinline)) static int recurse(int depth)
{
	if (depth % 1024 == 0)
		leaf((unsigned)depth);
	if (depth == 0)
		return 1;
	int result = recurse(depth - 1) + 1;
	if (depth % 512 == 0)
		leaf((unsigned)depth);
	return result;
}

static void handler(int, siginfo_t *, void *)
{
	if (oracle_probe)
		oracle_probe();
}

static void raised(int, siginfo_t *, void *)
{
	leaf(31); // raise was called outside of malloc
}

static thread_local std::unique_ptr<char[]> signal_stack;

static void prepare_signals()
{
	stack_t stack = {};
	struct sigaction action = {};

	signal_stack.reset(new char[64 << 10]);
	stack.ss_sp = signal_stack.get();
	stack.ss_size = 64 << 10;
	sigaltstack(&stack, NULL);
	action.sa_flags = SA_SIGINFO | SA_RESTART;
	action.sa_sigaction = raised;
	sigaction(SIGUSR1, &action, NULL);
	action.sa_sigaction = handler;
	sigaction(SIGPROF, &action, NULL);
	action.sa_flags |= SA_ONSTACK;
	action.sa_sigaction = raised;
	sigaction(SIGUSR2, &action, NULL);
}

static void forget_signal_stack()
{
	stack_t none = {};

	none.ss_flags = SS_DISABLE;
	sigaltstack(&none, NULL);
}

// --- Code without tables --------------------------------------------------------------------------
#if defined(__x86_64__)
static const unsigned char framed_code[] = {
	0x55,             // push %rbp
	0x48, 0x89, 0xe5, // mov %rsp, %rbp
	0xff, 0xd7,       // call *%rdi
	0x5d,             // pop %rbp
	0xc3,             // ret
};
static const unsigned char frameless_code[] = {
	0x48, 0x83, 0xec, 0x18, // sub $24, %rsp
	0xff, 0xd7,             // call *%rdi
	0x48, 0x83, 0xc4, 0x18, // add $24, %rsp
	0xc3,                   // ret
};
#endif

static void call_leaf()
{
	leaf(37);
}

__attribute__((noinline, optimize("no-omit-frame-pointer"))) static void call_made_code(
	void (*code)(void (*)()))
{
	code(call_leaf);
	leaf(41);
}

static void made_code()
{
#if defined(__x86_64__)
	char *page = (char *)mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
	                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memcpy(page + 16, framed_code, sizeof(framed_code));
	memcpy(page + 64, frameless_code, sizeof(frameless_code));
	call_made_code((void (*)(void (*)()))(page + 16));
	call_made_code((void (*)(void (*)()))(page + 64));
	munmap(page, 4096);
#endif
}

// --- What only the frame pointer tells ------------------------------------------------------------
__attribute__((noinline)) static void leaves_frame_pointer()
{
	leaf(47);
	sink++;
}

// Has the same value in the frame pointer each time, and what it was on the stack.
__attribute__((noinline)) static void saves_frame_pointer()
{
#if defined(__x86_64__)
	__asm__ volatile("mov $1, %%ebp" ::: "rbp");
#endif
	leaf(53);
	sink++;
}

__attribute__((noinline)) static void placed(unsigned bytes, void (*inner)())
{
	char *local = (char *)alloca(bytes);

	__asm__ volatile("" : : "r"(local) : "memory");
	inner();
	sink++;
}

// Calls from two places, so that what is called further in lies at the same address both times, and the
// return address of the first call stays where it was.
__attribute__((noinline)) static void shifted(unsigned bytes, void (*inner)())
{
	char *local = (char *)alloca(bytes);

	__asm__ volatile("" : : "r"(local) : "memory");
	if (bytes < 100) {
		placed(512 - bytes, inner);
		sink++;
	} else {
		placed(512 - bytes, inner);
		sink--;
	}
}

static void shift()
{
	for (volatile unsigned i = 0; i < 8; i++)
		shifted(i % 2 ? 272 : 16, i < 4 ? leaves_frame_pointer : saves_frame_pointer);
}

#if defined(__x86_64__)
// Is interrupted at its first instruction, before which lies other code.
__attribute__((naked, noinline)) static void faults()
{
	__asm__("ud2\n\tret");
}

static void after_fault(int, siginfo_t *, void *context)
{
	leaf(59);
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}
#endif

static void fault()
{
#if defined(__x86_64__)
	struct sigaction action = {};

	action.sa_flags = SA_SIGINFO;
	action.sa_sigaction = after_fault;
	sigaction(SIGILL, &action, NULL);
	faults();
#endif
}

// --- The parts ------------------------------------------------------------------------------------
static void plugins(char **paths, int rounds)
{
	for (int i = 0; i < rounds; i++) {
		void *plugin = dlopen(paths[i % 2], RTLD_NOW | RTLD_LOCAL);
		void (*enter)(void (*)(unsigned), int);

		if (!plugin) {
			fprintf(stderr, "%s\n", dlerror());
			exit(1);
		}
		*(void **)&enter = dlsym(plugin, "enter");
		enter(leaf, 5);
		dlclose(plugin);
		leaf(43);
	}
}

static void *thread_main(void *argument)
{
	unsigned state = (unsigned)(size_t)argument;

	prepare_signals();
	for (unsigned i = state >> 16; i; i--) {
		walk(&state, 12);
		if (i % 8 == 0)
			coroutines(&state, 20);
	}
	forget_signal_stack();
	return NULL;
}

static void threads(unsigned rounds)
{
	pthread_t all[4];

	for (size_t i = 0; i < 4; i++)
		pthread_create(&all[i], NULL, thread_main,
		               (void *)(size_t)(rounds << 16 | (0x1234 * (i + 1) & 0xffff)));
	for (pthread_t thread : all)
		pthread_join(thread, NULL);
}

static void timer(int microseconds)
{
	struct itimerval every = {};

	every.it_interval.tv_usec = every.it_value.tv_usec = microseconds;
	setitimer(ITIMER_PROF, &every, NULL);
}

int main(int count, char **words)
{
	unsigned rounds = count > 1 ? (unsigned)atoi(words[1]) : 10;
	unsigned state = 4711;

	prepare_signals();
	timer(1000);
	for (unsigned i = 0; i < rounds; i++)
		walk(&state, 15);
	coroutines(&state, (int)rounds * 4);
	timer(0);
	sink += (unsigned)recurse(5000);
	sink += (unsigned)recurse(90000);
	for (unsigned i = 0; i < rounds; i++) {
		made_code();
		shift();
		fault();
	}
	threads(rounds);
	if (count > 3)
		plugins(words + 2, (int)rounds);
	timer(1000);
	for (unsigned i = 0; i < rounds; i++)
		walk(&state, 15);
	timer(0);
	if (system("true"))
		return 1;
	forget_signal_stack();
	return 0;
}
