"""Run by MLServer's interpreter: its codec and types, sent to the server at argv[1]."""

import sys
from urllib.request import Request, urlopen

import numpy as np
from mlserver.codecs import NumpyCodec  # type: ignore[import-not-found]
from mlserver.types import InferenceRequest, InferenceResponse, MetadataModelResponse  # type: ignore[import-not-found]

model = f"{sys.argv[1]}/v2/models/rides"
print(MetadataModelResponse.model_validate_json(urlopen(model).read()).name)
values = {"hour": 8.0, "temp": 0.5, "hum": 0.25}
inputs = [NumpyCodec.encode_input(n, np.array([[v]])) for n, v in values.items()]
body = InferenceRequest(inputs=inputs).model_dump_json(exclude_none=True).encode()
answer = InferenceResponse.model_validate_json(urlopen(Request(f"{model}/infer", body)).read())
print(answer.outputs[0].name, NumpyCodec.decode_output(answer.outputs[0]).ravel().tolist())
