# LMS Bridge as a container: not root, nothing to write but /data, and a health check.
#   docker build -t lms-bridge .
#   docker run --read-only --tmpfs /tmp -v lms-bridge:/data --env-file .env lms-bridge
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY bridge bridge
COPY connectors connectors
COPY jobs jobs
COPY mappings mappings
COPY samples samples
# The lock file's versions, without its hashes: those cannot go together with the project itself, which has none.
RUN sed -e '/--hash=/d' -e 's/ \\$//' requirements.lock > constraints.txt \
 && python -m venv /app \
 && /app/bin/pip install --no-cache-dir --constraint constraints.txt '.[fleet,keyring,notify,pgp,semantic]'

FROM python:3.12-slim
# gnupg opens encrypted feeds.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends gnupg \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --home-dir /data --create-home --shell /usr/sbin/nologin lms-bridge
COPY --from=build /app /app
ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /data
VOLUME /data
# The daemon answers on this port inside the container; a one-shot command has none and needs no check.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:9464/healthz', timeout=4)"]
ENTRYPOINT ["lms-bridge"]
CMD ["daemon"]
