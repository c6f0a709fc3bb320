# `make demo` and `make test` are each the only command a fresh checkout needs.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STUBS := fastpath.engine fastpath.footprint fastpath.memory_feed fastpath.rate.controller fastpath.siphash fastpath.wire lab.realtime.voice lab.virtual.draws lab.virtual.encoder lab.virtual.mutant_feed lab.virtual.path lab.virtual.pyramid lab.virtual.world rtp.payload.av1 rtp.payload.codec rtp.payload.dependency rtp.payload.fragment rtp.payload.h264 rtp.payload.h265 rtp.payload.opus rtp.payload.rtp_header rtp.payload.vp8 rtp.payload.vp9 rtp.rtcp.transport_cc rtp.rtcp.walk
NATIVE := $(shell find rtp fastpath lab bench/native -name '*.pyx' -o -name '*.pxd' -o -name '*.h' -o -path 'bench/*.c')
BENCHES := $(filter-out bench/__init__.py bench/soak.py,$(wildcard bench/*.py))

.PHONY: demo test test-clients lint bench soak differential fuzz sanitize mutants tsan coverage build clean check-host

demo: build
	$(BIN)/overlane demo

test: build
	$(BIN)/python -m pytest

# Debian's ffmpeg and GStreamer over three nodes; they are installed if they are missing.
test-clients: build
	tests/clients/install.sh
	$(BIN)/python -m pytest tests/clients

lint: build
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest $(STUBS) --allowlist stubtest-allowlist.txt --mypy-config-file pyproject.toml

bench: build
	@set -e; for script in $(BENCHES); do echo "== $$script" >&2; $(BIN)/python $$script; done

# Half an hour of broadcasts and viewers that come and go: does memory stay where it was?
soak: build
	$(BIN)/python bench/soak.py

# The native engine against its plain-Python twin on new random traffic, on all cores.
differential: build
	$(BIN)/python -m tests.fastpath.differential --seconds $(SECONDS)

# Builds of their own, so that the ordinary extensions stay as they are.
VARIANT = $(BIN)/python -W ignore setup.py --quiet build --build-base $(1) --build-lib $(1)/lib --parallel $$(nproc)
ON_VARIANT = PYTHONSAFEPATH=1 PYTHONPATH=$(1)/lib:$(CURDIR)
SANITIZED = LD_PRELOAD="$$($${CC:-cc} -print-file-name=libasan.so) $$($${CC:-cc} -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
NATIVE_TESTS := tests/fastpath tests/lab/virtual tests/rtp tests/fuzz

# SECONDS (also of `differential`) for each target, all of them or TARGET; FUZZ takes more options of tests/fuzz/__main__.py.
SECONDS ?= 60
fuzz: build
	OVERLANE_DEBUG=1 OVERLANE_COVERAGE=edges $(call VARIANT,build/fuzz)
	$${CC:-cc} -O2 -Wall -Wextra -shared -fPIC -o build/fuzz/edge_map.so tests/fuzz/edge_map.c
	$(BIN)/python -m tests.fuzz $(TARGET) --seconds $(SECONDS) $(FUZZ)

# The native tests with the address and undefined-behaviour sanitizers: a report ends the run.
# Two tests that only annotate the sources again are left out.
sanitize: build
	OVERLANE_DEBUG=1 $(call VARIANT,build/sanitize)
	$(call ON_VARIANT,$(CURDIR)/build/sanitize) $(SANITIZED) $(BIN)/python -m pytest -o pythonpath= -k 'not annotation and not generated_c' $(NATIVE_TESTS)

# The same build, fed mutated packets natively; then valid ones must pass and memory be free.
PACKETS ?= 10000000
mutants: build
	OVERLANE_DEBUG=1 $(call VARIANT,build/sanitize)
	$(call ON_VARIANT,$(CURDIR)/build/sanitize) $(SANITIZED) $(BIN)/python -m tests.fuzz.mutants --packets $(PACKETS)

# Mailboxes and counters from several threads, with the thread sanitizer: a report ends with status 66.
tsan: build
	OVERLANE_TSAN=1 $(call VARIANT,build/tsan)
	$(call ON_VARIANT,$(CURDIR)/build/tsan) LD_PRELOAD="$$($${CC:-cc} -print-file-name=libtsan.so)" TSAN_OPTIONS="suppressions=$(CURDIR)/tests/fastpath/tsan.supp" \
	$(BIN)/python -m tests.fastpath.hammer --seconds $(SECONDS)

# Lines of the native code that the tests reach. COVER: which tests.
COVER ?= tests
coverage: build
	OVERLANE_COVERAGE=lines $(call VARIANT,build/coverage)
	find build/coverage -name '*.gcda' -delete
	$(call ON_VARIANT,$(CURDIR)/build/coverage) $(BIN)/python -m pytest -o pythonpath= $(COVER); status=$$?; \
	$(BIN)/python -m tests.fuzz.line_coverage build/coverage && exit $$status

build: $(VENV)/.built

# Each tool the build needs, named with the Debian package that brings it.
check-host:
	@command -v $(PYTHON) >/dev/null || { echo "overlane: $(PYTHON) is missing: apt-get install python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "overlane: the venv module of $(PYTHON) is missing: apt-get install python3.11-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import os, sysconfig, sys; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || { echo "overlane: the headers of $(PYTHON) are missing: apt-get install python3.11-dev" >&2; exit 1; }
	@command -v $${CC:-cc} >/dev/null || { echo "overlane: a C compiler is missing: apt-get install gcc libc6-dev" >&2; exit 1; }
	@echo '#include <stdlib.h>' | $${CC:-cc} -E - >/dev/null 2>&1 || { echo "overlane: the C library's headers are missing: apt-get install libc6-dev" >&2; exit 1; }
	@command -v git >/dev/null || { echo "overlane: git is missing: apt-get install git" >&2; exit 1; }

$(VENV)/.installed: pyproject.toml constraints.txt | check-host
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt 'setuptools>=77' wheel cython cffi
	touch $@

$(VENV)/.built: $(VENV)/.installed setup.py $(NATIVE)
	$(BIN)/python setup.py --quiet build_ext --inplace --parallel $$(nproc)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find rtp fastpath lab -name '*.so' -delete -o -name '*.c' -delete
	find bench -name '*.so' -delete
