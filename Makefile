# What people and CI run. Needs Rust, and Node for what is written in JavaScript; everything else is fetched by cargo.
# `make help` lists the targets.

SHELL := bash
CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
TOOLS := $(TARGET)/tools

# Python and Node packages of the tests: the SDKs as published, at the versions their makers ship.
PIP_PACKAGES := segment-analytics-python==2.4.0 rudder-sdk-python==2.1.9 sensorsanalyticssdk==1.11.0 pyarrow \
	'moto[server]==5.2.5'
NPM_PACKAGES := @segment/analytics-node@3.1.0 @rudderstack/rudder-sdk-node@3.0.13 \
	sa-sdk-node@1.2.6 sa-sdk-javascript@1.27.11 sa-sdk-miniprogram@1.22.7 jsdom@22.1.0

# The binary that tests run has fail points compiled in: places where a test can end it. The shipped one has none.
TEST_FEATURES := --features actors/failpoints

.PHONY: help build demo test test-binary tools lint bench soak fuzz clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

build: ## the optimised binary, at target/release/tributary
	$(CARGO) build --locked --release -p api --bin tributary

demo: ## builds and starts a demo brand: prints the address and the login
	$(CARGO) build --locked --profile demo -p api --bin tributary
	$(TARGET)/demo/tributary demo $(ARGS)

test-binary: ## the binary that whole-product tests run
	$(CARGO) build --locked --workspace $(TEST_FEATURES)

test: test-binary ## all tests; what cannot run here says SKIPPED and why (`make tools` gets the SDKs)
	@command -v python3 >/dev/null || echo "SKIPPED: the Python SDKs because python3 is not installed"
	@command -v node >/dev/null || echo "SKIPPED: the Node SDKs because node is not installed"
	$(CARGO) test --locked --workspace $(TEST_FEATURES) $(ARGS)

tools: ## installs the SDKs, converters and the S3 peer that tests use, into target/tools
	@mkdir -p $(TOOLS)/node
	@test -x $(TOOLS)/python/bin/python || python3 -m venv $(TOOLS)/python
	@$(TOOLS)/python/bin/python -c 'import segment.analytics.client, rudderstack.analytics.client, sensorsanalytics, pyarrow.parquet, moto.server' 2>/dev/null \
		|| $(TOOLS)/python/bin/pip install --quiet --disable-pip-version-check $(PIP_PACKAGES)
	@(for package in $(NPM_PACKAGES); do test -d $(TOOLS)/node/node_modules/$${package%@*} || exit 1; done) \
		|| npm install --prefix $(TOOLS)/node --no-save --no-audit --no-fund --loglevel=error $(NPM_PACKAGES)

lint: ## format and clippy, warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets $(TEST_FEATURES) -- -D warnings

bench: ## the figures of this machine, its fsync time beside them
	$(CARGO) build --locked --release -p api --bin tributary
	for what in $(or $(ARGS),log decode identity profile lake ingest apply restart); do \
		$(TARGET)/release/tributary bench $$what || exit 1; done

soak: test-binary tools ## the long forms, a line for each part: seeds, kills, power cuts, cases; ARGS=members: parts of that name
	.ci/soak $(ARGS)

fuzz: ## a minute of each fuzz target; needs cargo-fuzz and a nightly-capable toolchain (RUSTC_BOOTSTRAP is set)
	@command -v cargo-fuzz >/dev/null || { echo "cargo install cargo-fuzz first"; exit 1; }
	cd tests/fuzz && for target in $$(cargo fuzz list); do \
		RUSTC_BOOTSTRAP=1 cargo fuzz run $$target -- -max_total_time=60 || exit 1; done

clean: ## removes everything that was built
	$(CARGO) clean
