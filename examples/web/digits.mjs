// Reads a drawn digit. The compiled network gives features of it; the last layer is here, where it learns.

export const SIDE = 32; // of a drawing
const BOX = 26; // the larger side of a digit in it
const CLASSES = 10;

// What the network was trained on: 8 x 8 blocks, each the share of its 4 x 4 points that are drawn. drawing: SIDE x
// SIDE numbers, 0 for paper. The digit is moved to the middle and made as large as those were. Gives null for none.
export function shrink(drawing) {
  let [top, left, bottom, right] = [SIDE, SIDE, -1, -1];
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      if (drawing[y * SIDE + x] <= 0.5) continue;
      [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
      [left, right] = [Math.min(left, x), Math.max(right, x)];
    }
  }
  if (bottom < 0) return null;
  const scale = Math.max(bottom - top + 1, right - left + 1) / BOX;
  const [middleY, middleX] = [(top + bottom + 1) / 2, (left + right + 1) / 2];
  const blocks = new Float32Array(64);
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const fromY = Math.floor(middleY + (y + 0.5 - SIDE / 2) * scale);
      const fromX = Math.floor(middleX + (x + 0.5 - SIDE / 2) * scale);
      const inside = fromY >= 0 && fromY < SIDE && fromX >= 0 && fromX < SIDE;
      if (inside && drawing[fromY * SIDE + fromX] > 0.5) blocks[(y >> 2) * 8 + (x >> 2)] += 1 / 16;
    }
  }
  return blocks;
}

export class Reader {
  // network: what `load` of the model's package gives. last: {weights: [features][classes], bias: [classes]}.
  constructor(network, last) {
    this.network = network;
    this.weights = last.weights.map((row) => Float32Array.from(row));
    this.bias = Float32Array.from(last.bias);
  }

  features(pixels) {
    return this.network.predict(1, [Float32Array.from(pixels)])[0];
  }

  // The probability of each digit.
  read(pixels, features = this.features(pixels)) {
    const scores = this.bias.slice();
    features.forEach((value, i) => this.weights[i].forEach((w, k) => (scores[k] += value * w)));
    const most = Math.max(...scores);
    const powers = scores.map((score) => Math.exp(score - most));
    const sum = powers.reduce((a, b) => a + b);
    return powers.map((power) => power / sum);
  }

  // A few steps of gradient descent on the last layer, by the cross entropy of all examples.
  // examples: [{pixels, digit}, ...]. Gives the mean cross entropy before each step.
  learn(examples, { rate = 0.1, steps = 50 } = {}) {
    const seen = examples.map(({ pixels, digit }) => ({ digit, features: this.features(pixels) }));
    const losses = [];
    for (let step = 0; step < steps; step++) {
      const gradients = this.weights.map(() => new Float32Array(CLASSES));
      const ofBias = new Float32Array(CLASSES);
      let loss = 0;
      for (const { digit, features } of seen) {
        const error = this.read(null, features);
        loss -= Math.log(Math.max(error[digit], 1e-7)) / seen.length;
        error[digit] -= 1;
        error.forEach((e, k) => (ofBias[k] += e / seen.length));
        features.forEach((value, i) => error.forEach((e, k) => (gradients[i][k] += (value * e) / seen.length)));
      }
      losses.push(loss);
      this.bias.forEach((_, k) => (this.bias[k] -= rate * ofBias[k]));
      this.weights.forEach((row, i) => row.forEach((_, k) => (row[k] -= rate * gradients[i][k])));
    }
    return losses;
  }
}
