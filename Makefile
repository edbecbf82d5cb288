# The short way to everything. Each target sets up what it needs first; a second
# setup finds nothing to do and says nothing.
SHELL := /bin/bash
LISTEN ?= 127.0.0.1:8080
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help setup build run test bench bench-db bench-durable bench-vm fmt lint

help: ## Show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-8s %s\n", $$1, $$2 }'

setup: ## Install what is missing on this machine (apt-get; root or sudo)
	@scripts/setup.sh

build: setup ## Build the release binary, target/release/forebay
	@cargo build --release --locked -p forebay-ctl

run: build ## Serve the example shop; LISTEN=127.0.0.1:8080
	@exec "$(TARGET_DIR)/release/forebay" dev examples/shop --listen "$(LISTEN)"

test: setup ## Run every test
	@scripts/test.sh

bench: ## Print the benchmark figures, paired with their peers
	@scripts/setup.sh bench
	@cargo build --release --locked -p forebay-ctl -p forebay-bench
	@cargo build --release --locked -p forebay-ring --example floor -p forebay-kv --example kv_bench
	@exec "$(TARGET_DIR)/release/forebay-bench" --bin "$(TARGET_DIR)/release"

bench-db: ## Print what a database endpoint costs beside axum, may and fastify; ROUNDS=5, MAY_POSTGRES=FOLDER
	@scripts/setup.sh bench-db
	@cargo build --release --locked -p forebay-ctl -p forebay-bench
	@cd benches/peers-http && cargo build --release --locked --target-dir target
	@cd benches/peers-http/fastify && npm ci --silent
	@[[ -z "$(MAY_POSTGRES)" ]] || benches/peers-http/may/build.sh "$(MAY_POSTGRES)" benches/peers-http/target
	@exec "$(TARGET_DIR)/release/forebay-bench" database --bin "$(TARGET_DIR)/release" --rounds "$(or $(ROUNDS),5)"

bench-durable: setup ## Print what a durable task's step and a parked task cost
	@cargo build --release --locked -p forebay-ctl -p forebay-bench
	@exec "$(TARGET_DIR)/release/forebay-bench" durable --bin "$(TARGET_DIR)/release" --folder "$(TARGET_DIR)"

bench-vm: setup ## Print the engine's figures beside QuickJS-ng, boa and node; ROUNDS=5
	@cd benches/peers-vm && cargo run --release --locked -- --rounds "$(or $(ROUNDS),5)"

fmt: ## Format the code
	@cargo fmt --all

lint: setup ## Run clippy as CI does
	@cargo clippy --workspace --all-targets --locked -- -D warnings
