// The page: a canvas to draw on, bars of probabilities, buttons that say what was drawn.
import { load } from "./model/index.js";
import { Reader, SIDE, shrink } from "./digits.mjs";

const at = (id) => document.getElementById(id);
const paper = at("paper").getContext("2d");
const small = at("small").getContext("2d", { willReadFrequently: true });
const reader = new Reader(await load());
const examples = [];
const READS = 20;
let drawing = null; // where the pen was last

function seen() {
  small.fillStyle = "white";
  small.fillRect(0, 0, SIDE, SIDE);
  small.drawImage(at("paper"), 0, 0, SIDE, SIDE);
  const { data } = small.getImageData(0, 0, SIDE, SIDE);
  return shrink(Float32Array.from({ length: SIDE * SIDE }, (_, i) => 1 - data[4 * i] / 255));
}

function show() {
  const pixels = seen();
  const sure = pixels && reader.read(pixels);
  const start = performance.now();
  for (let i = 0; sure && i < READS; i++) reader.read(pixels); // one alone is less than a browser's clock shows
  const took = (performance.now() - start) / READS;
  at("answer").textContent = sure ? sure.indexOf(Math.max(...sure)) : "–";
  at("time").textContent = sure ? `${took.toFixed(3)} ms` : "";
  at("bars").querySelectorAll("meter").forEach((bar, digit) => (bar.value = sure ? sure[digit] : 0));
}

function clear() {
  paper.fillStyle = "white";
  paper.fillRect(0, 0, at("paper").width, at("paper").height);
  show();
}

function teach(digit) {
  const pixels = seen();
  if (!pixels) return;
  examples.push({ pixels, digit });
  const losses = reader.learn(examples);
  at("learnt").textContent =
    `${examples.length} example(s), ${losses.length} steps: loss ${losses[0].toFixed(3)} → ${losses.at(-1).toFixed(3)}`;
  show();
}

for (let digit = 0; digit < 10; digit++) {
  const row = at("bars").insertRow();
  const button = row.insertCell().appendChild(document.createElement("button"));
  button.textContent = digit;
  button.title = `This is a ${digit}: learn it`;
  button.onclick = () => teach(digit);
  row.insertCell().appendChild(document.createElement("meter"));
}
const place = (event) => {
  const box = event.target.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
};
at("paper").onpointerdown = (event) => {
  event.target.setPointerCapture(event.pointerId);
  drawing = place(event);
};
at("paper").onpointerup = () => (drawing = null);
at("paper").onpointermove = (event) => {
  if (!drawing) return;
  const next = place(event);
  [paper.lineWidth, paper.lineCap, paper.strokeStyle] = [24, "round", "black"];
  paper.beginPath();
  paper.moveTo(...drawing);
  paper.lineTo(...next);
  paper.stroke();
  drawing = next;
  show();
};
at("clear").onclick = clear;
at("forget").onclick = () => {
  reader.trainer.reset();
  examples.length = 0;
  at("learnt").textContent = "";
  show();
};
clear();
document.body.dataset.ready = "yes";
