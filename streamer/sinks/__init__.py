"""Where animated frames go besides viewers: files, other servers, a virtual camera, JPEG."""
