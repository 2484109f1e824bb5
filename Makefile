# Two commands do everything on a machine that has Python 3.11, pip and apt: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What the tests run against: a real Secret Service, a smarthost, a name server, a system call trace, shells, a man page
# lint, a receiver that judges mail, what the documentation shows (none of them is started by its installation).
TEST_PACKAGES := dbus gnome-keyring libsecret-tools postfix nsd strace bash bash-completion zsh fish mandoc \
	dovecot-imapd dovecot-lmtpd opendkim opendkim-tools opendmarc iproute2 jq systemd bindfs openssl
DEMO_PACKAGES := dbus gnome-keyring

PACKAGING := build-essential debhelper dh-python python3-pip python3-venv lintian
DEB_PACKAGES := $(PACKAGING) mmdebstrap

.PHONY: demo test lint compiled unit bench campaign mutation mutation-sample deb zipapp package-test docs clean
demo: $(VENV)/.installed
	@sh tests/tools/apt-install $(DEMO_PACKAGES)
	$(BIN)/python -m tests.demo

test: $(VENV)/.installed
	@sh tests/tools/apt-install $(TEST_PACKAGES)
	@$(MAKE) --no-print-directory -j 2 lint compiled
	@$(MAKE) --no-print-directory unit

lint:
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# pytest compiles each file of tests anew in every worker unless it finds it done: a quarter of a minute of each.
compiled:
	@$(BIN)/pytest -qq --collect-only >/dev/null || :
unexport PYTHONDONTWRITEBYTECODE

# A worker that is through takes over from one that is not: the tests that run whole programs stand together.
# 99: what a killed child has seen can be lost.
unit:
	$(BIN)/pytest -q -n 4 --dist worksteal --cov --cov-report=term --cov-fail-under=99

# All of it, or BENCH="peers --rounds 1".
bench: $(VENV)/.installed $(VENV)-peers/.installed
	@sh tests/tools/apt-install postfix msmtp
	@sh tests/tools/apt-unpack $(VENV)-peers/debian nullmailer dma
	CHECKDMARC=$(VENV)-peers/bin/checkdmarc PEERS=$(VENV)-peers/debian $(BIN)/python -m tests.bench $(BENCH)

# What others use, in an environment of its own: it needs other releases of the same libraries.
$(VENV)-peers/.installed:
	$(PYTHON) -m venv $(VENV)-peers
	$(VENV)-peers/bin/python -m pip install --quiet 'checkdmarc>=6.0.4'
	touch $@

# The long form of what `make test` runs in short: hours of kills and faults, seeded. The figures are in its README.
campaign: $(VENV)/.installed
	@sh tests/tools/apt-install $(TEST_PACKAGES)
	UCRMMAIL_CAMPAIGN=long $(BIN)/pytest -q -s tests/campaign
	$(BIN)/python -m pip install --quiet --group fuzz
	$(BIN)/python -m tests.campaign.wire_target -seed=20261123 -runs=100000 -max_len=4096

# What the tests of the limits and of the queue do not notice when it is changed: an hour. Its figures are those of R31.
mutation: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group mutation
	$(BIN)/mutmut run --max-children 2
	$(BIN)/mutmut results

# The same of the rest of smtp, whose tests have real servers: a sample of each module, an hour as well.
mutation-sample: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group mutation
	$(BIN)/python -m tests.tools.sampled_mutants $(patsubst %,ucrmmail/smtp/%.py,$(SAMPLED)) -- tests/unit/smtp \
	    $(patsubst %,tests/integration/test_%.py,$(SAMPLED_WITH)) tests/integration/test_smtp_*.py
SAMPLED = aftermath asking auth certificate connect content exchange instep look opening probe rehearse session \
    sevenbit smarthost stages submit tls token_refusals transaction transcript
SAMPLED_WITH = costly_messages ended_at_a_recipient many_recipients out_of_step refused_alike refused_each_time rounds \
    whose_trouble wrongly_blamed

# pip from 25.1 on knows dependency groups.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable . --group test
	touch $@

# dist/ucrmmail_VERSION_ARCH.deb for this release of Debian.
deb:
	@sh tests/tools/apt-install $(PACKAGING)
	sh tools/deb

# dist/ucrmmail.pyz: one file, for a plain Python of this version.
zipapp: $(VENV)/.packaging
	sh tools/zipapp

# Each package in a place of its own: the .deb in a clean Debian (as root), the single file, pipx, uv, the sdist.
package-test: $(VENV)/.packaging
	@sh tests/tools/apt-install $(DEB_PACKAGES)
	$(BIN)/pytest -q tests/packages

$(VENV)/.packaging: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group packages
	touch $@

# man/, completions/, docs/reference/ and docs/pictures/, from the command tree, the schema, man/src/ and docs/.
docs: $(VENV)/.installed
	$(BIN)/python -m tools.docs

clean:
	rm -rf $(VENV) $(VENV)-peers mutants .coverage* .mypy_cache .ruff_cache .hypothesis dist
