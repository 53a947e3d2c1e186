# asocket: examples, tests and checks. The library itself is not built: it is asocket.h.
# `make help` lists what there is. GNU make.

JOBS ?= 2
# Tests mostly wait: twice as many of them run at a time.
RUN_JOBS ?= 4
BUILD = build
HEADER = asocket.h
TLS_HEADER = asocket_tls.h

help:
	@echo 'make            the examples, each from one file with a plain cc'
	@echo 'make setup      install what the tests need (Debian packages, as root or with sudo)'
	@echo 'make test       the tests over all backends, compilers and checkers (under 3 minutes)'
	@echo 'make test-all   every test program in every configuration'
	@echo 'make test-darwin  the tests compiled with macOS headers (npm), run here; test-macos: linked'
	@echo 'make test-asan  one configuration of: $(CONFIGURATIONS) scripts'
	@echo 'make test-wine  the tests for Windows, under Wine over IOCP and WSAPoll (make setup-wine first)'
	@echo 'make faults     each scenario again with each system call and allocation failing, with TLS too'
	@echo 'make soak       ten million posts from four threads, under ThreadSanitizer (15 minutes a backend)'
	@echo 'make fuzz       programs of calls, addresses, readers of certificates: FUZZ_SECONDS (60) each, libFuzzer'
	@echo 'make test-systems other compilers, dialects, C libraries, processors and systems'
	@echo 'make promises   which tests keep which promise of the manual'
	@echo 'make features   which tests show which feature (tests/features.tsv)'
	@echo 'make bench      figures against other libraries; bench-tls: against BearSSL by hand and OpenSSL'
	@echo 'make lint       clang-format, cppcheck, clang-tidy; advice from gcc -fanalyzer'
	@echo 'make coverage   lines and branches of asocket.h that the tests reach'
	@echo 'make format     clang-format in place'
	@echo 'make clean      remove $(BUILD)/'
.PHONY: help all setup setup-servers test test-all programs faults fuzz soak promises features bench bench-tls lint coverage \
	format clean
.DELETE_ON_ERROR:
.DEFAULT_GOAL = all

# --- examples: no flags, as a user would --------------------------------------------------------

