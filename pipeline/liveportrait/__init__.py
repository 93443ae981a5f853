"""The LivePortrait engine: implicit keypoints, warping and a SPADE generator (Guo et al., arXiv:2407.03168)."""
