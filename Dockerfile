# Written with care, not run where the project is developed: there is no Docker there.
FROM python:3.13-slim AS build
WORKDIR /app
COPY requirements/run.txt requirements/run.txt
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --require-hashes -r requirements/run.txt
# The build backend, in an environment of its own that is left behind.
COPY requirements/build.txt requirements/build.txt
RUN python -m venv /build && /build/bin/pip install --no-cache-dir --require-hashes -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY redpacket redpacket
COPY service service
COPY ledger ledger
COPY loadtest loadtest
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /venv/bin/pip install --no-cache-dir --no-deps --no-index /wheels/*.whl

FROM build AS build-loadtest
COPY requirements/loadtest.txt requirements/loadtest.txt
RUN /venv/bin/pip install --no-cache-dir --require-hashes -r requirements/loadtest.txt

FROM python:3.13-slim AS run
RUN useradd --uid 10001 --no-create-home redpacket
USER 10001
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
ENTRYPOINT ["redpacket"]

# With locust, for `redpacket rehearse`: docker build --target loadtest
FROM run AS loadtest
COPY --from=build-loadtest /venv /venv

# What is built where no target is named.
FROM run
COPY --from=build /venv /venv
CMD ["api", "--host", "0.0.0.0", "--port", "8000"]
