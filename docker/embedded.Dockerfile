# The embedded profile on a CPU: curation, the small model, the app. Build from the project's root:
#   docker build -f docker/embedded.Dockerfile -t megactor:embedded .
FROM python:3.12-slim
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /megactor
COPY . .
RUN make setup-train && rm -rf /root/.cache
ENV PATH=/megactor/.venv/bin:$PATH
ENTRYPOINT ["make"]
CMD ["help"]
