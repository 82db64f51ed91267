# `make demo` and `make test` are all that a fresh clone needs; both fetch what is missing first.
.PHONY: help setup python-env demo test check bench kernel-report gpu-bundle clean

help:
	@echo 'make demo   fetch what is missing, build, run the bundled network on the bundled scenes -> demo/index.html'
	@echo 'make test   fetch what is missing, run every test'
	@echo 'make python-env  a Python with PyTorch in .python, for the tests that run one'
	@echo 'make check  formatting, lints and documentation in every combination of features'
	@echo 'make bench  benchmarks of the CPU engine'
	@echo 'make kernel-report  registers, shared memory and loads of the GPU kernels; needs no GPU'
	@echo 'make gpu-bundle  what to carry to a machine with a GPU and without Rust -> target/gpu'

setup:
	@scripts/setup.sh

# For tests/python_torch.rs; they are skipped where no Python with PyTorch is found.
python-env: setup
	@scripts/python_env.sh

demo: setup
	cargo run --release --locked -- demo -o demo

# First without libtorch, where overflow is checked; then everything.
test: setup
	cargo test --locked --no-default-features --features files
	cargo test --release --locked

check: setup
	scripts/check.sh

bench: setup
	cargo bench --locked

kernel-report: setup
	@scripts/kernel_report.py

# What scripts/gpu_check.sh needs on a machine with a GPU and without Rust.
gpu-bundle: setup
	@scripts/gpu_bundle.sh

clean:
	cargo clean
	rm -rf demo
