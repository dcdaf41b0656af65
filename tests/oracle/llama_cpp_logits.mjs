// Logits of llama.cpp at every position of a given token sequence (npm node-llama-cpp).
//
// usage: FATHOM_NODE_DIR=folder-with-node_modules node llama_cpp_logits.mjs MODEL.gguf TOKENS.json OUT.f32 F16|F32
// Writes float32 [T, V]; prints one JSON line. The last argument is the type of llama.cpp's cache rows:
// F16 as it does by default, or F32 also inside attention, which flash attention would round to F16.
// The tokens are evaluated as they are, no BOS is added.
import {pathToFileURL} from "node:url";
import fs from "node:fs";
import path from "node:path";

const [modelPath, tokensPath, outPath, cacheType = "F16"] = process.argv.slice(2);
const folder = path.resolve(process.env.FATHOM_NODE_DIR ?? ".");
const entry = path.join(fs.realpathSync(path.join(folder, "node_modules/node-llama-cpp")), "dist/index.js");
const {getLlama} = await import(pathToFileURL(entry).href);

const tokens = JSON.parse(fs.readFileSync(tokensPath, "utf8"));
const llama = await getLlama({gpu: false, build: "never", progressLogs: false, maxThreads: 2, logLevel: "error"});
const model = await llama.loadModel({modelPath: path.resolve(modelPath)});
const context = await model.createContext({contextSize: 2 * tokens.length, batchSize: tokens.length,
    flashAttention: cacheType === "F32" ? false : "auto",
    experimentalKvCacheKeyType: cacheType, experimentalKvCacheValueType: cacheType});
const sequence = context.getSequence();
const results = await sequence.controlledEvaluate(tokens.map((token) => [token, {generateNext: {logits: true}}]));

const rows = tokens.map((_, position) => {
    const logits = results[position]?.next.logits;
    if (logits == null) throw new Error(`no logits at position ${position}`);
    const row = new Float32Array(logits.size).fill(NaN);
    for (const [token, logit] of logits) row[token] = logit;
    return Buffer.from(row.buffer);
});
fs.writeFileSync(outPath, Buffer.concat(rows));
console.log(JSON.stringify({positions: rows.length, vocab: rows[0].length / 4,
    llama_cpp: llama.llamaCppRelease?.release ?? "unknown"}));
process.exit(0);
