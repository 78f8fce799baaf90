# SPDX-License-Identifier: MIT
# make              build and stage a relocatable tree in build/stage
# make demo         look at running programs with the staged tools
# make check        every test; SANITIZE=1 under ASan and UBSan, ONLY=PATTERN for some tests
# make check-all    check, then the second tier: sanitizers, clang, aarch64, lint
# make cross        the build for aarch64
# make install      PREFIX=/usr/local DESTDIR=
# make lint | format | fuzz | bench | soak
# demo, check, cross, check-all and bench install missing Debian packages first (packaging/debian-packages.txt).
MAKEFLAGS += --no-print-directory
comma := ,
SANITIZE ?=
PREFIX ?= /usr/local
ONLY ?=
BUILD := build$(if $(SANITIZE),-asan)
STAGE := $(CURDIR)/$(BUILD)/stage
MESON_OPTIONS := $(if $(SANITIZE),-Db_sanitize=address$(comma)undefined)
TOOLS_ENV := SRC="$(CURDIR)" BUILD="$(CURDIR)/$(BUILD)" STAGE="$(STAGE)" PATH="$(STAGE)/bin:$$PATH"

.PHONY: all build stage install demo check cross check-all lint format fuzz bench soak clean packages

all: stage

$(BUILD)/build.ninja:
	meson setup $(BUILD) $(MESON_OPTIONS)

build: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

stage: build
	@DESTDIR="$(STAGE)" meson install -C $(BUILD) --no-rebuild --only-changed --quiet

install: stage
	@DESTDIR="$(DESTDIR)$(PREFIX)" meson install -C $(BUILD) --no-rebuild

packages:
	@scripts/install-packages build demo $(PACKAGE_GROUPS)

demo: packages
	$(MAKE) stage
	@$(TOOLS_ENV) scripts/demo

check: PACKAGE_GROUPS = test cross
check: packages
	$(MAKE) stage
	@$(TOOLS_ENV) scripts/run-tests $(ONLY)

cross: PACKAGE_GROUPS = cross
cross: packages
	@scripts/build-aarch64

check-all: PACKAGE_GROUPS = test extra cross
check-all: packages
	@scripts/check-all

lint:
	@scripts/lint

format:
	git ls-files '*.c' '*.h' '*.cpp' | xargs -r clang-format -i

bench: PACKAGE_GROUPS = test bench
bench: packages
	$(MAKE) stage
	@$(TOOLS_ENV) bench/run

fuzz soak: stage
	@$(TOOLS_ENV) tests/$@/run

clean:
	rm -rf build build-asan build-fuzz build-clang build-tsan build-aarch64 build-aarch64-sysroot
