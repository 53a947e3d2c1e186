# systems.mk - the same tests through other compilers, dialects, C libraries and processors: the
# part of the Makefile behind `make test-systems`. What the machine lacks is skipped by name.

SYSTEMS = $(PROCESSORS) $(COMPILERS) lwip
# Their rules stand with those of `make test`, which runs a part of them.
SHIMS = kqueue kqueue_netbsd darwin
# What `make test` has no time for: the rest of the sanitizers' tests, and the TLS servers of others.
SANITIZED = $(foreach c,$(filter asan no_coroutines ucontext,$(USABLE)),$(filter-out $(call quick_programs_of,$(c)),$(call programs_of,$(c))))
SYSTEMS_SCRIPTS = $(wildcard tests/systems/*.t) $(if $(BEARSSL),$(TLS_SCRIPTS))

SYSTEMS_PACKAGES = tcc musl-tools lld qemu-user liblwip-dev \
	$(foreach p,aarch64 arm i686 riscv64 s390x powerpc64le,$(foreach c,gcc g++,\
		$(c)-$(p)-linux-gnu$(if $(filter arm,$(p)),eabihf))) \
	$(foreach p,arm64 armhf i386 riscv64 s390x ppc64el,libc6-dev-$(p)-cross)

usable = $(foreach c,$(1),$(if $(call why_not,$(c)),,$(c)))
skipped = $(foreach c,$(1),$(if $(call why_not,$(c)),'--skipped=$(c): $(call why_not,$(c))'))

setup-systems: setup-wine
	@sh tests/setup.sh $(PACKAGES) $(SYSTEMS_PACKAGES)
	@tests/systems/zig.sh >/dev/null || echo '# skipped without it: glibc 2.17, macOS, the BSDs'

# Those with Windows have a target of their own; those for macOS and the BSDs are scripts.
test-systems: setup-systems
	@$(MAKE) --no-print-directory run-systems; systems=$$?; \
		$(MAKE) --no-print-directory test-wine && exit $$systems

run-systems:
	$(call build_and_run,$(foreach c,$(call usable,$(SYSTEMS) $(SHIMS)),$(call programs_of,$(c))) $(SANITIZED),\
		--total=$(BUILD)/systems.total $(call skipped,$(SYSTEMS) $(SHIMS)) \
		$(SYSTEMS_SCRIPTS:%=--script=%))
.PHONY: setup-systems test-systems run-systems

# --- processors: static programs in qemu's user mode; i386 is run by this processor itself --------

PROCESSORS = $(WITH_C) $(WITH_CXX)
WITH_C = aarch64 aarch64_bti arm thumb i386 riscv64 s390x ppc64le
WITH_CXX = $(patsubst %,%_cxx,$(filter-out aarch64_bti,$(WITH_C)))

aarch64 = aarch64-linux-gnu-gcc -std=c99 -O2 -static
# Signed return addresses, which the emulator checks; bti.t has it check the landing pads, too.
aarch64_bti = $(aarch64) -mbranch-protection=standard
arm = arm-linux-gnueabihf-gcc -std=c99 -O2 -static -marm
thumb = arm-linux-gnueabihf-gcc -std=c99 -O2 -static -mthumb
i386 = i686-linux-gnu-gcc -std=c99 -O2 -static
riscv64 = riscv64-linux-gnu-gcc -std=c99 -O2 -static
# The emulator hands on control messages that it does not know in the wrong order of bytes: without
# datagrams that the kernel cuts and joins.
s390x = s390x-linux-gnu-gcc -std=c99 -O2 -static -DUDP_SEGMENT=9999 -DUDP_GRO=9999
ppc64le = powerpc64le-linux-gnu-gcc -std=c99 -O2 -static

$(foreach c,$(patsubst %_cxx,%,$(WITH_CXX)),$(eval \
	$(c)_cxx = $(subst -gcc -std=c99,-g++ -x c++ -std=c++11,$($(c)))))
$(foreach c,$(WITH_C),$(eval tests_of_$(c) = $$(TESTS)))
tests_of_s390x = $(filter-out test_flows,$(TESTS))
$(foreach c,$(WITH_CXX),$(eval tests_of_$(c) = test_arguments exceptions))

emulator_aarch64 = qemu-aarch64
# The architecture's own way to sign costs the emulator ten times as much.
emulator_aarch64_bti = qemu-aarch64 -cpu max,pauth-impdef=on
emulator_arm = qemu-arm
emulator_thumb = qemu-arm
emulator_riscv64 = qemu-riscv64
emulator_s390x = qemu-s390x
emulator_ppc64le = qemu-ppc64le
$(foreach c,$(WITH_CXX),$(eval emulator_$(c) = $(emulator_$(patsubst %_cxx,%,$(c)))))
EMULATED = $(foreach c,$(PROCESSORS),$(if $(emulator_$(c)),$(c)))
EMULATORS = $(foreach c,$(EMULATED),'--emulator=$(c)=$(emulator_$(c))')
$(foreach c,$(EMULATED),$(eval why_not_$(c) = \
	command -v $(firstword $(emulator_$(c))) >/dev/null || echo $(firstword $(emulator_$(c))) is missing))

# What Linux does for a program and the emulator forgets.
link_of_ppc64le = $(BUILD)/vrsave.o
link_of_ppc64le_cxx = $(link_of_ppc64le)
$(link_of_ppc64le): tests/systems/vrsave.c
	@mkdir -p $(@D)
	$(show)$(ppc64le) $(STRICT) -c -o $@ $<

# --- compilers, dialects and C libraries, for this processor --------------------------------------

COMPILERS = tcc musl gcc_c11 gcc_c17_lto gcc_c2x clang_c11 clang_c2x_lto clang_cfi gxx_20 clangxx_17 \
	cet shadow glibc_2_17

tcc = tcc -g -include tests/systems/tcc.h
# Warnings of conversions are about macros of its headers; those of the kernel come from elsewhere.
musl = musl-gcc -std=c99 -O2 -static -Wno-sign-conversion -Wno-conversion -idirafter /usr/include \
	-idirafter /usr/include/x86_64-linux-gnu
gcc_c11 = gcc -std=c11 -O0
# It sees across files that a call that fails fills nothing in.
gcc_c17_lto = gcc -std=c17 -O3 -flto=auto -Wno-maybe-uninitialized
gcc_c2x = gcc -std=c2x -Os -fPIE -pie
clang_c11 = clang -std=c11 -O0
clang_c2x_lto = clang -std=c2x -O3 -flto=thin -fuse-ld=lld -Wno-unused-command-line-argument
clang_cfi = clang -std=c99 -O2 -flto -fsanitize=cfi -fvisibility=hidden -fuse-ld=lld \
	-Wno-unused-command-line-argument
# An old C library, with the newer one of this machine at run time; `make macos-headers` brings zig.
glibc_2_17 = $(BUILD)/cache/zig/package/zig cc -target x86_64-linux-gnu.2.17 -std=c99 -O2
gxx_20 = g++ -x c++ -std=c++20 -O2 -Wno-deprecated-declarations
clangxx_17 = clang++ -x c++ -std=c++17 -O2 -Wno-deprecated-declarations

tests_of_tcc = $(TESTS)
tests_of_musl = $(TESTS)
tests_of_gxx_20 = $(CXX_TESTS) exceptions
tests_of_clangxx_17 = $(CXX_TESTS) exceptions
$(foreach c,gcc_c11 gcc_c17_lto gcc_c2x clang_c11 clang_c2x_lto clang_cfi cet shadow glibc_2_17,\
	$(eval tests_of_$(c) = $$(CORE)))

# Landing pads and a shadow stack, which no kernel here turns on: what was compiled for it must run.
cet = gcc -std=c99 -O2 -fcf-protection=full
# Where it finds a shadow stack the library leaves the switching to the C library.
shadow = $(cet) -include tests/systems/shadow.h

# --- small devices: lwIP's sockets instead of the system's ----------------------------------------

lwip = gcc -std=c99 -O1 -g -DASOCKET_EMBEDDED -include tests/lwip/names.h
why_not_lwip = test -f /usr/include/lwip/lwip/sockets.h || echo liblwip-dev is missing
tests_of_lwip = test_lwip test_callbacks test_extending test_ring
link_of_lwip = $(BUILD)/lwip/stack.o -llwip
$(addprefix $(BUILD)/lwip/,$(tests_of_lwip)): $(BUILD)/lwip/stack.o
$(BUILD)/lwip/stack.o: tests/lwip/stack.c
	@mkdir -p $(@D)
	$(show)gcc -std=gnu99 -O1 -g -Wall -Wextra -isystem /usr/include/lwip -c -o $@ $<

$(BUILD)/lwip/test_lwip: tests/lwip/test_lwip.c $(BUILD)/lwip/implementation.o $(wildcard tests/*.h)
	@rm -f $@
	$(show)$(lwip) $(STRICT) -o $@ $< $(BUILD)/lwip/implementation.o $(link_of_lwip) -pthread

# --- how they are built ---------------------------------------------------------------------------

$(foreach c,$(SYSTEMS),$(eval $(call configuration,$(c))))

# The libraries that some tests try themselves with are this machine's own.
define foreign
$(BUILD)/$(1)/%: libraries_of_layers =
$(BUILD)/$(1)/%: libraries_of_loops =
$(BUILD)/$(1)/%: flags_of_loops = -DTEST_WITHOUT_UV -DTEST_WITHOUT_GLIB
endef

$(foreach c,$(PROCESSORS) musl tcc,$(eval $(call foreign,$(c))))
$(addprefix $(BUILD)/ppc64le/,$(TESTS)): $(link_of_ppc64le)
$(addprefix $(BUILD)/ppc64le_cxx/,test_arguments exceptions): $(link_of_ppc64le)
