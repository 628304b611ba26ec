# The targets of the project. premake5.lua, which Debian's premake 4 can also read, describes the
# build of the one program, build/moonfleet. `make help` lists the targets.

PREFIX = /usr/local
DESTDIR =
# 5.4 or 5.5
LUA ?= 5.4
# if set, warnings are errors
WERROR ?=
# no: fail if a package is missing, and install none
INSTALL_PACKAGES ?= yes
FUZZ_SECONDS = 60
export MINUTES = 15
SEED = 1
ITEMS = 200000

premake = $$(command -v premake5 || command -v premake4) --file=premake5.lua
# Compiling uses every core unless make got -j; nothing else runs in parallel.
cores = $(if $(filter --jobserver%,$(MAKEFLAGS)),,-j$(shell nproc))
compile = @+$(MAKE) --no-print-directory $(cores) -C build
fuzzers = $(basename $(notdir $(wildcard spec/fuzz/*.c)))
install_packages = $(if $(filter no,$(INSTALL_PACKAGES)),:,.ci/packages)
generated = build/gen/embed.c build/gen/commit.c
lua_fuzzers = $(basename $(notdir $(wildcard spec/fuzz/*_fuzz.lua)))

ifeq ($(filter 5.4 5.5,$(LUA)),)
$(error LUA=$(LUA): moonfleet builds with Lua 5.4 (the default) or 5.5)
endif
export LUA WERROR RELEASES MATRIX RPM_ARCH RPM_RELEASE DEB_REVISION

.DEFAULT_GOAL := build
.NOTPARALLEL:
.PHONY: build demo test ctest browser rehearsal mixed matrix chaos bench soak docs lint asan tsan clang fuzz install compdb format clean
.PHONY: help manifests man generate dist rpm rpm-al2023 deb packages-check packages-test

build: build/Makefile $(generated)  ## Building: build build/moonfleet, installing missing Debian packages
	$(compile) config=release moonfleet

demo: build  ## Trying it: run a job on three nodes and a web server of this machine
	@.ci/packages demo
	@demo/run

test: tests  ## Testing: run every test, or one file: SPEC=spec/fleet/base/text_spec.lua
	$(compile) config=release moonfleet moonfleet-ctest
	@spec/run build $(SPEC)

ctest: build  ## Testing: run the tests in C alone
	@.ci/packages ctest
	$(compile) config=release moonfleet-ctest
	@build/moonfleet-ctest

browser: build  ## Testing: run the web page in Chromium; SCREENSHOTS=DIR keeps what it looks like
	@.ci/packages browser
	@spec/browser/run build

# Ends when make does, even if make is killed.
rehearsal: build generate  ## Testing: rehearse the deployment on EC2: moto, packer, systemd in containers; needs root
	@.ci/packages rehearsal
	@setpriv --pdeathsig TERM spec/rehearsal/run

mixed: tests  ## Testing: run a fleet of programs with Lua 5.4 and 5.5
	@$(MAKE) --no-print-directory LUA=5.5 build
	@cp build/moonfleet build/other
	@$(MAKE) --no-print-directory LUA=5.4 ctest
	@OTHER_MOONFLEET=$(CURDIR)/build/other spec/run build spec/e2e/mixed_spec.lua

asan: tests  ## Testing: run every test under the address and undefined behaviour sanitizers
	$(compile) config=asan moonfleet moonfleet-ctest
	@spec/run build/asan

tsan: tests  ## Testing: run every test under the thread sanitizer
	$(compile) config=tsan moonfleet moonfleet-ctest
	@spec/run build/tsan

fuzz: tests  ## Testing: run every fuzzer for FUZZ_SECONDS=60
	$(compile) config=fuzz CC=clang $(fuzzers)
	$(compile) config=release moonfleet
	@spec/fuzz/run $(FUZZ_SECONDS) $(fuzzers) $(lua_fuzzers)

manifests:  ## Testing: check the manifests in deploy/
	@.ci/packages manifests
	@spec/deploy/manifests

matrix:  ## Testing: build and test on other releases and architectures: .ci/matrix
	@.ci/matrix

chaos: tests  ## Testing: run jobs while workers, nodes and drivers die: SEED=1 ITEMS=200000
	$(compile) config=release moonfleet
	@build/moonfleet run spec/chaos/run.lua -- $(SEED) $(ITEMS)

bench: build  ## Trying it: measure moonfleet beside other tools
	@.ci/packages bench
	$(compile) config=release nng-pingpong pipe-pingpong
	@bench/run

soak: build  ## Testing: send ever new code for MINUTES=15; fail if a process grows
	@.ci/packages bench
	@bench/soak

# A source tarball has them, for machines without Lua.
man: packages  ## Developing: write the manual pages to build/man
	@mkdir -p build/man
	@lua=$$(command -v lua5.4 lua5.5 lua | head -n 1); \
	if [ -n "$$lua" ] || [ ! -e build/man/moonfleet.1 ]; then \
	  $${lua:-lua5.4} docs/generate_man.lua build/man $$(date -u -d "@$$(scripts/commit.sh --time)" +%F); \
	fi

docs:  ## Developing: generate docs/reference.md, docs/cli.md and the table of docs/aws.md
	@lua5.4 docs/generate.lua
	@lua5.4 docs/generate_cli.lua
	@lua5.4 docs/setups.lua

lint: tests  ## Developing: check the format, and run the static checkers and the rules of the tree
	@spec/lint/run

clang: tests  ## Developing: build with clang, with warnings as errors
	$(compile) config=clang CC=clang WERROR=1 moonfleet moonfleet-ctest

compdb: build/Makefile $(generated)  ## Developing: write compile_commands.json for editors (needs bear)
	bear --output compile_commands.json -- $(MAKE) -C build -B config=release moonfleet moonfleet-ctest

format:  ## Developing: apply clang-format to the C sources
	find host spec bench -name '*.[ch]' -exec clang-format -i {} +

generate: build/Makefile $(generated) man  ## Building: write all that the source tarball contains besides the tree
dist:  ## Building: write the source tarball, build/dist/moonfleet-VERSION.tar.gz
	@scripts/source.sh build/dist

share = $(DESTDIR)$(PREFIX)/share
install: build man  ## Building: install under PREFIX=/usr/local, below DESTDIR=
	install -D -m 755 build/moonfleet $(DESTDIR)$(PREFIX)/bin/moonfleet
	install -d $(share)/moonfleet/scripts $(share)/man/man1 $(share)/man/man5
	install -m 644 scripts/*.lua $(share)/moonfleet/scripts
	install -m 644 build/man/*.1 $(share)/man/man1
	install -m 644 build/man/*.5 $(share)/man/man5
	install -d $(share)/bash-completion/completions $(share)/zsh/site-functions $(share)/fish/vendor_completions.d
	build/moonfleet completion bash >$(share)/bash-completion/completions/moonfleet
	build/moonfleet completion zsh >$(share)/zsh/site-functions/_moonfleet
	build/moonfleet completion fish >$(share)/fish/vendor_completions.d/moonfleet.fish

rpm:  ## Packaging: build the RPM and its source, in build/rpm
	@$(install_packages) rpm
	@scripts/rpm.sh

rpm-al2023:  ## Packaging: build the RPM for Amazon Linux 2023, in a container: RPM_ARCH=x86_64
	@$(install_packages) rpm
	@scripts/rpm.sh al2023

deb:  ## Packaging: build the Debian package and its source, in build/deb
	@$(install_packages) deb
	@scripts/deb.sh

packages-check:  ## Packaging: check scripts, units and packages, and install the RPM by dnf
	@.ci/packages package
	@spec/packages/check

packages-test:  ## Packaging: install, upgrade and remove packages by dnf 4 and 5 and apt, on three releases
	@.ci/packages package
	@spec/packages/run $(ROWS)

clean:  ## Building: remove build/
	rm -rf build

help:  ## Developing: show this list
	@for group in Building Packaging "Trying it" Testing Developing; do \
	  echo "$$group:"; \
	  sed -n "s/^\([a-z0-9-]*\):.*## $$group: /  \1\t/p" Makefile | expand -t 12; \
	done

# Packages are checked first, once per make.
.PHONY: packages tests
packages:
	@$(install_packages) build
tests: packages build/Makefile $(generated)
	@.ci/packages test

# A folder changes when files are added or removed. The archives are deleted because they would
# keep the objects of removed files; after a change of premake5.lua all objects are, because they
# do not depend on the compiler flags. Premake 4's makefiles may use object folders before they
# make them.
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

# Written only if it differs, so that nothing is linked again without need.
.PHONY: commit
build/gen/commit.c: commit
	@scripts/commit.sh $@

build/gen/embed.c: build/gen/stamp
build/gen/stamp: premake5.lua $(shell find lua 2>/dev/null) | packages
	@mkdir -p $(@D)
	@$(premake) embed >build/premake.log || { cat build/premake.log; exit 1; }
	@touch $@
