FROM python:3.13-slim

ENV PYTHONUNBUFFERED=1
WORKDIR /app
COPY . .
RUN pip install --no-cache-dir --group project ".[api,celery,metrics]"
USER nobody
