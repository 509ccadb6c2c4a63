// The page's work without a page, in Node: node check.mjs IMAGES.bin, float32 numbers, 64 for each image. Prints the
// digit of each, then what a drawing of a bar is read as before and after it is taught to be a 7.
import { readFileSync } from "node:fs";
import { load } from "./model/node.js";
import { Reader, SIDE, shrink } from "./digits.mjs";

const reader = new Reader(await load());
const bytes = readFileSync(process.argv[2]);
const images = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
const digit = (pixels) => {
  const sure = reader.read(pixels);
  return sure.indexOf(Math.max(...sure));
};
const found = Array.from({ length: images.length / 64 }, (_, i) => digit(images.subarray(64 * i, 64 * i + 64)));
console.log(found.join(" "));

const bar = new Float32Array(SIDE * SIDE);
for (let y = 4; y < 20; y++) bar.fill(1, y * SIDE + 20, y * SIDE + 23);
const pixels = shrink(bar);
const before = digit(pixels);
const losses = reader.learn([{ pixels, digit: 7 }]);
console.log(before, digit(pixels), losses[0] > losses.at(-1));
