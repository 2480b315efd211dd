"""Predicts rows of a Parquet file on a local Spark: REGISTRY MODEL IN OUT."""

import sys

from pyspark.sql import SparkSession

from twofold.spark import predict

registry, model, source, target = sys.argv[1:]
session = (
    SparkSession.builder.master("local[2]")
    .config("spark.ui.enabled", "false")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.sql.session.timeZone", "UTC")
    .getOrCreate()
)
frame = session.read.parquet(source).repartition(3)
predict(frame, model, registry=registry).write.parquet(target)
session.stop()
