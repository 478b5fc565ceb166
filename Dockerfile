# Chromaflow with CPU-only torch, for compose.yaml or by itself:
#   docker build -t chromaflow .
#   docker run --rm -v "$PWD:/archive" --user "$(id -u):$(id -g)" chromaflow colorize scans colour
FROM python:3.12-slim AS build
WORKDIR /source
RUN python -m venv /opt/chromaflow
ENV PATH=/opt/chromaflow/bin:$PATH
# torch first, from PyTorch's own index of wheels without CUDA: 1.2 GB instead of 6.6
RUN pip install --no-cache-dir torch torchvision --index-url https://download.pytorch.org/whl/cpu
COPY pyproject.toml README.md LICENSE ./
COPY chromaflow chromaflow
COPY colorization colorization
COPY flows flows
COPY storage storage
COPY tasks tasks
RUN pip install --no-cache-dir '.[heif,raw,s3]'

FROM python:3.12-slim
RUN useradd --create-home --uid 1000 chromaflow && install -d -o chromaflow /archive /home/chromaflow/.prefect
COPY --from=build /opt/chromaflow /opt/chromaflow
ENV PATH=/opt/chromaflow/bin:$PATH PYTHONSAFEPATH=1 DO_NOT_TRACK=1
USER chromaflow
WORKDIR /archive
ENTRYPOINT ["chromaflow"]
CMD ["--help"]