# Those with TLS want -lbearssl, and are left out where it is not installed.
BEARSSL := $(if $(wildcard /usr/include/bearssl.h /usr/local/include/bearssl.h),-lbearssl)
TLS_EXAMPLES := $(shell grep -l asocket_tls.h examples/*.c)
EXAMPLES = $(patsubst examples/%.c,$(BUILD)/examples/%,\
	$(filter-out $(if $(BEARSSL),,$(TLS_EXAMPLES)),$(wildcard examples/*.c)))

all: $(EXAMPLES)

$(BUILD)/examples/%: examples/%.c $(HEADER) $(TLS_HEADER)
	@mkdir -p $(@D)
	$(CC) -o $@ $< $(if $(filter $<,$(TLS_EXAMPLES)),-lbearssl)

# --- setup --------------------------------------------------------------------------------------

# Compilers and checkers, the peers that the examples are tried with, and the rivals of the bench.
PACKAGES = make gcc g++ libc6-dev perl clang libclang-rt-dev valgrind strace binutils \
	curl netcat-openbsd telnet socat wrk apache2-utils clang-format clang-tidy cppcheck libuv1-dev \
	dnsmasq-base pkg-config zlib1g-dev libglib2.0-dev redis-server iperf3 nginx-light libbearssl-dev openssl \
	ca-certificates libssl-dev gnutls-bin stunnel4 mosquitto exim4-daemon-light

setup:
	@sh tests/setup.sh $(PACKAGES)

# What it brings is looked for when make starts: goals beside it get a make of their own.
LATER = $(filter-out setup,$(MAKECMDGOALS))
ifneq ($(and $(filter setup,$(MAKECMDGOALS)),$(LATER)),)
$(LATER): setup
	@$(MAKE) --no-print-directory $@
.PHONY: $(LATER)
else

# More servers for tests/tls/tls_servers.t: half a gigabyte of them.
setup-servers: setup
	@sh tests/setup.sh golang-go default-jdk-headless postgresql

# --- configurations: each is a compiler with its flags ------------------------------------------
#
# Every tests/test_*.c becomes $(BUILD)/<configuration>/test_*, linked with that configuration's
# tests/implementation.c, and runs once for each backend (tests/run.pl).

STRICT = -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wundef -Werror

gcc = gcc -std=c99 -O1 -g
clang = clang -std=c99 -O2 -g
asan = $(ASAN_CC) -std=c99 -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
	-fno-sanitize-recover=all
tsan = clang -std=c99 -O1 -g -fsanitize=thread
valgrind = gcc -std=c99 -O1 -g -DASOCKET_VALGRIND
gxx = g++ -x c++ -std=c++11 -O1 -g
clangxx = clang++ -x c++ -std=c++11 -O1 -g
ucontext = gcc -std=c99 -O1 -g -DASOCKET_UCONTEXT
kqueue = gcc -std=c99 -O1 -g -DASOCKET_KQUEUE -Itests/kqueue
kqueue_netbsd = $(ASAN_CC) -std=c99 -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
	-fno-sanitize-recover=all -DASOCKET_KQUEUE -DKQUEUE_NETBSD -Itests/kqueue
darwin = tests/darwin/cc -std=c99 -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
	-fno-sanitize-recover=all -fno-sanitize=shift -Wno-deprecated-declarations
no_coroutines = gcc -std=c99 -O1 -g -DASOCKET_NO_COROUTINES
static = gcc -std=c99 -O1 -g -D_GNU_SOURCE -DASOCKET_STATIC
ndebug = gcc -std=c99 -O3 -DNDEBUG
coverage = gcc -std=c99 -O0 -g --coverage -DNDEBUG

# clang's own checks go a little further than gcc's; either will do.
ASAN_CC := $(if $(shell command -v clang),clang,gcc)

CONFIGURATIONS = gcc clang asan tsan valgrind gxx clangxx ucontext no_coroutines static ndebug \
	kqueue kqueue_netbsd darwin

TESTS = $(patsubst tests/%.c,%,$(wildcard tests/test_*.c))
# The same over every backend: run once.
PURE = test_address test_ring tls_chains tls_parts tls_trust tls_verified $(FUZZERS) $(TLS_FUZZERS)
# Those that are valid C++ too.
CXX_TESTS = test_address test_arguments
# Those that do not need coroutines: they start none, or leave that out by themselves.
PLAIN = $(patsubst tests/%.c,%,$(shell grep -l ASOCKET_NO_COROUTINES tests/test_*.c; \
	grep -LE 'asocket_(launch|serve|join|cancel|current)' tests/test_*.c))

tests_of_gxx = $(CXX_TESTS) exceptions
tests_of_clangxx = $(CXX_TESTS) exceptions
tests_of_ucontext = test_coroutines test_stacks test_selector test_callbacks
tests_of_no_coroutines = $(sort $(PLAIN))
tests_of_static = test_address
tests_of_kqueue = $(TESTS)
tests_of_kqueue_netbsd = $(filter-out test_clock test_guards test_inherited test_races,$(TESTS))
tests_of_darwin = $(TESTS)
tests_of = $(or $(tests_of_$(1)),$(TESTS) $(FUZZERS) $(TLS_TESTS))

# tests/tls/test_x.c becomes tls_x.
TLS_TESTS = $(if $(BEARSSL),$(patsubst tests/tls/test_%.c,tls_%,$(wildcard tests/tls/test_*.c)) $(TLS_FUZZERS))
# What the fuzzers found, again.
FUZZERS = fuzz_calls fuzz_address
TLS_FUZZERS = $(filter-out $(FUZZERS),$(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*.c)))

PROGRAMS = $(foreach c,$(CONFIGURATIONS),$(addprefix $(BUILD)/$(c)/,$(call tests_of,$(c))))

# Why a configuration cannot run on this machine; empty when it can.
why_not = $(shell mkdir -p $(BUILD); \
	echo 'int main(void) { return 0; }' >$(BUILD)/probe.c; \
	reason=$$($(why_not_$(1))); [ -z "$$reason" ] || { echo "$$reason"; exit; }; \
	command -v $(firstword $($(1))) >/dev/null || { echo '$(firstword $($(1))) is missing'; exit; }; \
	$($(1)) $(BUILD)/probe.c -o $(BUILD)/probe >/dev/null 2>&1 || \
		echo '$(firstword $($(1))) cannot link with $(lastword $($(1)))')
why_not_valgrind = command -v valgrind >/dev/null || echo valgrind is missing
why_not_darwin = test -d $(BUILD)/cache/zig || echo the headers of macOS are missing: make macos-headers

USABLE = $(foreach c,$(CONFIGURATIONS),$(if $(call why_not,$(c)),,$(c)))
without_tls = $(if $(BEARSSL),,'--skipped=TLS: libbearssl-dev is missing')
SKIPPED = $(without_tls) $(foreach c,$(CONFIGURATIONS),$(if $(call why_not,$(c)),'--skipped=$(c): $(call why_not,$(c))'))

# What single tests use besides the library, where it is installed; without it they skip.
package = $(shell command -v pkg-config >/dev/null && pkg-config --silence-errors $(1) $(2))
flags_of_layers = $(if $(libraries_of_layers),,-DTEST_WITHOUT_ZLIB)
libraries_of_layers := $(call package,--libs,zlib)
loops_with := $(foreach p,libuv glib-2.0,$(if $(call package,--libs,$(p)),$(p)))
flags_of_loops := $(subst -I,-isystem ,$(if $(loops_with),$(call package,--cflags,$(loops_with)))) \
	$(if $(filter libuv,$(loops_with)),,-DTEST_WITHOUT_UV) \
	$(if $(filter glib-2.0,$(loops_with)),,-DTEST_WITHOUT_GLIB)
libraries_of_loops := $(if $(loops_with),$(call package,--libs,$(loops_with)))

# `make V=1` shows the whole commands.
show = $(if $(V),,@echo '   $@';)

define configuration
$(BUILD)/$(1)/implementation.o: tests/implementation.c $(HEADER)
	@mkdir -p $$(@D)
	$$(show)$($(1)) $(STRICT) -c -o $$@ $$<

$(BUILD)/$(1)/test_%: tests/test_%.c $(BUILD)/$(1)/implementation.o $(wildcard tests/*.h)
	@rm -f $$@
	$$(show)$($(1)) $(STRICT) $$(flags_of_$$*) -o $$@ $$< $$(if $$(findstring -x c++,$($(1))),-x none) \
		$(BUILD)/$(1)/implementation.o $(link_of_$(1)) -pthread $$(libraries_of_$$*)
endef

# kqueue over epoll: what programs of these configurations are linked with.
link_of_kqueue = $(BUILD)/kqueue/kqueue.o -Wl,--wrap=close
link_of_kqueue_netbsd = $(BUILD)/kqueue_netbsd/kqueue.o -Wl,--wrap=close

$(BUILD)/%/kqueue.o: tests/kqueue/kqueue.c tests/kqueue/sys/event.h
	@mkdir -p $(@D)
	$(show)$($*) $(STRICT) -c -o $@ $<

$(addprefix $(BUILD)/kqueue/,$(TESTS)): $(BUILD)/kqueue/kqueue.o
$(addprefix $(BUILD)/kqueue_netbsd/,$(TESTS)): $(BUILD)/kqueue_netbsd/kqueue.o

# Compiled with the headers of macOS, run here: see tests/darwin/apple.c.
darwin_objects = $(addprefix $(BUILD)/darwin/,apple.o linux.o kqueue.o)
link_of_darwin = $(darwin_objects) -Wl,--wrap=close

$(BUILD)/darwin/apple.o: tests/darwin/apple.c tests/darwin/numbers.h tests/darwin/cc
	@mkdir -p $(@D)
	$(show)$(darwin) $(STRICT) -c -o $@ $<

$(BUILD)/darwin/linux.o: tests/darwin/linux.c tests/darwin/numbers.h
	@mkdir -p $(@D)
	$(show)$(gcc) $(STRICT) -c -o $@ $<

$(BUILD)/darwin/kqueue.o: tests/kqueue/kqueue.c tests/kqueue/sys/event.h
	@mkdir -p $(@D)
	$(show)$(gcc) $(STRICT) -Itests/kqueue -c -o $@ $<

$(BUILD)/darwin/implementation.o: $(BUILD)/darwin/apple.o
$(addprefix $(BUILD)/darwin/,$(TESTS)): $(darwin_objects)

# Fetched once with npm: a compiler for macOS, with Apple's headers.
macos-headers:
	@tests/systems/zig.sh

# What cannot be fetched is no failure.
test-darwin:
	@mkdir -p $(BUILD)
	@if tests/systems/zig.sh >/dev/null 2>$(BUILD)/zig.missing; then \
		$(MAKE) --no-print-directory run-darwin; \
	else \
		echo "skipped: darwin: $$(cat $(BUILD)/zig.missing)"; \
	fi

run-darwin:
	$(call build_and_run,$(call programs_of,darwin),)

test-macos:
	$(RUN) --script=tests/systems/macos.t --script=tests/systems/bsd.t
.PHONY: macos-headers test-darwin run-darwin test-macos

$(foreach c,$(filter-out static,$(CONFIGURATIONS)) coverage,$(eval $(call configuration,$(c))))

# TLS: each test has asocket_tls.h to itself, and certificates that are made once.
define tls_configuration
$(BUILD)/$(1)/tls_%: tests/tls/test_%.c $(BUILD)/$(1)/implementation.o $(TLS_HEADER) \
		$(wildcard tests/*.h tests/tls/*.h) | $(BUILD)/tls/made
	@rm -f $$@
	$$(show)$($(1)) $(STRICT) -o $$@ $$< $(BUILD)/$(1)/implementation.o -pthread -lbearssl

$(BUILD)/$(1)/fuzz_%: tests/fuzz/fuzz_%.c $(BUILD)/$(1)/implementation.o $(TLS_HEADER) \
		tests/fuzz/fuzz.h tests/fuzz/must.h tests/tap.h
	@rm -f $$@
	$$(show)$($(1)) $(STRICT) -o $$@ $$< $(BUILD)/$(1)/implementation.o -pthread -lbearssl
endef

define fuzz_configuration
$(BUILD)/$(1)/fuzz_address: tests/fuzz/fuzz_address.c $(BUILD)/$(1)/implementation.o \
		tests/fuzz/fuzz.h tests/fuzz/must.h tests/tap.h
	@rm -f $$@
	$$(show)$($(1)) $(STRICT) -o $$@ $$< $(BUILD)/$(1)/implementation.o -pthread

$(BUILD)/$(1)/fuzz_calls: tests/fuzz/fuzz_calls.c $(HEADER) tests/kqueue/kqueue.c tests/fuzz/fuzz.h tests/fuzz/must.h \
		tests/tap.h
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(show)$($(1)) $(STRICT) $(fuzz_calls_flags) -o $$@ $$< -pthread
endef

# With the library in it, and kqueue over epoll.
fuzz_calls_flags = -DASOCKET_KQUEUE -Itests/kqueue tests/kqueue/kqueue.c -Wl,--wrap=close

$(foreach c,gcc clang asan tsan valgrind ndebug coverage,$(eval $(call tls_configuration,$(c))) \
	$(eval $(call fuzz_configuration,$(c))))

$(BUILD)/tls/made: tests/tls/make_certificates.pl tests/tls/chains.tsv
	@mkdir -p $(@D)
	perl $< $(@D) >$(@D)/made.log
	@touch $@

# C++ alone: exceptions in coroutines of a library that was compiled as C++.
$(BUILD)/%/exceptions: tests/exceptions.cc $(BUILD)/%/implementation.o $(wildcard tests/*.h)
	@rm -f $@
	$(show)$($*) $(STRICT) -o $@ $< -x none $(BUILD)/$*/implementation.o $(link_of_$*) -pthread

include tests/systems/systems.mk
include tests/windows/windows.mk

# The whole library private to the file that uses it.
$(BUILD)/static/test_%: tests/test_%.c tests/implementation.c $(HEADER) $(wildcard tests/*.h)
	@mkdir -p $(@D)
	@rm -f $@
	$(show)$(static) $(STRICT) -include tests/implementation.c -o $@ $< -pthread

# --- test ---------------------------------------------------------------------------------------

RUN = perl tests/run.pl --jobs=$(RUN_JOBS) $(PURE:%=--pure=%) $(EMULATORS)

# What does not compile is one failure and does not keep the rest from running.
define build_and_run
	@$(if $(strip $(1)),$(MAKE) --no-print-directory -k -j$(JOBS) --output-sync $(1) || \
		echo '# not everything was built',echo '# there are no programs for this')
	@$(RUN) $(2) $(1)
endef

programs_of = $(addprefix $(BUILD)/$(1)/,$(call tests_of,$(1)))
SCRIPTS = $(wildcard tests/*.t)
TLS_SCRIPTS = $(wildcard tests/tls/*.t)

# Of each configuration what says most about it, in under 3 minutes; test-all has all of each.
CORE = test_coroutines test_reading test_writing test_pipes test_accept test_arguments
# These carry a library of their own, which takes longer to compile than to test.
OWN = test_accept_errors test_clock test_close_errors test_guards test_inherited test_races
quick_of_clang = $(CORE)
quick_of_gxx = test_arguments exceptions
quick_of_no_coroutines = $(filter-out $(OWN),$(call tests_of,no_coroutines))
quick_of_gcc = $(filter-out tls_verified tls_stirred $(FUZZERS) $(TLS_FUZZERS),$(call tests_of,gcc))
quick_of_asan = $(CORE) test_connect test_layers test_moving test_passing test_ring test_selector \
	$(FUZZERS) $(filter tls_pump tls_handshake tls_trust fuzz_chain fuzz_client,$(TLS_TESTS))
quick_of_tsan = test_coroutines test_selector test_moving test_names $(filter tls_trust,$(TLS_TESTS))
quick_of_valgrind = test_reading test_arguments
quick_of_ucontext = test_coroutines test_stacks
quick_of_ndebug = test_coroutines test_reading test_writing
quick_of_kqueue = test_reading test_selector test_backends test_kqueue
quick_of_darwin = test_backends test_reading test_selector test_unix
quick_programs_of = $(addprefix $(BUILD)/$(1)/,$(or $(quick_of_$(1)),$(call tests_of,$(1))))

# As C++ by one compiler, over kqueue with one set of types; test-systems has the others, too.
test:
	$(call build_and_run,$(foreach c,$(filter-out clangxx kqueue_netbsd,$(USABLE)),$(call quick_programs_of,$(c))) $(QUICK_FAULTS) \
		$(quick_wine),--total=$(BUILD)/test.total $(SKIPPED) $(skipped_wine) $(SCRIPTS:%=--script=%))

test-all:
	$(call build_and_run,$(foreach c,$(USABLE),$(call programs_of,$(c))) $(QUICK_FAULTS),\
		--total=$(BUILD)/test.total $(SKIPPED) $(SCRIPTS:%=--script=%) $(if $(BEARSSL),$(TLS_SCRIPTS:%=--script=%)))

test-scripts:
	$(RUN) $(SCRIPTS:%=--script=%) $(if $(BEARSSL),$(TLS_SCRIPTS:%=--script=%))

test-%:
	$(if $(filter $*,$(CONFIGURATIONS) $(SYSTEMS)),,$(error test-$*: there is no such configuration: make help))
	$(call build_and_run,$(call programs_of,$*),)

programs: $(PROGRAMS)

# --- faults: the implementation with its seam to the system redefined ---------------------------

# With kqueue over epoll, see tests/kqueue; with TLS where BearSSL is installed.
faults = $(asan) -DASOCKET_KQUEUE -Itests/kqueue $(if $(BEARSSL),-DTEST_TLS)
FAULTS = $(BUILD)/faults/test_faults
# Without TEST_FAULTS=all it is a sample, which takes seconds.
QUICK_FAULTS = $(if $(filter asan,$(USABLE)),$(FAULTS))

faults: export TEST_FAULTS = all
faults:
	$(call build_and_run,$(FAULTS),--total=$(BUILD)/faults.total $(without_tls))

$(BUILD)/faults/implementation.o: tests/faults/implementation.c $(HEADER) $(TLS_HEADER) \
		$(wildcard tests/faults/*.h)
	@mkdir -p $(@D)
	$(show)$(faults) $(STRICT) -c -o $@ $<

$(FAULTS): $(BUILD)/faults/kqueue.o

$(BUILD)/faults/test_%: tests/faults/test_%.c $(BUILD)/faults/implementation.o \
		$(BUILD)/faults/kqueue.o $(wildcard tests/faults/*.h tests/*.h tests/tls/credentials.h) \
		$(if $(BEARSSL),| $(BUILD)/tls/made)
	@rm -f $@
	$(show)$(faults) $(STRICT) -o $@ $< $(BUILD)/faults/implementation.o $(BUILD)/faults/kqueue.o \
		-Wl,--wrap=close -pthread $(BEARSSL)

# --- soak: posts from threads while selectors run, wait and are destroyed; SOAK_POSTS of them -----

SOAK_POSTS ?= 10000000

soak: $(BUILD)/soak/test_posting
	@TEST_POSTS=$(SOAK_POSTS) $(RUN) $<

$(BUILD)/soak/test_posting: tests/test_posting.c tests/implementation.c $(HEADER) $(wildcard tests/*.h)
	@mkdir -p $(@D)
	@rm -f $@
	$(show)$(tsan) $(STRICT) -DTAP_SECONDS=7200 -o $@ tests/test_posting.c \
		tests/implementation.c -pthread

# --- fuzz: what strangers and callers may do; what is worth keeping goes to tests/fuzz/corpus/ -----

FUZZ_SECONDS ?= 60
fuzz_options = -max_total_time=$(FUZZ_SECONDS) -max_len=1200 -timeout=10 -print_final_stats=1
fuzzing = clang -std=c99 -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
	$(STRICT) -DFUZZ

fuzz: $(addprefix run-,$(FUZZERS) $(if $(BEARSSL),$(TLS_FUZZERS)))

run-fuzz_%: $(BUILD)/fuzz/fuzz_%
	@mkdir -p $(BUILD)/fuzz/new/$*
	$< $(fuzz_options) -artifact_prefix=$(BUILD)/fuzz/ $(BUILD)/fuzz/new/$* tests/fuzz/corpus/fuzz_$*

$(BUILD)/fuzz/fuzz_calls: tests/fuzz/fuzz_calls.c tests/fuzz/fuzz.h tests/fuzz/must.h tests/kqueue/kqueue.c $(HEADER)
	@mkdir -p $(@D)
	$(show)$(fuzzing) $(fuzz_calls_flags) -o $@ $< -pthread

$(BUILD)/fuzz/fuzz_%: tests/fuzz/fuzz_%.c tests/fuzz/fuzz.h tests/fuzz/must.h tests/implementation.c $(HEADER) $(TLS_HEADER)
	@mkdir -p $(@D)
	$(show)$(fuzzing) -o $@ $< tests/implementation.c -pthread $(BEARSSL)

# --- the rest -----------------------------------------------------------------------------------

promises:
	@test -d $(BUILD)/tap || $(MAKE) --no-print-directory test-gcc
	@perl tests/promises.pl $(HEADER) $(TLS_HEADER) $(BUILD)/tap

features:
	@test -d $(BUILD)/tap/gcc || $(MAKE) --no-print-directory test-gcc
	@test -d $(BUILD)/tap/scripts || $(MAKE) --no-print-directory test-scripts
	@perl tests/features.pl tests/features.tsv $(BUILD)/tap

bench:
	perl tests/bench/run.pl

bench-tls:
	@sh tests/bench/tls_certificates.sh $(BUILD)/bench/tls_certificates
	$(CC) -O2 -o $(BUILD)/bench/tls tests/bench/tls.c -lbearssl -lssl -lcrypto
	$(BUILD)/bench/tls $(BUILD)/bench/tls_certificates

SOURCES = $(HEADER) $(wildcard examples/*.c tests/*.[ch] tests/*/*.[ch])

# cppcheck cannot count the arguments in private.h; what looks inside the library does not compile
# for clang-tidy, from which private.h keeps the implementation.
INSIDE = $(shell grep -lE '(asocket|ASOCKET)__|selector->' tests/test_*.c)

lint:
	clang-format --dry-run -Werror $(SOURCES)
	cppcheck --quiet --error-exitcode=1 --std=c99 --language=c --inline-suppr \
		--enable=warning,portability,performance --suppress=missingIncludeSystem \
		--suppress=incorrectStringBooleanError --suppress=preprocessorErrorDirective:tests/private.h \
		-D__linux__ -D__x86_64__ -D__GNUC__=12 tests/implementation.c tests/test_*.c examples
	clang-tidy --quiet tests/implementation.c $(filter-out $(INSIDE),$(wildcard tests/test_*.c)) -- -std=c99
	@mkdir -p $(BUILD)
	-gcc -std=c99 -O1 -fanalyzer -c -o $(BUILD)/analyzed.o tests/implementation.c

coverage:
	@rm -f $(BUILD)/coverage/*.gcda
	-$(call build_and_run,$(call programs_of,coverage),)
	@gcov -b -o $(BUILD)/coverage/implementation.o tests/implementation.c | \
		sed -n "/asocket.h'/,/^$$/p"
	@mv *.gcov $(BUILD)/coverage/
	@echo 'line by line: $(BUILD)/coverage/asocket.h.gcov'

format:
	clang-format -i $(SOURCES)

clean:
	rm -rf $(BUILD) a.out

endif
