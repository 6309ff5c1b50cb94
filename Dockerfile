# The lite form of moodex: every command but train, evaluate, compare and explain, computed by ONNX Runtime on the CPU.
# docs/start/install.md explains how to run it with a read-only root file system.

FROM python:3.13-slim-trixie AS build
RUN python -m venv /opt/moodex
ENV PATH=/opt/moodex/bin:$PATH
WORKDIR /src
COPY requirements-lite.txt .
RUN pip install --no-cache-dir --requirement requirements-lite.txt
COPY LICENSE NOTICE README.md cli.py pyproject.toml ./
COPY assistant assistant
COPY commands commands
COPY db db
COPY indexer indexer
COPY models models
COPY web web
# The tests of the packages are a sixth of their size. Nobody needs pip afterwards: a newer image replaces this one.
RUN pip install --no-cache-dir --no-deps . \
    && pip uninstall --yes pip \
    && find /opt/moodex -type d -name tests -prune -exec rm -r {} +

FROM python:3.13-slim-trixie
COPY --from=build /opt/moodex /opt/moodex
# The folder of the library belongs to the user, and so does a new volume that is mounted there.
RUN install --directory --owner=10001 --group=10001 /library
ENV PATH=/opt/moodex/bin:$PATH MOODEX_HOME=/library
USER 10001:10001
VOLUME /library
WORKDIR /images
# The port of moodex serve --host 0.0.0.0, which prints a link with a token.
EXPOSE 8765
ENTRYPOINT ["moodex"]
CMD ["--help"]
