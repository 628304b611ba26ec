# The front door; the build itself is premake5.lua, which Debian's premake 4 reads too.
# The one program is build/moonfleet. `make help` lists what there is.

PREFIX = /usr/local
DESTDIR =
# 5.4 or 5.5
LUA ?= 5.4
# set, warnings are errors
WERROR ?=
FUZZ_SECONDS = 60
export MINUTES = 15
SEED = 1
ITEMS = 200000

premake = $$(command -v premake5 || command -v premake4) --file=premake5.lua
# Every core, unless make was told otherwise. Only compiling runs in parallel.
cores = $(if $(filter --jobserver%,$(MAKEFLAGS)),,-j$(shell nproc))
compile = @+$(MAKE) --no-print-directory $(cores) -C build
fuzzers = $(basename $(notdir $(wildcard spec/fuzz/*.c)))
lua_fuzzers = $(basename $(notdir $(wildcard spec/fuzz/*_fuzz.lua)))

ifeq ($(filter 5.4 5.5,$(LUA)),)
$(error LUA=$(LUA): moonfleet builds with Lua 5.4 (the default) or 5.5)
endif
export LUA WERROR RELEASES MATRIX

.DEFAULT_GOAL := build
.NOTPARALLEL:
.PHONY: build demo test ctest mixed matrix bench soak docs lint asan tsan clang fuzz install compdb format clean
.PHONY: help

build: build/Makefile build/gen/embed.c  ## build/moonfleet (missing packages are installed)
	$(compile) config=release moonfleet

demo: build  ## three nodes and a web server here, and a job over them
	@.ci/packages demo
	@demo/run

test: tests  ## every test, or those of SPEC=spec/fleet/base/text_spec.lua
	$(compile) config=release moonfleet moonfleet-ctest
	@spec/run build $(SPEC)

ctest: build  ## the tests in C alone
	@.ci/packages ctest
	$(compile) config=release moonfleet-ctest
	@build/moonfleet-ctest

mixed: tests  ## a fleet of programs with Lua 5.4 and 5.5
	@$(MAKE) --no-print-directory LUA=5.5 build
	@cp build/moonfleet build/other
	@$(MAKE) --no-print-directory LUA=5.4 ctest
	@OTHER_MOONFLEET=$(CURDIR)/build/other spec/run build spec/e2e/mixed_spec.lua

asan: tests  ## every test, under address and undefined behaviour sanitizers
	$(compile) config=asan moonfleet moonfleet-ctest
	@spec/run build/asan

tsan: tests  ## every test, under the thread sanitizer
	$(compile) config=tsan moonfleet moonfleet-ctest
	@spec/run build/tsan

fuzz: tests  ## every fuzzer for FUZZ_SECONDS=60 each
	$(compile) config=fuzz CC=clang $(fuzzers)
	$(compile) config=release moonfleet
	@spec/fuzz/run $(FUZZ_SECONDS) $(fuzzers) $(lua_fuzzers)

matrix:  ## build, demo and test on other releases and architectures; see .ci/matrix
	@.ci/matrix

chaos: tests  ## runs while workers, nodes and drivers die: SEED=1 ITEMS=200000
	$(compile) config=release moonfleet
	@build/moonfleet run spec/chaos/run.lua -- $(SEED) $(ITEMS)

bench: build  ## the table of figures against other tools
	@.ci/packages bench
	$(compile) config=release nng-pingpong
	@bench/run

soak: build  ## ever new code for MINUTES=15, in which nothing may grow
	@.ci/packages bench
	@bench/soak

docs:  ## write anew what is generated: docs/reference.md, docs/cli.md, the table of docs/aws.md
	@lua5.4 docs/generate.lua
	@lua5.4 docs/generate_cli.lua
	@lua5.4 docs/setups.lua

lint: tests  ## format, static checks, and the rules of the source tree
	@spec/lint/run

clang: tests  ## the same sources through clang, where warnings are errors
	$(compile) config=clang CC=clang WERROR=1 moonfleet moonfleet-ctest

compdb: build/Makefile build/gen/embed.c  ## compile_commands.json for editors (needs bear)
	bear --output compile_commands.json -- $(MAKE) -C build -B config=release moonfleet-host

format:  ## clang-format over the C sources
	find host spec bench -name '*.[ch]' -exec clang-format -i {} +

install: build  ## into PREFIX=/usr/local, below DESTDIR=
	install -D -m 755 build/moonfleet $(DESTDIR)$(PREFIX)/bin/moonfleet
	install -d $(DESTDIR)$(PREFIX)/share/moonfleet/scripts
	install -m 644 scripts/*.lua $(DESTDIR)$(PREFIX)/share/moonfleet/scripts

clean:  ## remove build/
	rm -rf build

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

# Packages are looked at once per make, first of all.
.PHONY: packages tests
packages:
	@.ci/packages build
tests: packages build/Makefile build/gen/embed.c
	@.ci/packages test

# Folders change when files come and go; an archive would keep what is gone. Flags are not
# dependencies of objects, so a new premake5.lua starts over. Premake 4's makefiles may need
# object folders before they make them.
build/Makefile: premake5.lua build/lua-$(LUA) $(shell find host spec/host spec/fuzz -type d 2>/dev/null) | packages
	@$(if $(filter premake5.lua build/lua-%,$?),rm -rf build/obj)
	@mkdir -p build
	@rm -f build/*.a build/*/*.a
	@$(premake) gmake >build/premake.log || { cat build/premake.log; exit 1; }
	@sed -n 's/^ *OBJDIR *= //p' build/*.make | (cd build && xargs mkdir -p)
	@touch $@

build/lua-$(LUA):
	@mkdir -p build
	@rm -f build/lua-*
	@touch $@

build/gen/embed.c: build/gen/stamp
build/gen/stamp: premake5.lua $(shell find lua 2>/dev/null) | packages
	@mkdir -p $(@D)
	@$(premake) embed >build/premake.log || { cat build/premake.log; exit 1; }
	@touch $@
