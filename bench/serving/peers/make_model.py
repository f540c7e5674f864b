"""Run by a peer's interpreter: writes the linear model in the form that it serves."""

import sys

import numpy as np
from sklearn.linear_model import LinearRegression

weights = np.arange(12) * 0.1
model = LinearRegression(fit_intercept=False).fit(np.eye(12), weights)
if sys.argv[1] == "mlserver":
    import joblib

    joblib.dump(model, "model.joblib")
else:
    import mlflow.sklearn

    mlflow.sklearn.save_model(model, "mlflow_model", pip_requirements=["scikit-learn"])
