"""Writes and reads ONNX, OpenVINO and torch.export files."""
