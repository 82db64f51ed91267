# `make demo` and `make test` are all that a fresh clone needs; both fetch what is missing first.
.PHONY: help setup python-env bench-env demo test check check-aarch64 bench bench-peers kernel-report gpu-bundle clean header \
	c-library install uninstall

help:
	@echo 'make demo   fetch what is missing, build, run the bundled network on the bundled scenes -> demo/index.html'
	@echo 'make test   fetch what is missing, run every test'
	@echo 'make python-env  a Python with PyTorch in .python, for the tests that run one'
	@echo 'make check  formatting, lints and documentation in every combination of features'
	@echo 'make check-aarch64  the CPU engine compiled for aarch64, and its tests on an emulator'
	@echo 'make bench  benchmarks of the CPU engine'
	@echo 'make bench-env    a Python with PyTorch, NumPy and OpenCV in .python, for sml bench --peers'
	@echo 'make bench-peers  what runs in Python today beside the engine -> benches/results/ and README.md'
	@echo 'make install  the C interface: shared and static library, header, pkg-config file, to PREFIX=/usr/local'
	@echo 'make uninstall  takes them away again'
	@echo 'make c-library  builds the libraries only -> target/release/libsml.so, libsml.a'
	@echo 'make header  include/sml.h out of src/c_interface'
	@echo 'make kernel-report  registers, shared memory and loads of the GPU kernels; needs no GPU'
	@echo 'make gpu-bundle  what to carry to a machine with a GPU and without Rust -> target/gpu'

setup:
	@scripts/setup.sh

# For tests/python_torch.rs; they are skipped where no Python with PyTorch is found.
python-env: setup
	@scripts/python_env.sh

demo: setup
	cargo run --release --locked -- demo -o demo

# First without libtorch, where overflow is checked; then everything. Benchmarks run for a moment on tiny frames.
test: setup
	cargo test --locked --no-default-features --features files,c-interface
	SML_BENCH_SMOKE=1 cargo test --locked --no-default-features --features files,c-interface --benches
	cargo test --release --locked
	SML_BENCH_SMOKE=1 cargo test --release --locked --bench gpu_latency --bench gpu_stages --bench launch_overhead

check: setup
	scripts/check.sh

check-aarch64:
	@scripts/aarch64.sh

bench: setup
	cargo bench --locked

bench-env: setup
	@scripts/bench_env.sh

# About four minutes; nothing else should run meanwhile.
bench-peers: bench-env
	cargo build --release --locked
	SML_PYTHON=$(CURDIR)/.python/bin/python target/release/sml bench --peers --pin-threads --json > target/bench-peers.json
	scripts/results_table.py keep target/bench-peers.json
	scripts/results_table.py write
	@scripts/results_table.py print target/bench-peers.json

kernel-report: setup
	@scripts/kernel_report.py

# What scripts/gpu_check.sh needs on a machine with a GPU and without Rust.
gpu-bundle: setup
	@scripts/gpu_bundle.sh

# The C interface. It needs neither libtorch nor `make setup`; C_FEATURES=c-interface leaves CUDA out too.
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
PKGCONFIGDIR ?= $(LIBDIR)/pkgconfig
C_FEATURES ?= c-interface,cuda
BUILT := $(or $(CARGO_TARGET_DIR),target)/release
VERSION := $(shell sed -n 's/^version = "\(.*\)"$$/\1/p' Cargo.toml | head -n 1)
# Before 1.0 a minor release may change the interface: it is part of the name that programs ask the loader for.
SONAME := libsml.so.$(shell echo $(VERSION) | sed -E 's/^(0\.[0-9]+|[0-9]+).*/\1/')

header:
	SML_UPDATE_HEADER=1 cargo test --locked --no-default-features --features c-interface --test c_interface header::

# Never unloaded (`nodelete`): its threads outlive whoever loaded it.
c-library:
	cargo rustc --release --locked --lib --crate-type cdylib,staticlib --no-default-features \
		--features $(C_FEATURES) -- -C link-arg=-Wl,-soname,$(SONAME),-z,nodelete

# Builds first where there is a cargo: root often has none, and installs what `make c-library` has built.
install:
	@if command -v cargo > /dev/null; then $(MAKE) --no-print-directory c-library; fi
	@test -f $(BUILT)/libsml.so || { echo 'there is no library yet: run make c-library' >&2; exit 1; }
	install -d '$(DESTDIR)$(LIBDIR)' '$(DESTDIR)$(INCLUDEDIR)' '$(DESTDIR)$(PKGCONFIGDIR)'
	install -m 755 $(BUILT)/libsml.so '$(DESTDIR)$(LIBDIR)/libsml.so.$(VERSION)'
	ln -sf libsml.so.$(VERSION) '$(DESTDIR)$(LIBDIR)/$(SONAME)'
	ln -sf $(SONAME) '$(DESTDIR)$(LIBDIR)/libsml.so'
	install -m 644 $(BUILT)/libsml.a '$(DESTDIR)$(LIBDIR)/libsml.a'
	install -m 644 include/sml.h '$(DESTDIR)$(INCLUDEDIR)/sml.h'
	sed -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' -e 's|@VERSION@|$(VERSION)|' \
		include/sml.pc.in > '$(DESTDIR)$(PKGCONFIGDIR)/sml.pc'
	@if test -z '$(DESTDIR)'; then ldconfig 2> /dev/null || true; fi

uninstall:
	rm -f '$(DESTDIR)$(LIBDIR)/libsml.so' '$(DESTDIR)$(LIBDIR)/$(SONAME)' '$(DESTDIR)$(LIBDIR)/libsml.so.$(VERSION)' \
		'$(DESTDIR)$(LIBDIR)/libsml.a' '$(DESTDIR)$(INCLUDEDIR)/sml.h' '$(DESTDIR)$(PKGCONFIGDIR)/sml.pc'

clean:
	cargo clean
	rm -rf demo
