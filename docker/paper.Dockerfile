# The paper profile on CUDA 13 (driver 580 or newer). Build from the project's root, run with the GPU and room for the loader's workers:
#   docker build -f docker/paper.Dockerfile -t megactor:paper .
#   docker run --gpus all --shm-size 16g -v /data:/data -e MEGACTOR_MODELS=/data/models megactor:paper doctor
# torch brings the CUDA libraries; the development image adds the compiler that torch.compile wants.
FROM nvidia/cuda:13.0.1-devel-ubuntu24.04
RUN apt-get update \
  && apt-get install -y --no-install-recommends make python3 python3-dev python3-venv \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /megactor
COPY . .
# setup-gpu ends by asking for a GPU, which a build has not: its stamp is made alone.
RUN make .venv/.gpu && rm -rf /root/.cache
ENV PATH=/megactor/.venv/bin:$PATH
ENTRYPOINT ["make"]
CMD ["help"]
