// Times llama.cpp (npm node-llama-cpp) on request: benchmarks/compare_peers starts it and asks.
//
// usage: FATHOM_NODE_DIR=folder-with-node_modules node node_llama.mjs MODEL.gguf THREADS CONTEXT_SIZE CACHE_TYPE
// CACHE_TYPE is of llama.cpp's cache rows: F16 as it is by default, F32, Q8_0.
// Answers every line of stdin with a line of stdout, both JSON:
//   {"before": [ids], "prompt": [ids]}   `before` untimed from an empty cache, then `prompt` at once with the
//                                        logits of its last token; answers {"seconds"}
//   {"before": [ids], "steps": [ids]}    the same, then one step with logits for each id; answers {"seconds"}
//   {"facts": true}                      answers {"load_s", "peak_rss_bytes", "release", "package"}
// Each step also picks the likeliest token inside llama.cpp and crosses JavaScript: that is part of what is
// timed. It ends with stdin, so that nobody has to end it.
import {pathToFileURL} from "node:url";
import fs from "node:fs";
import path from "node:path";
import readline from "node:readline";

const [modelPath, threadsText, contextSize, cacheType] = process.argv.slice(2);
const threads = Number(threadsText);
process.stdin.on("end", () => process.exit(0));

const folder = path.resolve(process.env.FATHOM_NODE_DIR ?? ".");
const packageFolder = fs.realpathSync(path.join(folder, "node_modules/node-llama-cpp"));
const packageFacts = JSON.parse(fs.readFileSync(path.join(packageFolder, "package.json"), "utf8"));
const {getLlama} = await import(pathToFileURL(path.join(packageFolder, "dist/index.js")).href);

const llama = await getLlama({gpu: false, build: "never", progressLogs: false, maxThreads: threads, logLevel: "error"});
const model = await llama.loadModel({modelPath: path.resolve(modelPath)});
const context = await model.createContext({contextSize: Number(contextSize), batchSize: 512,
    threads: {ideal: threads, min: threads}, flashAttention: "auto",
    experimentalKvCacheKeyType: cacheType, experimentalKvCacheValueType: cacheType});
// Checkpoints are for going back in a conversation; nothing here does.
const sequence = context.getSequence({checkpoints: {max: 0, interval: false}});
const greedy = {temperature: 0, yieldEogToken: true};

async function fill(tokens) {
    await sequence.clearHistory();
    if (tokens.length > 0) await sequence.evaluateWithoutGeneratingNewTokens(tokens);
}

// The iterator evaluates what it is given and yields the likeliest token, which is replaced by the next id.
async function timeSteps(inputs) {
    const start = process.hrtime.bigint();
    const iterator = sequence.evaluate(inputs[0], greedy);
    for (let idx = 0; idx < inputs.length; idx++) {
        const {done} = await (idx === 0 ? iterator.next() : iterator.next(inputs[idx]));
        if (done) throw new Error(`llama.cpp stopped after ${idx} of ${inputs.length} steps`);
    }
    const seconds = Number(process.hrtime.bigint() - start) / 1e9;
    await iterator.return();
    return {seconds};
}

await fill([]);
await timeSteps([[1]]);
const load_s = performance.now() / 1000; // since the process began, to the logits of a first token

function facts() {
    const peakKib = fs.readFileSync("/proc/self/status", "utf8").match(/VmHWM:\s+(\d+)/)?.[1];
    return {load_s, peak_rss_bytes: peakKib == null ? null : Number(peakKib) * 1024,
        release: llama.llamaCppRelease?.release ?? "unknown", package: packageFacts.version};
}

async function answer(request) {
    if (request.facts) return facts();
    await fill(request.before);
    return await timeSteps(request.prompt ? [request.prompt] : request.steps.map((token) => [token]));
}

for await (const line of readline.createInterface({input: process.stdin}))
    process.stdout.write(JSON.stringify(await answer(JSON.parse(line))) + "\n");
process.exit(0);
