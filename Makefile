# What a newcomer runs. Each target brings what it needs: the Rust toolchain is all that must be there.
SHELL = /bin/sh
CARGO ?= cargo
# A server's programs: $PG_BIN when it is set, else what scripts/postgres finds or installs.
WITH_POSTGRES = PG_BIN="$$(scripts/postgres)" && export PG_BIN

.DEFAULT_GOAL := help
.PHONY: help demo test test-matrix test-large soak fuzz bench bench-scale lint check-alerts audit release reproducible clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r target does; do \
		printf '  make %-12s %s\n' "$$target" "$$does"; done

# The development profile: an optimised build of the dependencies takes longer than the demo gains from it.
demo: ## two throw-away PostgreSQL servers, live writers, the whole story on one screen
	@$(WITH_POSTGRES) && $(CARGO) run --locked --quiet -- demo

test: ## all tests against real PostgreSQL 15, and what depends on the server on 17 (found, or installed; only $PG_BIN when it is set)
	@CARGO="$(CARGO)" scripts/test-on $(if $(PG_BIN),,15 17)

test-matrix: ## all tests on PostgreSQL 15, and those that depend on the server on 16, 17 and 18 too
	@CARGO="$(CARGO)" scripts/test-on 15 16 17 18

test-large: ## a million changes in one transaction, rows of 50 MB: the tests that take minutes
	@$(WITH_POSTGRES) && $(CARGO) test --locked --test suite -- --ignored large:: --nocapture

bench: ## speed and memory of a release build, against PostgreSQL's own replication (BENCH_LEADS=300000 for more)
	@$(WITH_POSTGRES) && echo "PostgreSQL: $$PG_BIN" && $(CARGO) bench --locked --bench replication

bench-scale: ## the same snapshot and backlog at 1, 4 and 16 times BENCH_LEADS=5000: time and peak memory of each
	@$(WITH_POSTGRES) && echo "PostgreSQL: $$PG_BIN" && BENCH_SCALES=1 $(CARGO) bench --locked --bench replication

soak: ## faults at random under live writers, SOAK_FOR=1h, then what was survived (SOAK_SEED draws the same again)
	@$(WITH_POSTGRES) && $(CARGO) test --locked --test suite -- --ignored soak:: --nocapture

fuzz: ## any input to what parses bytes, FUZZ_FOR=60 seconds a target; installs cargo-fuzz
	@scripts/fuzz

lint: ## formatter, clippy, documentation, scripts, unit, dependency policy; no network
	$(CARGO) fmt --all --check
	$(CARGO) clippy --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --document-private-items --locked --quiet
	scripts/check-house
	scripts/check-scripts
	scripts/check-dependencies
	scripts/check-deploy

check-alerts: ## Prometheus' alerts and their unit tests, with promtool (found, or fetched)
	@scripts/check-alerts

audit: ## known vulnerabilities and the whole dependency policy; needs the network, or ADVISORY_DB=a stored clone
	@CARGO="$(CARGO)" scripts/audit

release: ## after an audit: archive with binary, pages, SBOM and licence notices, and its checksum, in target/release-VERSION
	@CARGO="$(CARGO)" scripts/release

reproducible: ## the release binary, built twice in two directories, is the same bytes
	@CARGO="$(CARGO)" scripts/check-reproducible

clean: ## remove what was built
	$(CARGO) clean
