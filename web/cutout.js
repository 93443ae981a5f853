// The person alone, on a canvas: a video twice as high has colours times coverage above, and below the coverage as grey.

const VERTEX = `
attribute vec2 corner;
varying vec2 at;
void main() {
  at = corner;
  gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);
}`;
// What a codec leaves of nothing, and lacks of everything, is taken off: else the ground would be a haze.
const FRAGMENT = `
precision mediump float;
uniform sampler2D video;
uniform float pixel;
varying vec2 at;
void main() {
  float y = clamp(at.y, pixel, 1.0 - pixel) / 2.0;
  float coverage = clamp((texture2D(video, vec2(at.x, y)).g - 0.016) / 0.968, 0.0, 1.0);
  gl_FragColor = vec4(min(texture2D(video, vec2(at.x, y + 0.5)).rgb, coverage), coverage);
}`;

function shader(gl, kind, source) {
  const made = gl.createShader(kind);
  gl.shaderSource(made, source);
  gl.compileShader(made);
  return made;
}

export class CutOut {
  constructor(canvas) {
    this.canvas = canvas;
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault()); // so that it comes back
    canvas.addEventListener("webglcontextrestored", () => this.prepare());
    this.prepare();
  }

  prepare() {
    const gl = this.canvas.getContext("webgl", { premultipliedAlpha: true, preserveDrawingBuffer: true });
    if (!gl) throw new Error("This browser has no WebGL; without it, only the portrait's own background can be shown.");
    const program = gl.createProgram();
    gl.attachShader(program, shader(gl, gl.VERTEX_SHADER, VERTEX));
    gl.attachShader(program, shader(gl, gl.FRAGMENT_SHADER, FRAGMENT));
    gl.linkProgram(program);
    gl.useProgram(program);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([0, 0, 1, 0, 0, 1, 1, 1]), gl.STATIC_DRAW);
    const corner = gl.getAttribLocation(program, "corner");
    gl.enableVertexAttribArray(corner);
    gl.vertexAttribPointer(corner, 2, gl.FLOAT, false, 0, 0);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, side, gl.CLAMP_TO_EDGE);
    for (const size of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, size, gl.LINEAR);
    gl.pixelStorei(gl.UNPACK_FLIP_Y_WEBGL, true);
    Object.assign(this, { gl, pixel: gl.getUniformLocation(program, "pixel") });
  }

  // Draw each picture of a video as it comes.
  follow(video) {
    const next = () => {
      this.draw(video);
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
  }

  draw(video) {
    const { gl, canvas } = this;
    const [width, height] = [video.videoWidth, video.videoHeight / 2];
    if (!width || gl.isContextLost()) return;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    gl.viewport(0, 0, width, height);
    gl.uniform1f(this.pixel, 0.5 / height);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, video);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }
}
