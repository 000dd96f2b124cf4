# The training container: the kernel and one feature on Python's slim image, with the packages of two layers. Its context
# is made by `make image`, which builds and pushes it; locally the agent runs the same command as a process.
ARG PYTHON_VERSION=3.13

FROM public.ecr.aws/docker/library/python:${PYTHON_VERSION}-slim AS packages
COPY dependencies.txt statistics.txt /pins/
RUN pip install --no-cache-dir --no-deps --only-binary=:all: --target=/packages \
    -r /pins/dependencies.txt -r /pins/statistics.txt

FROM public.ecr.aws/docker/library/python:${PYTHON_VERSION}-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin tradewind
COPY --from=packages /packages /packages
COPY analytics /app/analytics
COPY tradewind /app/tradewind
ENV PYTHONPATH=/app:/packages PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
USER tradewind
CMD ["python", "-m", "analytics.ml_training.container"]
