"""KServe's Python server around the graph."""

import sys

import numpy as np
from graph import answer
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.utils.utils import generate_uuid


class Rides(Model):
    """The graph as a model of KServe."""

    def __init__(self) -> None:
        super().__init__("rides")
        self.ready = True

    def predict(self, payload: InferRequest, *_: object, **_more: object) -> InferResponse:
        found = answer(payload.inputs[0].as_numpy())
        output = InferOutput("prediction", [len(found)], "FP64")
        output.set_data_from_numpy(np.asarray(found), binary_data=False)
        return InferResponse(generate_uuid(), "rides", [output])


ModelServer(http_port=int(sys.argv[1]), enable_grpc=False, workers=1, access_log_format=None).start([Rides()])
