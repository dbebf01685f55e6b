# `make` lists what there is.
GO      ?= go
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
RECORDS ?= 20000
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@v1.9.0
CYCLONEDX = github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0

.DEFAULT_GOAL := help
.PHONY: help build test race integration lint deploy-check gosec vulncheck sbom api fmt demo picture man screenshot image kafka-image compose-up compose-down release clean ci

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## bin/penstock
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-X main.version=$(VERSION)" -o bin/penstock ./cmd/penstock

test: ## all tests that need no broker
	$(GO) test -short ./...

race: ## the same under the race detector
	$(GO) test -short -race ./...

integration: kafka-image ## the tests on a real broker, in Docker or on PENSTOCK_TEST_BROKERS
	$(GO) test ./integration/... -count=1 -v -timeout 20m

lint: ## gofmt, vet, staticcheck
	@test -z "$$(gofmt -l .)" || { gofmt -l . ; echo "not formatted: run make fmt" >&2; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...

deploy-check: ## what stands in deploy/, by promtool, helm, kustomize and their like; as root
	.ci/deploy

gosec: ## security faults in the sources
	.ci/run gosec

vulncheck: ## known faults of what is linked in; needs vuln.go.dev, or GOVULNDB that names a mirror
	$(GO) run $(GOVULNCHECK) ./...

sbom: build ## dist/penstock.cdx.json, the bill of materials of what is linked into bin/penstock (CycloneDX)
	@mkdir -p dist
	$(GO) run $(CYCLONEDX) bin -json -licenses -version $(VERSION) -output dist/penstock.cdx.json bin/penstock

api: ## processor/api.txt, what the public packages export; its difference is to be reviewed
	$(GO) test ./processor -count=1 -run TestTheAPIIsTheReviewedOne -args -rewrite-api

fmt: ## format the sources
	gofmt -w .

demo: ## broker, processor and sample sessions in one process; RECORDS=20000
	$(GO) run ./cmd/penstock demo --records $(RECORDS)

picture: build ## deploy/demo.svg, the demo on a terminal, from a real run; needs tmux
	cd .ci/tools && PATH="$(CURDIR)/bin:$$PATH" $(GO) run ./picture "$(CURDIR)/deploy/demo.svg" penstock demo --records 3000 --log-level error

man: build ## bin/man, a manual page for each command
	bin/penstock man bin/man

screenshot: ## bin/page-*.png, of the page of a real run, in light, in dark and on a phone; needs chromium
	PENSTOCK_SCREENSHOTS=$(CURDIR)/bin $(GO) test ./cmd/penstock -count=1 -run TestThePageInABrowser

image: ## the Docker image penstock:latest, without pulling any other
	VERSION=$(VERSION) deploy/image.sh

kafka-image: ## the Docker image apache/kafka, pulled or built; nothing to do on PENSTOCK_TEST_BROKERS
	@test -n "$$PENSTOCK_TEST_BROKERS" || .ci/kafka-image.sh

compose-up: kafka-image image ## a broker and penstock by docker-compose.yml, in the background
	$(COMPOSE) up -d --no-build

compose-down: ## stop them and delete their data
	$(COMPOSE) down -v

release: ## archives for linux, darwin and windows, amd64 and arm64, with checksums, in dist/
	VERSION=$(VERSION) deploy/release.sh

clean: ## remove what was built, and the containers of tests that were killed
	rm -rf bin dist
	@! docker info >/dev/null 2>&1 || docker ps -aq --filter label=penstock.test | xargs -r docker rm -fv >/dev/null

ci: ## everything that CI runs, as root
	CI=true bash .ci/run
