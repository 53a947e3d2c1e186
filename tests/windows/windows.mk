# Windows: every tests/test_*.c that says something there, built by mingw-w64 and run under Wine over
# both backends, all in one process (suite.c), with Wine made as strict as Windows (strict.h). What
# only Windows has is in tests/windows/test_*.c; windows.t plants faults that the strictness must
# catch. One alone: `make build/wine/test_x`, or `wine build/wine/suite iocp test_x`.

setup-wine:
	@sh tests/setup.sh gcc-mingw-w64-x86-64 g++-mingw-w64-x86-64 gcc-mingw-w64-i686 wine wine64
	@sh tests/windows/bearssl.sh $(BUILD)/wine/bearssl $(WINE) || \
		echo '# BearSSL for Windows could not be had: see $(BUILD)/wine/bearssl/log'

WINE = x86_64-w64-mingw32-gcc
wine = $(WINE) -std=gnu99 -O1 -g -D__USE_MINGW_ANSI_STDIO=1 -DTAP_SECONDS=180 -isystem tests/windows
export WINEPREFIX := $(abspath $(BUILD)/wine/prefix)
export WINEDEBUG := -all

# What has nothing to say there, and why.
define WINE_WITHOUT
test_passing: Unix sockets carry bytes only there; see windows_unix
test_accept_errors: it stands in for accept4, which is Linux's
test_close_errors: it stands in for epoll
test_kqueue: there is no kqueue
test_inherited: it stands in for Linux' calls
test_clock: it stands in for clock_gettime
test_races: so does it
test_guards: there is no mprotect
test_flows: joining and cutting datagrams is Linux's
test_stacks: its overflows need fork; see windows_ports
$(if $(wildcard $(WINE_BEARSSL)),tls_trust: the system's roots are files there,TLS: BearSSL for Windows is missing: make setup-wine)
tls_scarcity: its seam knows POSIX only
tls_broken: it breaks POSIX's calls
tls_verified: its servers are processes
endef
export WINE_WITHOUT

wine_without := $(filter test_%,$(subst :,,$(WINE_WITHOUT)))
wine_programs := $(filter-out $(wine_without),$(TESTS)) \
	$(patsubst tests/windows/test_%.c,windows_%,$(wildcard tests/windows/test_*.c))
WINE_BEARSSL = $(BUILD)/wine/bearssl/libbearssl.a
wine_tls = tls_pump tls_handshake tls_attacks tls_hostile tls_chains tls_windows_roots
wine_programs += $(if $(wildcard $(WINE_BEARSSL)),$(wine_tls))
wine_why_not := $(shell command -v $(WINE) >/dev/null || echo $(WINE) is missing: make setup-wine; \
	command -v wine >/dev/null || echo wine is missing: make setup-wine)

# What `make test` runs of it, where there is Wine.
quick_wine = $(if $(wine_why_not),,$(BUILD)/wine/test_coroutines)
skipped_wine = $(if $(wine_why_not),'--skipped=wine: $(wine_why_not)')

test-wine:
	@if [ -n "$(wine_why_not)" ]; then echo 'skipped: wine: $(wine_why_not)'; else \
		$(MAKE) --no-print-directory -k -j$(JOBS) --output-sync $(BUILD)/wine/suite \
			$(BUILD)/wine/exceptions || echo '# not everything was built'; \
		echo "$$WINE_WITHOUT" | sed 's/^/--skipped=/' >$(BUILD)/wine/without; \
		xargs -d '\n' -a $(BUILD)/wine/without $(RUN) --total=$(BUILD)/wine.total \
			--script=tests/windows/windows.t $(BUILD)/wine/suite $(BUILD)/wine/exceptions; fi

# Wine's own files: made once, 700 MB, 5 s.
$(BUILD)/wine/prefix/ready:
	@mkdir -p $(@D)
	timeout 120 wine cmd /c ver >/dev/null 2>&1 && touch $@

WINE_LINK = $(BUILD)/wine/implementation.o $(BUILD)/wine/strict.o -lws2_32 -static -lpthread
WINE_HEADERS = $(wildcard tests/*.h tests/windows/*.h tests/windows/*/*.h)

$(BUILD)/wine/implementation.o: tests/implementation.c $(HEADER) $(wildcard tests/windows/*.h)
	@mkdir -p $(@D)
	$(show)$(wine) $(STRICT) -c -o $@ $<

$(BUILD)/wine/strict.o: tests/windows/strict.c tests/windows/strict.h
	@mkdir -p $(@D)
	$(show)$(wine) -Wall -Wextra -Werror -c -o $@ $<

$(BUILD)/wine/test_%: tests/test_%.c $(BUILD)/wine/implementation.o $(BUILD)/wine/strict.o $(WINE_HEADERS) \
		| $(BUILD)/wine/prefix/ready
	@rm -f $@
	$(show)$(wine) -Wall -Wextra -Wno-format -o $@.exe $< $(WINE_LINK)
	@mv $@.exe $@

$(BUILD)/wine/windows_%: tests/windows/test_%.c $(BUILD)/wine/implementation.o $(BUILD)/wine/strict.o $(WINE_HEADERS)
	@rm -f $@
	$(show)$(wine) -Wall -Wextra -Wno-format -Itests -o $@.exe $< $(WINE_LINK)
	@mv $@.exe $@

# TLS, with BearSSL from Debian's source package, which setup-wine builds.
$(BUILD)/wine/tls_%: tests/tls/test_%.c $(BUILD)/wine/implementation.o $(BUILD)/wine/strict.o \
		$(TLS_HEADER) $(WINE_HEADERS) $(wildcard tests/tls/*.h) $(WINE_BEARSSL) | $(BUILD)/tls/made
	@rm -f $@
	$(show)$(wine) -I$(BUILD)/wine/bearssl/include -Wall -Wextra -Wno-format -o $@.exe $< \
		$(BUILD)/wine/implementation.o $(BUILD)/wine/strict.o $(WINE_BEARSSL) \
		-lbcrypt -lcrypt32 -lws2_32 -static -lpthread
	@mv $@.exe $@

# The suite: all of them in one process (suite.c). Of what is linked in, only `main` is a name that
# others see, and it has another one for each backend.
suite = $(BUILD)/wine/suite.d
suite_objects = $(foreach p,$(wine_programs),$(addprefix $(suite)/,\
	$(addsuffix _$(p).o,$(if $(filter $(p),$(PURE)),iocp,iocp poll))))
suite_objcopy = $(WINE:%gcc=%objcopy) --wildcard -G 'iocp_*' -G 'poll_*' -G '.refptr.*'
suite_compile = $(show)$(wine) -DTAP_SUITE -Dmain=suite_main -Wall -Wextra -Wno-format -c -o $@ $<

$(suite)/test_%.o: tests/test_%.c $(HEADER) $(WINE_HEADERS)
	@mkdir -p $(@D)
	$(suite_compile)

$(suite)/windows_%.o: tests/windows/test_%.c $(HEADER) $(WINE_HEADERS)
	@mkdir -p $(@D)
	$(suite_compile) -Itests

$(suite)/tls_%.o: tests/tls/test_%.c $(HEADER) $(TLS_HEADER) $(WINE_HEADERS) $(wildcard tests/tls/*.h) \
		| $(BUILD)/tls/made
	@mkdir -p $(@D)
	$(suite_compile) -I$(BUILD)/wine/bearssl/include

$(suite)/iocp_%.o: $(suite)/%.o
	@$(suite_objcopy) --redefine-sym suite_main=iocp_$* $< $@

$(suite)/poll_%.o: $(suite)/%.o
	@$(suite_objcopy) --redefine-sym suite_main=poll_$* $< $@

# Written anew when it changes: programs come and go, those of TLS with BearSSL.
$(suite)/programs.h: always
	@mkdir -p $(@D)
	@for p in $(foreach b,iocp poll,$(patsubst $(suite)/$(b)_%.o,'$(b)$(comma)%',\
		$(filter $(suite)/$(b)_%,$(suite_objects)))); do echo "PROGRAM($$p)"; done >$@.new
	@cmp -s $@.new $@ || mv $@.new $@

$(BUILD)/wine/suite: tests/windows/suite.c $(suite)/programs.h $(suite_objects) \
		$(BUILD)/wine/implementation.o $(BUILD)/wine/strict.o $(WINE_HEADERS) | $(BUILD)/wine/prefix/ready
	@rm -f $@
	$(show)$(wine) -Wall -Wextra -Werror -I$(suite) -o $@.exe $< $(suite_objects) \
		$(BUILD)/wine/implementation.o $(BUILD)/wine/strict.o \
		$(if $(wildcard $(WINE_BEARSSL)),$(WINE_BEARSSL) -lbcrypt -lcrypt32) -lws2_32 -static -lpthread
	@mv $@.exe $@

comma = ,
.SECONDARY: $(suite_objects) $(wine_programs:%=$(suite)/%.o)

$(BUILD)/wine/exceptions: tests/exceptions.cc tests/implementation.c $(BUILD)/wine/strict.o $(HEADER) $(WINE_HEADERS)
	@mkdir -p $(@D)
	@rm -f $@
	$(show)$(patsubst %-gcc,%-g++,$(WINE)) -std=gnu++11 -O1 -g -D__USE_MINGW_ANSI_STDIO=1 \
		-isystem tests/windows -o $@.exe $< -x c++ tests/implementation.c -x none \
		$(BUILD)/wine/strict.o -lws2_32 -static -lpthread
	@mv $@.exe $@

.PHONY: test-wine setup-wine always
always:
