# Everything a developer types. A variable may follow any of it, as in
# `make start PORT=9000 VAR=var-2`; conf/stack/stack says which there are.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS   += --no-print-directory
.DELETE_ON_ERROR:

ifneq ($(words $(CURDIR)),1)
$(error nginx cannot be built under a path with spaces: $(CURDIR))
endif

export PORT VAR WORKERS HOLD CAPACITY TTL SEATS TIMEOUT ZONE TLS HTTP3 SAN GATEWAY GATEWAY_PORT CARDS \
       BREAKER MONITOR_PORT PROOF ALERT_WEBHOOK TEST_PORT TEST_VERBOSE PG_BIN REDIS_SERVER \
       NGINX_SRC NGINX_BIN NGINX_CONF_FLAGS NGINX_MODULE

BUILD   := $(CURDIR)/build
JOBS    := $(shell nproc)
STACK   := conf/stack/stack
INSTALL := conf/stack/install

HEADERS := /usr/share/nginx/src
MODULE  := $(BUILD)/ngx_http_concert_module.so
STATIC  := $(BUILD)/static/nginx
SANITIZED := $(BUILD)/san/nginx
THREADED := $(BUILD)/tsan/nginx
WATCHED := $(BUILD)/valgrind/nginx
SOURCES := config $(wildcard *.c) \
           $(shell find src -name '*.[ch]' 2>/dev/null | LC_ALL=C sort)

# what `make build` makes, and the stack and the tests run
ifeq ($(SAN),1)
PROGRAM := $(SANITIZED)
else ifeq ($(SAN),thread)
PROGRAM := $(THREADED)
else ifeq ($(SAN),valgrind)
PROGRAM := $(WATCHED)
else ifdef NGINX_SRC
PROGRAM := other
else
PROGRAM := $(MODULE)
endif

# Debian's own flags, asked for when they are needed: on a bare machine
# dpkg-buildflags comes with `make deps`. unused-parameter: nginx's handlers
# have their type's parameters. WERROR=1, as the tests have it: a warning of the
# next compiler is no reason not to build.
WARNINGS := -Wall -Wextra $(if $(WERROR),-Werror) -Wno-unused-parameter
CC_OPT = $$(dpkg-buildflags --get CFLAGS) $$(dpkg-buildflags --get CPPFLAGS) \
         -fPIC $(WARNINGS)
LD_OPT = $$(dpkg-buildflags --get LDFLAGS) -Wl,-z,now -fPIC

# a static nginx: with what the service can meet in production, and no more
STATIC_FLAGS := --with-threads --with-compat --with-pcre-jit \
    --with-http_ssl_module --with-http_v2_module --with-http_realip_module \
    --with-http_stub_status_module --with-http_auth_request_module

# a checked one: and what else may stand beside a route
CHECKED_FLAGS := --with-debug --with-http_addition_module --with-http_dav_module \
    --with-http_flv_module --with-http_gunzip_module --with-http_gzip_static_module \
    --with-http_mp4_module --with-http_random_index_module \
    --with-http_secure_link_module --with-http_slice_module --with-http_sub_module

# nginx passes null pointers with no length, and on x86 reads and writes unaligned numbers
SAN_FLAGS := -O1 -g -fPIC -fno-omit-frame-pointer -fsanitize=address,undefined \
    -fno-sanitize-recover=undefined -fno-sanitize=nonnull-attribute \
    -DNGX_HAVE_NONALIGNED=0 -DNGX_HAVE_GCC_BSWAP64=0 -DNGX_DEBUG_PALLOC=1 $(WARNINGS)

# pools that ask for each piece of memory alone let memcheck see its end
WATCHED_FLAGS := -O1 -g -fPIC -fno-omit-frame-pointer -DNGX_DEBUG_PALLOC=1 \
    $(WARNINGS)

TSAN_FLAGS := $(WATCHED_FLAGS) -fsanitize=thread

comma := ,

.PHONY: help deps deps-test build build-static module nginx-static other nginx-matrix watched unit \
        fuzz fuzz-conf fuzz-targets run start stop status monitor monitor-stop migrate demo reset psql test loadtest \
        report faults soak http3 bench bench-peers draw deb deb-check platforms clean distclean FORCE

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24
	@echo
	@$(STACK) help | sed -n '/^settings/,$$p'


# --- building --------------------------------------------------------------

build: deps ## the module, build/ngx_http_concert_module.so (SAN=1: build/san/nginx)
	@$(MAKE) $(PROGRAM)

build-static: deps ## an nginx with the module inside, build/static/nginx
	@$(MAKE) $(STATIC)

deps:
	@$(INSTALL) run

deps-test:
	@$(INSTALL) test


# What makes it necessary to configure again. `config` builds the Lua scripts
# and the operators' page in; the time stamp of build/inputs changes when a file
# is added or removed, nginx is another, or what has been built without WERROR
# has to be built with it.
CONFIG := config Makefile $(wildcard conf/queue/*.lua src/ops/*) $(BUILD)/inputs

$(BUILD)/inputs: FORCE
	@mkdir -p $(@D)
	@{ printf '%s\n' $(SOURCES); dpkg-query -W nginx-dev; \
	   [[ -z "$(WERROR)" ]] && ! grep -sx WERROR $@ || echo WERROR; } >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

$(BUILD)/nginx/objs/Makefile: $(CONFIG)
	@echo "configuring the module for $$(/usr/sbin/nginx -v 2>&1 | cut -d: -f2)"
	@rm -rf $(BUILD)/nginx && cp -r $(HEADERS) $(BUILD)/nginx
	@cd $(BUILD)/nginx && . ./conf_flags && \
	{ ./configure "$${NGX_CONF_FLAGS[@]}" --add-dynamic-module=$(CURDIR) \
	      --with-cc-opt="$(CC_OPT)" --with-ld-opt="$(LD_OPT)" \
	      >configure.log 2>&1 || { tail -n 20 configure.log >&2; exit 1; }; }

# objs/Makefile knows the headers that `config` lists; this knows them all
$(MODULE): $(BUILD)/nginx/objs/Makefile $(SOURCES)
	@echo "building $(notdir $@)"
	$(if $(filter %.h,$?),@rm -f $(BUILD)/nginx/objs/addon/*/*.o)
	@$(MAKE) -C $(BUILD)/nginx -f objs/Makefile -j$(JOBS) -s modules
	@cp $(BUILD)/nginx/objs/$(@F) $@.new && mv $@.new $@


# Another nginx than Debian's, out of the source in NGINX_SRC. What runs one
# (start, test ...) runs NGINX_BIN, or else one that is built from that source.
OTHER := conf/stack/other-nginx

ifdef NGINX_SRC
OTHER_NAME   := $(or $(shell NGINX_SRC='$(NGINX_SRC)' $(OTHER) name),$(error wrong NGINX_SRC))
OTHER_NGINX  := $(BUILD)/for/$(OTHER_NAME)/plain/nginx
NGINX_MODULE := $(BUILD)/for/$(OTHER_NAME)/$(notdir $(MODULE))
ifeq (,$(filter module nginx-static,$(MAKECMDGOALS)))
NGINX_BIN    := $(or $(NGINX_BIN),$(OTHER_NGINX))
endif
endif

module: ## the module for another nginx: NGINX_SRC=directory NGINX_BIN=nginx
	@$(OTHER) module

nginx-static: ## another nginx with the module inside, out of NGINX_SRC
	@$(OTHER) static

other:
	$(if $(filter $(OTHER_NGINX),$(NGINX_BIN)),@$(OTHER) plain)
	@$(OTHER) module

nginx-matrix: deps deps-test ## the main tests with each nginx of NGINX_SRCS="directory ..."
	@conf/stack/nginx-matrix $(NGINX_SRCS)


$(BUILD)/nginx-source/configure:
	@mkdir -p $(BUILD)
	@conf/stack/nginx-source $(BUILD)/nginx-source

# assemble DIRECTORY, C flags, linker flags, configure flags
define assemble
	@echo "configuring a static nginx in build/$(notdir $(1))"
	@rm -rf $(1)/source && mkdir -p $(1)
	@cp -r $(BUILD)/nginx-source $(1)/source
	@cd $(1)/source && . $(HEADERS)/conf_flags && \
	{ ./configure $$(printf '%s\n' "$${NGX_CONF_FLAGS[@]}" | grep -e -path= -e --prefix= -e http_v3) \
	      $(STATIC_FLAGS) $(4) --add-module=$(CURDIR) \
	      --with-cc-opt="$(2)" --with-ld-opt="$(3)" \
	      >configure.log 2>&1 || { tail -n 20 configure.log >&2; exit 1; }; }
endef

