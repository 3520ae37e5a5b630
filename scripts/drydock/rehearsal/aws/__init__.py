"""The AWS account that an environment expects, stood in for by Moto."""
