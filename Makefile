# What a person does with Luna. `make help` lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)
TEST_FLAGS ?=

.PHONY: help deps test-sdks build release run test test-unit test-long lint fmt bench fuzz soak deny clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

deps: ## bring cmake and a C compiler (apt-get when allowed), else say what to install
	@scripts/deps.sh

test-sdks: deps ## the official Python and Node SDKs that the conformance tests drive
	@tests/conformance/setup-python.sh
	@tests/conformance/setup-node.sh

build: deps ## debug build
	cargo build

release: deps ## the binary that you install: target/release/luna
	cargo build --release

run: deps ## the main job at work: gateway and simulated Antigravity, nothing to configure
	cargo run --release -- demo

lint: deps ## rustfmt and clippy, as CI wants them
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

fmt: ## format the code
	cargo fmt

ifeq ($(NEXTEST),yes)
RUN_TESTS = cargo nextest run --no-fail-fast
else
RUN_TESTS = cargo test --no-fail-fast
endif

test: deps test-sdks lint ## everything, with limits scaled down (the one test command)
	$(RUN_TESTS) $(TEST_FLAGS)

test-unit: deps ## only the tests beside the modules
	$(RUN_TESTS) --lib

test-long: deps test-sdks ## the figures of the issues as written, in release
	LUNA_TEST_LONG=1 $(RUN_TESTS) --release $(TEST_FLAGS)

bench: deps ## side by side with a bare pingora proxy; docs/performance.md
	benches/run.sh

fuzz: deps ## cargo-fuzz, ten minutes a target
	fuzz/run.sh 600

soak: ## a long run under load (comes with the reliability work)
	@echo "not available in this version"; exit 1

deny: ## licences, sources and duplicates of what is linked in
	@cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny
	cargo deny check licenses sources bans

clean: ## remove what was built
	cargo clean
