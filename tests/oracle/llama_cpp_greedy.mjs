// Greedy continuations by llama.cpp (npm node-llama-cpp), with how clear each choice was.
//
// usage: FATHOM_NODE_DIR=folder-with-node_modules node llama_cpp_greedy.mjs MODEL.gguf PROMPTS.json COUNT OUT.json
// PROMPTS is a list of texts. Writes a list of {prompt: ids, tokens: ids, margins}: a margin is the best
// logit minus the second at the position before the token. Weights and activations are computed as llama.cpp
// does by default, cache rows are F32.
import {pathToFileURL} from "node:url";
import fs from "node:fs";
import path from "node:path";

const [modelPath, promptsPath, count, outPath] = process.argv.slice(2);
const folder = path.resolve(process.env.FATHOM_NODE_DIR ?? ".");
const entry = path.join(fs.realpathSync(path.join(folder, "node_modules/node-llama-cpp")), "dist/index.js");
const {getLlama} = await import(pathToFileURL(entry).href);

const llama = await getLlama({gpu: false, build: "never", progressLogs: false, maxThreads: 2, logLevel: "error"});
const model = await llama.loadModel({modelPath: path.resolve(modelPath)});
const context = await model.createContext({contextSize: 1024, flashAttention: false,
    experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32"});
const sequence = context.getSequence();

function bestTwo(logits) {
    let best = -Infinity, second = -Infinity, token = -1;
    for (const [id, logit] of logits) {
        if (logit > best) [second, best, token] = [best, logit, id];
        else if (logit > second) second = logit;
    }
    return [token, best - second];
}

const results = [];
for (const text of JSON.parse(fs.readFileSync(promptsPath, "utf8"))) {
    await sequence.clearHistory();
    const prompt = model.tokenize(text);
    let input = [...prompt];
    const tokens = [], margins = [];
    while (tokens.length < Number(count)) {
        const last = input.length - 1;
        const rows = await sequence.controlledEvaluate(
            input.map((token, idx) => idx === last ? [token, {generateNext: {logits: true}}] : token));
        const [token, margin] = bestTwo(rows[last].next.logits);
        tokens.push(token);
        margins.push(margin);
        input = [token];
    }
    results.push({prompt: [...prompt], tokens, margins});
}
fs.writeFileSync(outPath, JSON.stringify(results));
process.exit(0);
