// ONNX Runtime's speed on what encoder_onnx.py wrote: node encoder_onnx.js DIR BATCH SIDE THREADS REPEATS NAME
// One JSON line as encoder_torch.py prints it. The first tile is compared with PyTorch's answer before anything is
// timed; exits 1 where they differ. Needs onnxruntime-node (NODE_PATH).
"use strict";
const fs = require("fs");
const path = require("path");
const ort = require("onnxruntime-node");

const [dir, batch, side, threads, repeats, name] = process.argv.slice(2);

function floats(file) {
  const bytes = fs.readFileSync(path.join(dir, file));
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}

function relativeError(got, want) {
  let difference = 0, size = 0;
  for (let i = 0; i < want.length; i++) {
    difference += (got[i] - want[i]) ** 2;
    size += want[i] ** 2;
  }
  return Math.sqrt(difference / size);
}

async function main() {
  const session = await ort.InferenceSession.create(path.join(dir, "model.onnx"), {
    intraOpNumThreads: +threads, interOpNumThreads: 1, executionMode: "sequential", graphOptimizationLevel: "all",
  });
  const pixels = new ort.Tensor("float32", floats("input.bin"), [+batch, 3, +side, +side]);
  const once = async () => (await session.run({ pixels }))[session.outputNames[0]].data;
  const error = relativeError(await once(), floats("expected.bin"));
  if (!(error < 1e-4)) throw new Error(`its first tile differs from PyTorch's by ${error}`);
  const rates = [];
  for (let i = 0; i < +repeats; i++) {
    const start = process.hrtime.bigint();
    await once();
    rates.push(+batch / (Number(process.hrtime.bigint() - start) / 1e9));
  }
  const sorted = [...rates].sort((a, b) => a - b), middle = sorted.length / 2;
  const version = require("onnxruntime-node/package.json").version;
  console.log(JSON.stringify({
    bench: "encoder", case: name, peer: "onnxruntime-node " + version, precision: "fp32", threads: +threads,
    batch: +batch, rate: (sorted[Math.ceil(middle) - 1] + sorted[Math.floor(middle)]) / 2, all: rates,
    unit: "tiles/s", relative_error: error,
  }));
}

main().catch((problem) => {
  console.error(problem.message);
  process.exit(1);
});