# compile TARGET
define compile
	@echo "building $(patsubst $(CURDIR)/%,%,$(1))"
	$(if $(filter %.h,$?),@rm -f $(dir $(1))source/objs/addon/*/*.o)
	@$(MAKE) -C $(dir $(1))source -f objs/Makefile -j$(JOBS) -s binary
	@cp $(dir $(1))source/objs/nginx $(1).new && mv $(1).new $(1)
endef

$(BUILD)/static/source/objs/Makefile: $(CONFIG) $(BUILD)/nginx-source/configure
	$(call assemble,$(BUILD)/static,$(CC_OPT),$(LD_OPT),)

$(BUILD)/san/source/objs/Makefile: $(CONFIG) $(BUILD)/nginx-source/configure
	$(call assemble,$(BUILD)/san,$(SAN_FLAGS),-fsanitize=address$(comma)undefined,$(CHECKED_FLAGS))

$(BUILD)/tsan/source/objs/Makefile: $(CONFIG) $(BUILD)/nginx-source/configure \
                                    conf/stack/atomics.sed
	$(call assemble,$(BUILD)/tsan,$(TSAN_FLAGS),-fsanitize=thread,$(CHECKED_FLAGS))
	@sed -i -f conf/stack/atomics.sed $(addprefix $(BUILD)/tsan/source/src/,\
	    os/unix/ngx_atomic.h core/ngx_thread_pool.c)

$(BUILD)/valgrind/source/objs/Makefile: $(CONFIG) $(BUILD)/nginx-source/configure
	$(call assemble,$(BUILD)/valgrind,$(WATCHED_FLAGS),,$(CHECKED_FLAGS))

# For a part of the tests; not where nginx's source cannot be had.
watched:
	@[[ -e $(BUILD)/nginx-source/configure ]] \
	    || conf/stack/nginx-source $(BUILD)/nginx-source || (( $$? == 3 ))
	@[[ ! -e $(BUILD)/nginx-source/configure ]] \
	    || $(MAKE) $(THREADED) $(WATCHED)

$(STATIC): $(BUILD)/static/source/objs/Makefile $(SOURCES)
	$(call compile,$@)

$(SANITIZED): $(BUILD)/san/source/objs/Makefile $(SOURCES)
	$(call compile,$@)

$(THREADED): $(BUILD)/tsan/source/objs/Makefile $(SOURCES)
	$(call compile,$@)

$(WATCHED): $(BUILD)/valgrind/source/objs/Makefile $(SOURCES)
	$(call compile,$@)


# --- running ---------------------------------------------------------------

run: build ## start everything on PORT, say what to try, stop on Ctrl-C
	@$(STACK) run

start: build ## the same in the background; returns when it is ready
	@$(STACK) start

stop: ## stop what `start` started
	@$(STACK) stop

# beside a stack without a gateway its drills and its alerts could not run
monitor: export GATEWAY := $(or $(GATEWAY),1)
monitor: build ## Prometheus, Alertmanager and InfluxDB beside it, for Grafana
	@$(INSTALL) monitor
	@$(STACK) monitor

monitor-stop: ## stop these
	@$(STACK) monitor-stop

status: ## what runs
	@$(STACK) status

migrate: ## bring the schema up to date
	@$(STACK) migrate

demo: ## load the demo data, unless there is a database already
	@$(STACK) demo

reset: ## put the demo data back as it was, and empty the queue
	@$(STACK) reset

psql: ## open psql on the database
	@$(STACK) psql


# --- testing ---------------------------------------------------------------

# A unit test is one program with what it tests included in it (t/unit/*.c).
UNIT  := $(patsubst t/unit/%.c,$(BUILD)/unit/%,$(wildcard t/unit/*.c))
PLAIN := $(patsubst t/unit/%.c,$(BUILD)/plain/%,$(wildcard t/unit/*.c))

unit: $(UNIT) $(PLAIN)
	@:

$(BUILD)/plain/%: t/unit/%.c
	@mkdir -p $(BUILD)/plain $(BUILD)/plain-deps
	@echo "building $(patsubst $(CURDIR)/%,%,$@)"
	@$(CC) -std=gnu11 -O1 -g $(WARNINGS) \
	    -Isrc/core -Isrc/shared -Isrc -MMD -MF $(BUILD)/plain-deps/$*.d \
	    -o $@ $< -lcmocka -ljansson -lm -lpthread

$(BUILD)/unit/%: t/unit/%.c
	@mkdir -p $(BUILD)/unit $(BUILD)/unit-deps
	@echo "building $(patsubst $(CURDIR)/%,%,$@)"
	@$(CC) -std=gnu11 -O1 -g $(WARNINGS) -fsanitize=address,undefined \
	    -fno-sanitize-recover=undefined -fno-omit-frame-pointer \
	    -Isrc/core -Isrc/shared -Isrc -MMD -MF $(BUILD)/unit-deps/$*.d \
	    -o $@ $< -lcmocka -ljansson -lm -lpthread

-include $(wildcard $(BUILD)/unit-deps/*.d $(BUILD)/plain-deps/*.d)

# A fuzz target is the same for libFuzzer, which is a part of clang (t/fuzz/*.c).
FUZZ  := $(patsubst t/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard t/fuzz/*.c))
CLANG = $(shell conf/stack/clang)

fuzz-targets: $(FUZZ)
	@:

$(BUILD)/fuzz/%: t/fuzz/%.c
	@mkdir -p $(BUILD)/fuzz $(BUILD)/fuzz-deps
	@echo "building $(patsubst $(CURDIR)/%,%,$@)"
	@$(CLANG) -std=gnu11 -O1 -g $(WARNINGS) \
	    -fsanitize=fuzzer,address,undefined \
	    -fno-sanitize-recover=undefined -fno-omit-frame-pointer \
	    -Isrc -MMD -MF $(BUILD)/fuzz-deps/$*.d -o $@ $< -ljansson -ljwt -lcrypto

-include $(wildcard $(BUILD)/fuzz-deps/*.d)

fuzz: deps deps-test ## the parsers with made-up input; SECONDS=20 for each
	@$(MAKE) fuzz-targets
	@SECONDS_EACH=$(or $(SECONDS),20) perl t/fuzz.t

fuzz-conf: export COUNT := $(or $(COUNT),10000)
fuzz-conf: ## random directives beside routes, under AddressSanitizer; COUNT=10000, SEED=, FIRST=
	@$(MAKE) test SAN=1 TESTS=t/fuzz-conf.t

test: deps deps-test ## all tests; TESTS=t/x.t: only these; SAN=1, thread, valgrind; t/README.md
	@$(MAKE) WERROR=1 $(PROGRAM) unit fuzz-targets
	@loadtest/h3/build
	$(if $(SAN)$(TESTS),,@$(MAKE) WERROR=1 watched)
	@CMOCKA_MESSAGE_OUTPUT=TAP conf/stack/suite $(TESTS)

# the drills of the gateway need one
loadtest: export GATEWAY := $(if $(filter all drills drill-gateway,$(TEST) $(ARGS)),1,$(GATEWAY))
loadtest: build ## k6 on the demo data, with the proof in SQL; TEST=all, capacity, spike, drills ...
	@$(INSTALL) loadtest
	@K6=$(BUILD)/bin/k6 $(STACK) exec loadtest/run $(TEST) $(ARGS)

report: ## what the last load tests found, loadtest/results/report.md and .html
	@$(INSTALL) loadtest
	@loadtest/report

faults: build ## breaks PostgreSQL, Redis and nginx under traffic; ROUNDS=1
	@$(INSTALL) loadtest
	@K6=$(BUILD)/bin/k6 loadtest/faults $(ARGS)

soak: build ## traffic of every kind, and what the workers hold; MINUTES=20
	@$(INSTALL) loadtest
	@K6=$(BUILD)/bin/k6 loadtest/soak $(ARGS)

# with the nginx that has it: Debian's from 13 on, or NGINX_SRC and NGINX_BIN
http3: export TLS := 1
http3: export HTTP3 := 1
http3: build ## whole ways of buyers over HTTP/3, with the proof in SQL; FLOWS=10000
	@$(INSTALL) test
	@loadtest/h3/build
	@FLOWS=$(FLOWS) loadtest/http3

bench: build ## routes against what the servers themselves can; AGAINST=rev: against a revision
	@$(INSTALL) test
	@loadtest/h3/build
	@loadtest/bench $(if $(AGAINST),against $(AGAINST)) $(ARGS)

bench-peers: build ## routes beside services in Go and Rust (loadtest/peers), which need both
	@$(INSTALL) test
	@loadtest/bench peers $(ARGS)

draw: build ## a draw of a million users, what Redis does and whether it is right; USERS=1000000
	@$(INSTALL) test
	@loadtest/draw

platforms: ## `run` and `test` in fresh roots of SUITES="bookworm trixie sid", as root
	@$(INSTALL) platforms
	@conf/stack/platforms $(or $(SUITES),bookworm trixie sid)


# --- packaging -------------------------------------------------------------

deb: ## Debian's package of it, build/deb/*.deb, looked at by lintian
	@$(INSTALL) deb
	@conf/stack/deb build

deb-check: ## builds, installs, uses and purges it in a fresh SUITE=trixie, as root
	@$(INSTALL) deb
	@conf/stack/deb check $(SUITE)


# --- cleaning --------------------------------------------------------------

clean: ## remove what was built and the tests' stack (k6 is kept)
	@VAR=build/test-var $(STACK) remove
	@VAR=build/test-faults-var $(STACK) remove
	@VAR=build/test-monitor-var $(STACK) remove
	@find build -mindepth 1 -maxdepth 1 ! -name bin -exec rm -rf {} + 2>/dev/null || :

distclean: ## remove everything, the stack in VAR too
	@$(STACK) remove
	@VAR=build/test-var $(STACK) remove
	@VAR=build/test-faults-var $(STACK) remove
	@VAR=build/test-monitor-var $(STACK) remove
	@rm -rf build
